/* The server's part: one service at a time. */
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "question.h"
#include "turn.h"

/* The service requests are about, or none. It counts as a user of it. */
static service *running;

static micro_options options(micro_slice json) {
    return (micro_options){ .size = sizeof(micro_options), .json = json };
}

/* Settings with a member in front. */
static text with_member(micro_slice settings, const char *member) {
    text made = { 0 };
    text_say(&made, "{");
    text_say(&made, member);
    bool more = settings.len > 2;
    text_say(&made, more ? ", " : "}");
    if (more) {
        text_add(&made, settings.ptr + 1, settings.len - 1);
    }
    return made;
}

/* Subscribers, workers, and last of all jobs. */
static micro_status add(service *made, const line *request, micro_error **error) {
    micro_status status = MICRO_OK;
    for (size_t n = 0; status == MICRO_OK && n < request->count; n++) {
        micro_slice topic = request->fields[n].name, settings = request->fields[n].value;
        bool is_task = slice_begins(topic, "task.");
        if (!is_task && !slice_begins(topic, "subscriber.")) {
            continue;
        }
        slice_cut(&topic, '.');
        text worker = with_member(settings, "\"task\": true");
        status = micro_server_subscribe(made->server, topic, is_task ? slice_in(&worker) : settings, NULL, error);
        text_free(&worker);
    }
    for (size_t n = 0; status == MICRO_OK && n < request->count; n++) {
        if (slice_begins(request->fields[n].name, "job.")) {
            uint32_t method = 0;
            status = micro_server_job(made->server, request->fields[n].value, &method, error);
            made->jobs = method < made->jobs ? method : made->jobs;
        }
    }
    return status;
}

static void start(const line *request, uint64_t id) {
    static const struct {
        const char *name, *settings;
        uint32_t kind;
    } endpoints[ENDPOINTS] = {
        [ECHO] = { "Conformance.Echo", "endpoint.Echo", MICRO_UNARY },
        [DO] = { "Conformance.Do", "endpoint.Do", MICRO_UNARY },
        [COUNT] = { "Conformance.Count", "endpoint.Count", MICRO_SERVER_STREAM },
        [SUM] = { "Conformance.Sum", "endpoint.Sum", MICRO_CLIENT_STREAM },
        [CHAT] = { "Conformance.Chat", "endpoint.Chat", MICRO_BIDI_STREAM },
    };
    service *made = grab(sizeof *made);
    made->users = 1;
    made->jobs = UINT32_MAX;
    made->starting = id;
    text_set(&made->name, line_get(request, "service"));
    text_set(&made->tag, line_get(request, "tag"));
    for (size_t n = 0; n < request->count && made->layers < sizeof made->layer / sizeof *made->layer; n++) {
        if (slice_is(request->fields[n].name, "layer")) {
            text_set(&made->layer[made->layers++], request->fields[n].value);
        }
    }
    micro_options settings = options(line_get(request, "settings"));
    micro_error *error = NULL;
    micro_status status = micro_server_new(house.runtime, slice_in(&made->name), &settings, &made->server, &error);
    for (size_t n = 0; status == MICRO_OK && n < ENDPOINTS; n++) {
        uint32_t method;
        status = micro_server_method(made->server, slice_of(endpoints[n].name), endpoints[n].kind,
                                     line_get(request, endpoints[n].settings), &method, &error);
    }
    if (status == MICRO_OK) {
        status = add(made, request, &error);
    }
    if (status == MICRO_OK) {
        status = micro_server_start(made->server, house.queue, (uint64_t)(uintptr_t)made, &error);
    }
    if (status != MICRO_OK) {
        tell_failed(id, status, error);
        house_lock();
        service_leave(made);
        house_unlock();
    }
}

static void stop(uint64_t id) {
    house_lock();
    service *stopped = running;
    running = NULL;
    if (stopped) {
        stopped->stopping = id;
        micro_server_stop(stopped->server);
    }
    house_unlock();
    if (!stopped) {
        tell_ok(id);
    }
}

static void health(const line *request, uint64_t id) {
    house_lock();
    if (running) {
        micro_server_health(running->server, slice_in(&running->name), slice_is(line_get(request, "serving"), "true"));
    }
    house_unlock();
    tell_ok(id);
}

static void counts(micro_slice name, uint64_t id) {
    house_lock();
    key seen = *key_of(name);
    house_unlock();
    text line = answer_to("counts", id);
    with_number(&line, "calls", seen.calls);
    with_number(&line, "received", seen.received);
    with_number(&line, "sent", seen.sent);
    with_number(&line, "cancelled", seen.cancelled);
    tell(&line);
}

/* What the client of the service is asked. */
static void ask(const line *request, uint64_t id) {
    micro_error *error = NULL;
    micro_queue *queue = NULL;
    micro_client *client = NULL;
    micro_event reply = { 0 };
    micro_question question = { .size = sizeof question,
                                .operation = question_number(line_get(request, "operation")),
                                .args = line_get(request, "args") };
    house_lock();
    service *of = running;
    house_unlock();
    micro_status status = of ? micro_queue_new(house.runtime, 0, &queue, &error) : MICRO_FAILED_PRECONDITION;
    if (status == MICRO_OK) {
        client = service_client(of, &error);
        status = micro_ask(client, queue, &question, 0, NULL, &error);
    }
    if (status == MICRO_OK) {
        micro_queue_wait(queue, &reply, sizeof reply, 1, MICRO_NO_TIMEOUT);
        status = reply.status;
    }
    text line = answer_to("result", id);
    if (status == MICRO_OK) {
        with_number(&line, "code", 0);
        with(&line, "answer", (micro_slice){ reply.payload.ptr, reply.payload.len });
    } else {
        with_failure(&line, status, error ? error : reply.error);
    }
    tell(&line);
    micro_event_release(&reply);
    micro_queue_free(queue);
    micro_error_free(error);
}

static void serve(const line *request) {
    uint64_t id = line_number(request, "id", 0);
    micro_slice verb = request->verb, name = line_get(request, "key");
    if (slice_is(verb, "start")) {
        start(request, id);
    } else if (slice_is(verb, "stop")) {
        stop(id);
    } else if (slice_is(verb, "ask")) {
        ask(request, id);
    } else if (slice_is(verb, "health")) {
        health(request, id);
    } else if (slice_is(verb, "release")) {
        house_lock();
        key_of(name)->open = true;
        house_changed();
        house_unlock();
        tell_ok(id);
    } else if (slice_is(verb, "counts")) {
        counts(name, id);
    } else {
        fprintf(stderr, "a server does not know `%.*s`\n", (int)verb.len, (const char *)verb.ptr);
    }
}

static void opened(service *of, const micro_event *event) {
    micro_slice nodes = json_member((micro_slice){ event->payload.ptr, event->payload.len }, "nodes");
    micro_slice node = slice_of("");
    json_item(&nodes, &node);
    text address = json_text(json_member(node, "address"));
    house_lock();
    of->operation = event->id;
    running = of;
    house_unlock();
    text line = answer_to("started", of->starting);
    with(&line, "address", slice_in(&address));
    tell(&line);
    text_free(&address);
}

static void ended(service *of, micro_event *event) {
    if (!of->operation || event->status != MICRO_OK) {
        tell_failed(of->operation ? of->stopping : of->starting, event->status, event->error);
        event->error = NULL;
    } else {
        tell_ok(of->stopping);
    }
    house_lock();
    service_leave(of);
    house_unlock();
}

/* A run of a job is told, and done. */
static void ran(const micro_event *event) {
    micro_meta walk = { micro_meta_rest((micro_slice){ event->meta.ptr, event->meta.len }), 0, 0 };
    micro_slice name, value, job = slice_of(""), attempt = slice_of("");
    while (micro_meta_next(&walk, &name, &value)) {
        job = slice_is(name, "job") ? value : job;
        attempt = slice_is(name, "attempt") ? value : attempt;
    }
    text line = answer("event");
    with(&line, "name", slice_of("said"));
    with(&line, "key", job);
    with_payload(&line, attempt);
    tell(&line);
    micro_reply(house.runtime, event->id, MICRO_OK, (micro_bytes){ 0 }, slice_of(""));
}

static void hear(micro_event *event) {
    service *of = (service *)(uintptr_t)event->token;
    if (event->kind == MICRO_EVENT_CALL && event->method >= of->jobs) {
        ran(event);
    } else if (event->kind == MICRO_EVENT_CALL) {
        turn_begin(of, event);
    } else if (event->kind == MICRO_EVENT_OPENED) {
        opened(of, event);
    } else if (!turn_told(event) && event->kind == MICRO_EVENT_END && (!of->operation || of->operation == event->id)) {
        /* Else it is the end of what a caller sent, which came after the answer. */
        ended(of, event);
    }
}

const role server_role = { serve, hear };
