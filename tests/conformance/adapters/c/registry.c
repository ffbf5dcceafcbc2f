/*
 * One thread does everything: it takes questions out of a queue of its own, answers each at once, and wakes up when the next
 * node expires. So nothing here needs a lock.
 *
 * Names, labels, metadata and endpoints are kept as the JSON they came in. The library writes equal values equally.
 */
#include "registry.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "watches.h"

#define NEVER UINT64_MAX

typedef struct node {
    text id, document;
    uint64_t expires, registration;
    struct node *next;
} node;

/* One version of a service, which has at least one node. */
typedef struct version {
    text name, label, metadata, endpoints;
    node *nodes;
    struct version *next;
} version;

typedef struct {
    micro_queue *queue;
    micro_id provided;
    /* By name, then by label. */
    version *versions;
    watches told;
    uint64_t registrations;
} registry;

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static micro_slice view(micro_bytes bytes) {
    return (micro_slice){ bytes.ptr, bytes.len };
}

/* The characters of a JSON string, to sort by. */
static micro_slice inside(micro_slice quoted) {
    return quoted.len < 2 ? quoted : (micro_slice){ quoted.ptr + 1, quoted.len - 2 };
}

static void say_slice(text *to, micro_slice words) {
    text_add(to, words.ptr, words.len);
}

static void say_member(text *to, const char *before, const text *value) {
    text_say(to, before);
    say_slice(to, value->len ? slice_in(value) : slice_of("null"));
}

/* The record of a version, up to its nodes. */
static void say_version(text *to, const version *v) {
    say_member(to, "{\"name\":", &v->name);
    say_member(to, ",\"version\":", &v->label);
    say_member(to, ",\"metadata\":", &v->metadata);
    say_member(to, ",\"endpoints\":", &v->endpoints);
    text_say(to, ",\"nodes\":[");
}

static void say_node(text *to, const node *n, bool first) {
    text_say(to, first ? "" : ",");
    say_slice(to, slice_in(&n->document));
}

/* Nodes of one version to which the same has happened. */
typedef struct {
    text document;
    size_t nodes;
} news;

static news news_of(const char *action, const version *v) {
    news made = { 0 };
    text_say(&made.document, "{\"action\":\"");
    text_say(&made.document, action);
    text_say(&made.document, "\",\"service\":");
    say_version(&made.document, v);
    return made;
}

static void news_add(news *of, const node *n) {
    say_node(&of->document, n, of->nodes == 0);
    of->nodes++;
}

/* Tells it, unless nothing has happened, and frees it. */
static void news_tell(news *of, registry *r, const version *v) {
    if (of->nodes) {
        text_say(&of->document, "]}}");
        watches_tell(&r->told, slice_in(&v->name), slice_in(&of->document));
    }
    text_free(&of->document);
}

/* Records. */

static version **version_place(registry *r, micro_slice name, micro_slice label, bool *found) {
    version **place = &r->versions;
    for (*found = false; *place; place = &(*place)->next) {
        int order = slice_compare(inside(slice_in(&(*place)->name)), inside(name));
        order = order ? order : slice_compare(inside(slice_in(&(*place)->label)), inside(label));
        *found = order == 0;
        if (order >= 0) {
            break;
        }
    }
    return place;
}

static node **node_place(version *v, micro_slice id) {
    node **place = &v->nodes;
    while (*place && !text_is(&(*place)->id, id)) {
        place = &(*place)->next;
    }
    return place;
}

static void node_free(node **place) {
    node *gone = *place;
    *place = gone->next;
    text_free(&gone->id);
    text_free(&gone->document);
    free(gone);
}

static void version_free(version **place) {
    version *gone = *place;
    *place = gone->next;
    while (gone->nodes) {
        node_free(&gone->nodes);
    }
    text_free(&gone->name);
    text_free(&gone->label);
    text_free(&gone->metadata);
    text_free(&gone->endpoints);
    free(gone);
}

/* NULL for a record that can be registered. */
static micro_error *refusal(micro_slice record) {
    micro_slice nodes = json_member(record, "nodes"), each;
    bool wrong = inside(json_member(record, "name")).len == 0;
    size_t count = 0;
    for (; !wrong && json_item(&nodes, &each); count++) {
        wrong = inside(json_member(each, "id")).len == 0;
    }
    return !wrong && count
               ? NULL
               : micro_error_new(MICRO_INVALID_ARGUMENT, slice_of(""),
                                 slice_of("a record needs a name, and at least one node, each with an id"));
}

static void enroll(registry *r, micro_slice record, uint64_t expires) {
    micro_slice name = json_member(record, "name"), label = json_member(record, "version");
    micro_slice metadata = json_member(record, "metadata"), endpoints = json_member(record, "endpoints");
    bool found;
    version **place = version_place(r, name, label, &found);
    if (!found) {
        version *made = grab(sizeof *made);
        text_set(&made->name, name);
        text_set(&made->label, label);
        made->next = *place;
        *place = made;
    }
    version *v = *place;
    bool replaced = !text_is(&v->metadata, metadata) || !text_is(&v->endpoints, endpoints);
    text_set(&v->metadata, metadata);
    text_set(&v->endpoints, endpoints);

    news created = news_of("create", v), updated = news_of("update", v);
    uint64_t registration = ++r->registrations;
    micro_slice nodes = json_member(record, "nodes"), document;
    while (json_item(&nodes, &document)) {
        micro_slice id = json_member(document, "id");
        node **known = node_place(v, id);
        bool fresh = !*known;
        if (fresh) {
            *known = grab(sizeof **known);
            text_set(&(*known)->id, id);
        }
        bool differs = !text_is(&(*known)->document, document);
        text_set(&(*known)->document, document);
        (*known)->expires = expires;
        (*known)->registration = registration;
        if (fresh || differs || replaced) {
            news_add(fresh ? &created : &updated, *known);
        }
    }
    /* Nodes share what their version says. */
    for (const node *n = v->nodes; n && replaced; n = n->next) {
        if (n->registration != registration) {
            news_add(&updated, n);
        }
    }
    news_tell(&created, r, v);
    news_tell(&updated, r, v);
}

static void dismiss(registry *r, micro_slice record) {
    bool found;
    version **place = version_place(r, json_member(record, "name"), json_member(record, "version"), &found);
    if (!found) {
        return;
    }
    news gone = news_of("delete", *place);
    micro_slice nodes = json_member(record, "nodes"), document;
    while (json_item(&nodes, &document)) {
        node **known = node_place(*place, json_member(document, "id"));
        if (*known) {
            news_add(&gone, *known);
            node_free(known);
        }
    }
    news_tell(&gone, r, *place);
    if (!(*place)->nodes) {
        version_free(place);
    }
}

/* Forgets what was not registered again in time; when the next node expires, or NEVER. */
static uint64_t expire(registry *r) {
    uint64_t next = NEVER, at = now();
    for (version **place = &r->versions; *place;) {
        news gone = news_of("delete", *place);
        for (node **n = &(*place)->nodes; *n;) {
            if ((*n)->expires <= at) {
                news_add(&gone, *n);
                node_free(n);
            } else {
                next = (*n)->expires < next ? (*n)->expires : next;
                n = &(*n)->next;
            }
        }
        news_tell(&gone, r, *place);
        if ((*place)->nodes) {
            place = &(*place)->next;
        } else {
            version_free(place);
        }
    }
    return next;
}

/* The records of a service, or of all, as an array; the number of them. */
static size_t say_records(const registry *r, const micro_slice *service, text *to) {
    size_t count = 0;
    text_say(to, "[");
    for (const version *v = r->versions; v; v = v->next) {
        if (service && !text_is(&v->name, *service)) {
            continue;
        }
        text_say(to, count++ ? "," : "");
        say_version(to, v);
        for (const node *n = v->nodes; n; n = n->next) {
            say_node(to, n, n == v->nodes);
        }
        text_say(to, "]}");
    }
    text_say(to, "]");
    return count;
}

/* Questions. */

static micro_slice arguments(const micro_event *call) {
    micro_meta walk = { view(call->meta), 0, 0 };
    micro_slice name, value;
    while (micro_meta_next(&walk, &name, &value)) {
        if (slice_is(name, "micro-args-bin")) {
            return value;
        }
    }
    return slice_of("{}");
}

static void answer(registry *r, const micro_event *call) {
    micro_slice args = arguments(call), service = json_member(args, "service");
    micro_error *error = NULL;
    text records = { 0 };
    uint64_t ttl;
    switch (call->method) {
    case MICRO_REGISTRY_GET:
        if (say_records(r, &service, &records) == 0) {
            error = micro_error_new(MICRO_NOT_FOUND, slice_of(""), slice_of("no node has registered for this service"));
        }
        break;
    case MICRO_REGISTRY_LIST:
        say_records(r, NULL, &records);
        break;
    case MICRO_REGISTRY_WATCH:
        watches_begin(&r->told, call->id, service);
        return;
    case MICRO_REGISTRY_REGISTER:
        error = refusal(service);
        if (!error) {
            bool mortal = slice_number(json_member(args, "ttl"), &ttl) && ttl < UINT64_MAX / 2000000;
            enroll(r, service, mortal ? now() + ttl * 1000000 : NEVER);
        }
        break;
    case MICRO_REGISTRY_DEREGISTER:
        dismiss(r, service);
        break;
    default:
        error = micro_error_new(MICRO_UNIMPLEMENTED, slice_of(""), slice_of("this registry knows no such question"));
    }
    if (error) {
        micro_reply_error(r->told.runtime, call->id, error, slice_of(""));
        micro_error_free(error);
    } else {
        micro_reply(r->told.runtime, call->id, MICRO_OK, lent(slice_in(&records)), slice_of(""));
    }
    text_free(&records);
}

/* False once nothing will be asked any more. */
static bool hear(registry *r, const micro_event *event) {
    switch (event->kind) {
    case MICRO_EVENT_CALL:
        answer(r, event);
        return true;
    case MICRO_EVENT_CALL_CANCELLED:
        watches_end(&r->told, event->id);
        return true;
    case MICRO_EVENT_WRITABLE:
        watches_writable(&r->told, event->id);
        return true;
    case MICRO_EVENT_END:
        return event->id != r->provided;
    case MICRO_EVENT_CLOSED:
        return false;
    default:
        return true;
    }
}

static void registry_free(registry *r) {
    while (r->versions) {
        version_free(&r->versions);
    }
    watches_free(&r->told);
    micro_queue_free(r->queue);
    free(r);
}

static void *serve(void *of) {
    registry *r = of;
    for (bool on = true; on;) {
        /* What has expired is not answered any more. */
        uint64_t next = expire(r), at = now();
        uint64_t wait = next == NEVER ? MICRO_NO_TIMEOUT : next > at ? next - at : 0;
        micro_event event;
        if (micro_queue_wait(r->queue, &event, sizeof event, 1, wait) == 1) {
            on = hear(r, &event);
            micro_event_release(&event);
        }
    }
    registry_free(r);
    return NULL;
}

micro_status registry_provide(micro_runtime *runtime, micro_slice name, micro_id *id, micro_error **err) {
    registry *made = grab(sizeof *made);
    made->told.runtime = runtime;
    pthread_t thread;
    micro_status status = micro_queue_new(runtime, 0, &made->queue, err);
    if (status == MICRO_OK) {
        status = micro_provide(runtime, MICRO_AREA_REGISTRY, name, made->queue, 0, &made->provided, err);
    }
    if (status == MICRO_OK && id) {
        *id = made->provided;
    }
    if (status == MICRO_OK && pthread_create(&thread, NULL, serve, made) != 0) {
        micro_cancel(runtime, made->provided);
        *err = micro_error_new(MICRO_RESOURCE_EXHAUSTED, slice_of(""), slice_of("there is no thread for a registry"));
        status = MICRO_RESOURCE_EXHAUSTED;
    }
    if (status != MICRO_OK) {
        registry_free(made);
        return status;
    }
    pthread_detach(thread);
    return MICRO_OK;
}
