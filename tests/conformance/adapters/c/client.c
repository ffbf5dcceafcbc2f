/* The client's part: one client at a time, and any number of calls and streams at once. */
#include <stdio.h>

#include "many.h"
#include "operation.h"
#include "question.h"
#include "registry.h"

/* All of it is used under the lock, which keeps events of an operation from coming before what was begun has been told. */
static micro_client *client;
/* The `stop` to answer once nothing runs; 0 for none. */
static uint64_t stopping;

static micro_request request_of(const line *from, const text *payload) {
    return (micro_request){ .size = sizeof(micro_request),
                            .service = line_get(from, "service"),
                            .method = line_get(from, "endpoint"),
                            .payload = lent(slice_in(payload)),
                            .options = line_get(from, "settings") };
}

static void stopped_if_over(void) {
    if (stopping && !operations) {
        tell_ok(stopping);
        stopping = 0;
    }
}

/* The end of an operation: its one result. */
static void finish(operation *of, micro_status status, const micro_error *error, micro_slice meta) {
    operation_unsent(of);
    text line = answer_to("result", of->id);
    if (status != MICRO_OK) {
        with_failure(&line, status, error);
    } else {
        with_number(&line, "code", 0);
    }
    if (status == MICRO_OK && of->many) {
        many_tell(of->many, &line);
    } else if (status == MICRO_OK && of->has_reply && of->kind == QUESTION) {
        with(&line, "answer", slice_in(&of->reply));
    } else if (status == MICRO_OK && of->has_reply) {
        with_payload(&line, slice_in(&of->reply));
    }
    with_metadata(&line, meta);
    with_number(&line, "elapsed_ms", (house_now() - of->begun) / 1000000);
    tell(&line);
    operation_free(of);
    stopped_if_over();
}

static void start(const line *request, uint64_t id) {
    micro_options options = { .size = sizeof options, .json = line_get(request, "settings") };
    micro_error *error = NULL;
    micro_client *made = NULL;
    micro_status status = micro_client_new(house.runtime, &options, &made, &error);
    if (status != MICRO_OK) {
        tell_failed(id, status, error);
        return;
    }
    micro_client_free(client);
    client = made;
    tell_ok(id);
}

static void stop(uint64_t id) {
    micro_client_free(client);
    client = NULL;
    stopping = id;
    for (operation *each = operations; each; each = each->next) {
        operation_cancel(each);
    }
    stopped_if_over();
}

/* A call or a stream. */
static void begin(const line *from, uint64_t id, operation_kind kind) {
    operation *made = operation_new(id, kind);
    /* The messages of the other streams are sent when they are open. */
    text payload = kind == CALL || kind == SERVER_STREAM ? line_payload(from) : (text){ 0 };
    micro_request request = request_of(from, &payload);
    micro_error *error = NULL;
    micro_status status = kind == CALL ? micro_client_call(client, house.queue, &request, id, &made->micro, &error)
                                       : micro_client_open(client, house.queue, &request, kind, id, &made->micro, &error);
    text_free(&payload);
    if (status != MICRO_OK) {
        finish(made, status, error, slice_of(""));
        micro_error_free(error);
    } else if (kind != CALL) {
        text line = answer_to("opened", id);
        tell(&line);
        if (kind == CLIENT_STREAM) {
            /* Its one reply is wanted from the beginning. */
            micro_stream_grant(house.runtime, made->micro, 1);
        }
    }
}

static void begin_publish(const line *from, uint64_t id) {
    bool is_task = line_get(from, "task").len > 0;
    operation *made = operation_new(id, is_task ? TASK : PUBLISH);
    text payload = line_payload(from);
    micro_bytes meta = { 0 };
    micro_error *error = NULL;
    micro_status status = micro_meta_add(&meta, slice_of("do"), line_get(from, "do"), &error);
    if (status == MICRO_OK) {
        micro_message message = { .size = sizeof message,
                                  .flags = MICRO_CODEC_BYTES,
                                  .topic = line_get(from, "topic"),
                                  .meta = { meta.ptr, meta.len },
                                  .payload = lent(slice_in(&payload)),
                                  /* A task has no other settings here. */
                                  .options = is_task ? slice_of("{\"task\": true}") : line_get(from, "settings") };
        status = micro_publish(client, house.queue, &message, id, &made->micro, &error);
    }
    micro_bytes_release(meta);
    text_free(&payload);
    if (status != MICRO_OK) {
        finish(made, status, error, slice_of(""));
        micro_error_free(error);
    }
}

static void begin_many(const line *from, uint64_t id) {
    operation *made = operation_new(id, MANY);
    made->many = many_new(from);
    if (many_go_on(made->many, client, id)) {
        finish(made, MICRO_OK, NULL, slice_of(""));
    }
}

/* A question, or something to follow: the arguments pass through as they are. */
static void begin_question(const line *from, uint64_t id, operation_kind kind) {
    operation *made = operation_new(id, kind);
    micro_question question = {
        .size = sizeof question,
        .operation = question_number(line_get(from, "operation")),
        .args = line_get(from, "args"),
        .timeout_ns = line_number(from, "timeout", 0) * 1000000,
    };
    micro_error *error = NULL;
    micro_status status = kind == QUESTION ? micro_ask(client, house.queue, &question, id, &made->micro, &error)
                                           : micro_follow(client, house.queue, &question, id, &made->micro, &error);
    if (status != MICRO_OK) {
        finish(made, status, error, slice_of(""));
        micro_error_free(error);
    }
}

static void provide(const line *request, uint64_t id) {
    micro_error *error = NULL;
    micro_status status = registry_provide(house.runtime, line_get(request, "name"), NULL, &error);
    if (status != MICRO_OK) {
        tell_failed(id, status, error);
    } else {
        tell_ok(id);
    }
}

static void headers_if_there(operation *of) {
    if (of->has_headers && of->wants_headers) {
        text line = answer_to("headers", of->id);
        with_metadata(&line, slice_in(&of->headers));
        tell(&line);
        of->wants_headers = false;
    }
}

static void do_locked(const line *request, uint64_t id) {
    micro_slice verb = request->verb, kind = line_get(request, "kind");
    operation *known = operation_of(id);
    if (slice_is(verb, "start")) {
        start(request, id);
    } else if (slice_is(verb, "stop")) {
        stop(id);
    } else if (slice_is(verb, "call")) {
        begin(request, id, CALL);
    } else if (slice_is(verb, "open")) {
        begin(request, id,
              slice_is(kind, "server")   ? SERVER_STREAM
              : slice_is(kind, "client") ? CLIENT_STREAM
                                         : BIDI_STREAM);
    } else if (slice_is(verb, "publish")) {
        begin_publish(request, id);
    } else if (slice_is(verb, "many")) {
        begin_many(request, id);
    } else if (slice_is(verb, "ask")) {
        begin_question(request, id, QUESTION);
    } else if (slice_is(verb, "follow")) {
        begin_question(request, id, WATCH);
    } else if (slice_is(verb, "provide")) {
        provide(request, id);
    } else if (slice_is(verb, "send") && !known) {
        text line = answer_to("unsent", id);
        tell(&line);
    } else if (slice_is(verb, "send") || slice_is(verb, "close")) {
        if (known) {
            operation_send(known, request);
        }
    } else if (slice_is(verb, "headers")) {
        if (known) {
            known->wants_headers = true;
            headers_if_there(known);
        }
    } else if (slice_is(verb, "recv")) {
        if (known) {
            micro_stream_grant(house.runtime, known->micro, 1);
        }
    } else if (slice_is(verb, "cancel")) {
        if (known) {
            operation_cancel(known);
        }
    } else {
        fprintf(stderr, "a client does not know `%.*s`\n", (int)verb.len, (const char *)verb.ptr);
    }
}

static void serve(const line *request) {
    house_lock();
    do_locked(request, line_number(request, "id", 0));
    house_unlock();
}

/* The id of a task came: its answer is asked for. */
static void ask_for(operation *of, micro_slice id) {
    text args = { 0 };
    text_say(&args, "{\"id\": \"");
    text_add(&args, id.ptr, id.len);
    text_say(&args, "\"}");
    micro_question question = { .size = sizeof question, .operation = MICRO_TASK_RESULT, .args = slice_in(&args) };
    micro_error *error = NULL;
    of->kind = ANSWER;
    micro_status status = micro_ask(client, house.queue, &question, of->id, &of->micro, &error);
    text_free(&args);
    if (status != MICRO_OK) {
        finish(of, status, error, slice_of(""));
        micro_error_free(error);
    }
}

static void replied(operation *of, const micro_event *event) {
    micro_slice payload = { event->payload.ptr, event->payload.len };
    if (of->kind == TASK && event->status == MICRO_OK) {
        ask_for(of, payload);
        return;
    }
    if (of->kind == CALL) {
        text_set(&of->reply, payload);
        of->has_reply = true;
        finish(of, event->status, event->error, (micro_slice){ event->meta.ptr, event->meta.len });
    } else if (of->kind == MANY) {
        bool cancelled = of->cancelled;
        many_count(of->many, event);
        if (cancelled ? many_idle(of->many) : many_go_on(of->many, client, of->id)) {
            finish(of, cancelled ? MICRO_CANCELLED : MICRO_OK, NULL, slice_of(""));
        }
    } else {
        text_set(&of->reply, payload);
        of->has_reply = payload.len > 0;
        finish(of, event->status, event->error, slice_of(""));
    }
}

static void opened(operation *of, const micro_event *event) {
    if (of->kind == WATCH) {
        text line = answer_to("opened", of->id);
        tell(&line);
        return;
    }
    text_set(&of->headers, (micro_slice){ event->meta.ptr, event->meta.len });
    of->has_headers = true;
    headers_if_there(of);
}

static void changed(const operation *of, const micro_event *event) {
    text line = answer_to("change", of->id);
    with(&line, "answer", (micro_slice){ event->payload.ptr, event->payload.len });
    tell(&line);
}

static void message(operation *of, const micro_event *event) {
    micro_slice payload = { event->payload.ptr, event->payload.len };
    if (of->kind == CLIENT_STREAM) {
        text_set(&of->reply, payload);
        of->has_reply = true;
        return;
    }
    text line = answer_to("message", of->id);
    with_payload(&line, payload);
    tell(&line);
}

static void hear(micro_event *event) {
    house_lock();
    operation *of = operation_of(event->token);
    if (of && event->kind == MICRO_EVENT_REPLY) {
        replied(of, event);
    } else if (of && event->kind == MICRO_EVENT_MESSAGE) {
        message(of, event);
    } else if (of && event->kind == MICRO_EVENT_OPENED) {
        opened(of, event);
    } else if (of && event->kind == MICRO_EVENT_CHANGE) {
        changed(of, event);
    } else if (of && event->kind == MICRO_EVENT_WRITABLE) {
        operation_pump(of);
    } else if (of && event->kind == MICRO_EVENT_END) {
        finish(of, event->status, event->error, (micro_slice){ event->meta.ptr, event->meta.len });
    }
    house_unlock();
}

const role client_role = { serve, hear };
