#include "turn.h"

#include <stdlib.h>

#include "act.h"
#include "layers.h"

static turn *turns;

static micro_status reply(turn *t, const micro_error *error) {
    micro_slice trailers = { t->trailers.ptr, t->trailers.len };
    if (error) {
        return micro_reply_error(house.runtime, t->call.id, error, trailers);
    }
    micro_slice payload = act_streams_replies(t) ? slice_of("") : slice_in(&t->payload);
    return micro_reply(house.runtime, t->call.id, MICRO_OK, lent(payload), trailers);
}

static void *handle(void *of) {
    turn *t = of;
    micro_error *error = layers_around(t);
    bool over = reply(t, error) != MICRO_OK || (error && micro_error_status(error) == MICRO_CANCELLED);
    house_lock();
    turn **place = &turns;
    while (*place != t) {
        place = &(*place)->next;
    }
    *place = t->next;
    if (over && t->key) {
        t->key->cancelled++;
    }
    service_leave(t->of);
    house_unlock();
    if (over && t->key) {
        act_event(t, "cancelled");
    }
    for (message *left = t->first; left;) {
        message *next = left->next;
        micro_bytes_release(left->bytes);
        free(left);
        left = next;
    }
    micro_error_free(error);
    micro_error_free(t->broken);
    micro_bytes_release(t->trailers);
    micro_event_release(&t->call);
    plan_free(&t->todo);
    text_free(&t->payload);
    free(t);
    return NULL;
}

void turn_begin(service *of, micro_event *call) {
    turn *t = grab(sizeof *t);
    t->begun = house_now();
    t->of = of;
    t->last = &t->first;
    t->call = *call;
    *call = (micro_event){ 0 };
    text_set(&t->payload, (micro_slice){ t->call.payload.ptr, t->call.payload.len });
    house_lock();
    of->users++;
    t->next = turns;
    turns = t;
    house_unlock();
    house_thread(handle, t);
}

bool turn_told(micro_event *event) {
    house_lock();
    turn *t = turns;
    while (t && t->call.id != event->id) {
        t = t->next;
    }
    if (t && event->kind == MICRO_EVENT_MESSAGE) {
        message *got = grab(sizeof *got);
        got->bytes = event->payload;
        event->payload = (micro_bytes){ 0 };
        *t->last = got;
        t->last = &got->next;
    } else if (t) {
        if (event->kind == MICRO_EVENT_END) {
            t->ended = true;
            t->broken = event->error;
            event->error = NULL;
        }
        t->cancelled |= event->kind == MICRO_EVENT_CALL_CANCELLED;
        t->writable |= event->kind == MICRO_EVENT_WRITABLE;
    }
    house_changed();
    house_unlock();
    return t != NULL;
}

micro_client *service_client(service *of, micro_error **err) {
    house_lock();
    if (!of->client) {
        micro_server_client(of->server, &of->client, err);
    }
    micro_client *client = of->client;
    house_unlock();
    return client;
}

void service_leave(service *of) {
    if (--of->users == 0) {
        micro_client_free(of->client);
        micro_server_free(of->server);
        text_free(&of->name);
        text_free(&of->tag);
        for (size_t n = 0; n < of->layers; n++) {
            text_free(&of->layer[n]);
        }
        free(of);
    }
}
