#include "many.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tag {
    text name;
    uint64_t count;
    struct tag *next;
} tag;

struct many {
    text service, endpoint, settings, payload;
    uint64_t left;
    /* Calls under way; 0 where another may begin. */
    micro_id *places;
    uint64_t room;
    uint64_t ok, wrong, failed[17];
    tag *tags;
};

many *many_new(const line *request) {
    many *made = grab(sizeof *made);
    text_set(&made->service, line_get(request, "service"));
    text_set(&made->endpoint, line_get(request, "endpoint"));
    text_set(&made->settings, line_get(request, "settings"));
    made->payload = line_payload(request);
    made->left = line_number(request, "count", 1);
    made->room = line_number(request, "concurrency", 1);
    made->places = grab(made->room * sizeof *made->places);
    return made;
}

void many_free(many *of) {
    if (!of) {
        return;
    }
    while (of->tags) {
        tag *next = of->tags->next;
        text_free(&of->tags->name);
        free(of->tags);
        of->tags = next;
    }
    text_free(&of->service);
    text_free(&of->endpoint);
    text_free(&of->settings);
    text_free(&of->payload);
    free(of->places);
    free(of);
}

static void failed(many *of, micro_status status) {
    of->failed[status > 0 && status < 17 ? status : MICRO_UNKNOWN]++;
}

bool many_go_on(many *of, micro_client *client, uint64_t token) {
    micro_request request = { .size = sizeof request,
                              .service = slice_in(&of->service),
                              .method = slice_in(&of->endpoint),
                              .payload = lent(slice_in(&of->payload)),
                              .options = slice_in(&of->settings) };
    for (uint64_t n = 0; n < of->room; n++) {
        while (of->left && !of->places[n]) {
            of->left--;
            micro_status status = micro_client_call(client, house.queue, &request, token, &of->places[n], NULL);
            if (status != MICRO_OK) {
                of->places[n] = 0;
                failed(of, status);
            }
        }
    }
    return many_idle(of);
}

static void tagged(many *of, micro_slice name) {
    tag *known = of->tags;
    while (known && !(known->name.len == name.len && memcmp(known->name.ptr, name.ptr, name.len) == 0)) {
        known = known->next;
    }
    if (!known) {
        known = grab(sizeof *known);
        text_set(&known->name, name);
        known->next = of->tags;
        of->tags = known;
    }
    known->count++;
}

void many_count(many *of, const micro_event *reply) {
    for (uint64_t n = 0; n < of->room; n++) {
        if (of->places[n] == reply->id) {
            of->places[n] = 0;
            break;
        }
    }
    if (reply->status != MICRO_OK) {
        failed(of, reply->status);
        return;
    }
    const text *sent = &of->payload;
    of->ok++;
    of->wrong += reply->payload.len != sent->len || (sent->len && memcmp(reply->payload.ptr, sent->ptr, sent->len) != 0);
    micro_meta walk = { { reply->meta.ptr, reply->meta.len }, 0, 0 };
    micro_slice name, value;
    while (micro_meta_next(&walk, &name, &value)) {
        if (slice_is(name, "tag")) {
            tagged(of, value);
        }
    }
}

void many_cancel(many *of) {
    of->left = 0;
    for (uint64_t n = 0; n < of->room; n++) {
        micro_cancel(house.runtime, of->places[n]);
    }
}

bool many_idle(const many *of) {
    for (uint64_t n = 0; n < of->room; n++) {
        if (of->places[n]) {
            return false;
        }
    }
    return true;
}

void many_tell(const many *of, text *line) {
    with_number(line, "ok", of->ok);
    with_number(line, "wrong", of->wrong);
    for (int code = 1; code < 17; code++) {
        if (of->failed[code]) {
            char name[32];
            snprintf(name, sizeof name, "failed.%d", code);
            with_number(line, name, of->failed[code]);
        }
    }
    for (const tag *each = of->tags; each; each = each->next) {
        text count = { 0 };
        text_number(&count, each->count);
        with_part(line, "tag.", slice_in(&each->name), slice_in(&count));
        text_free(&count);
    }
}
