#include "act.h"

#include <stdlib.h>

#include "json.h"
#include "payload.h"
#include "question.h"

static micro_error *refusal(const char *why) {
    return micro_error_new(MICRO_INVALID_ARGUMENT, slice_of(""), slice_of(why));
}

static micro_error *gone(void) {
    return micro_error_new(MICRO_CANCELLED, slice_of(""), slice_of("the caller no longer waits for the answer"));
}

void act_event(const turn *t, const char *name) {
    text line = answer("event");
    with(&line, "name", slice_of(name));
    with(&line, "key", t->key ? slice_in(&t->key->name) : slice_of(""));
    tell(&line);
}

/* Tells the payload. */
static void say(const turn *t) {
    text line = answer("event");
    with(&line, "name", slice_of("said"));
    with(&line, "key", t->key ? slice_in(&t->key->name) : slice_of(""));
    with_payload(&line, slice_in(&t->payload));
    tell(&line);
}

static bool streams_requests(const turn *t) {
    return t->call.method == SUM || t->call.method == CHAT;
}

bool act_streams_replies(const turn *t) {
    return t->call.method == COUNT || t->call.method == CHAT;
}

/* Waits for a message: MICRO_OK, MICRO_CLOSED after the last, MICRO_CANCELLED. */
static micro_status next_message(turn *t) {
    micro_stream_grant(house.runtime, t->call.id, 1);
    house_lock();
    while (!t->first && !t->ended && !t->cancelled) {
        house_wait(MICRO_NO_TIMEOUT);
    }
    message *got = t->first;
    micro_status status = got ? MICRO_OK : t->cancelled ? MICRO_CANCELLED : MICRO_CLOSED;
    if (got) {
        t->first = got->next;
        t->last = t->first ? t->last : &t->first;
        t->received++;
        if (t->key) {
            t->key->received++;
        }
    }
    house_unlock();
    if (got) {
        text_set(&t->payload, (micro_slice){ got->bytes.ptr, got->bytes.len });
        micro_bytes_release(got->bytes);
        free(got);
    }
    return status;
}

static micro_error *send(turn *t, micro_slice reply) {
    if (!act_streams_replies(t)) {
        return refusal("no stream of replies");
    }
    for (;;) {
        house_lock();
        t->writable = false;
        house_unlock();
        micro_status status = micro_stream_send(house.runtime, t->call.id, lent(reply), 0);
        house_lock();
        while (status == MICRO_FULL && !t->writable && !t->cancelled) {
            house_wait(MICRO_NO_TIMEOUT);
        }
        if (status == MICRO_OK && t->key) {
            t->key->sent++;
        }
        bool over = (status != MICRO_OK && status != MICRO_FULL) || t->cancelled;
        house_unlock();
        if (status == MICRO_OK || over) {
            return over ? gone() : NULL;
        }
    }
}

/* The failure of its requests, once; NULL when they ended well. */
static micro_error *broken(turn *t) {
    house_lock();
    micro_error *error = t->broken;
    t->broken = NULL;
    house_unlock();
    return error;
}

/* Receives up to `most` messages, and sends them back where they are to be echoed. */
static micro_error *receive(turn *t, uint64_t most, bool echo) {
    for (uint64_t n = 0; n < most && streams_requests(t); n++) {
        micro_status status = next_message(t);
        if (status != MICRO_OK) {
            return status == MICRO_CLOSED ? broken(t) : gone();
        }
        micro_error *error = echo ? send(t, slice_in(&t->payload)) : NULL;
        if (error) {
            return error;
        }
    }
    return NULL;
}

/* Waits for the release of the key, or until the call is over where its thread may be given up. */
static micro_error *hold(turn *t, bool cancellable) {
    if (!t->key) {
        return refusal("the plan needs a key for this");
    }
    act_event(t, "held");
    house_lock();
    while (!t->key->open && !(cancellable && t->cancelled)) {
        house_wait(MICRO_NO_TIMEOUT);
    }
    bool over = t->cancelled;
    house_unlock();
    return over ? gone() : NULL;
}

static micro_error *pause_for(turn *t, uint64_t milliseconds) {
    uint64_t until = house_now() + milliseconds * 1000000;
    house_lock();
    while (!t->cancelled && house_wait(until)) {
    }
    bool over = t->cancelled;
    house_unlock();
    return over ? gone() : NULL;
}

static void describe(turn *t, const char *what) {
    micro_bytes described = { 0 };
    if (micro_call_describe(house.runtime, t->call.id, &described) == MICRO_OK) {
        text said = json_text(json_member((micro_slice){ described.ptr, described.len }, what));
        text_set(&t->payload, slice_in(&said));
        text_free(&said);
    }
    micro_bytes_release(described);
}

/* What is known of a message beside its headers; `none` where there is nothing by that name. */
static void add_fact(turn *t, const char *name, const char *none) {
    micro_meta walk = { micro_meta_rest((micro_slice){ t->call.meta.ptr, t->call.meta.len }), 0, 0 };
    micro_slice found, value;
    while (micro_meta_next(&walk, &found, &value)) {
        if (slice_is(found, name)) {
            text_add(&t->payload, value.ptr, value.len);
            return;
        }
    }
    text_say(&t->payload, none);
}

static micro_error *report(turn *t, micro_slice what) {
    t->payload.len = 0;
    if (slice_is(what, "metadata")) {
        micro_meta walk = { { t->call.meta.ptr, t->call.meta.len }, 0, 0 };
        micro_slice name, value;
        while (micro_meta_next(&walk, &name, &value)) {
            if (slice_begins(name, "test-")) {
                text shown = metadata_shown(name, value);
                text_add(&t->payload, name.ptr, name.len);
                text_say(&t->payload, ": ");
                text_add(&t->payload, shown.ptr, shown.len);
                text_say(&t->payload, "\n");
                text_free(&shown);
            }
        }
    } else if (slice_is(what, "deadline") && t->call.timeout_ns == MICRO_NO_TIMEOUT) {
        text_say(&t->payload, "none");
    } else if (slice_is(what, "deadline")) {
        uint64_t gone_by = house_now() - t->begun;
        text_number(&t->payload, gone_by < t->call.timeout_ns ? (t->call.timeout_ns - gone_by) / 1000000 : 0);
    } else if (slice_is(what, "delivery")) {
        static const char *const facts[][2] = { { "topic", "" }, { "attempt", "" }, { "key", "-" }, { "id", "-" }, { "priority", "0" } };
        for (size_t n = 0; n < sizeof facts / sizeof *facts; n++) {
            text_say(&t->payload, n ? " " : "");
            add_fact(t, facts[n][0], facts[n][1]);
        }
    } else if (slice_is(what, "caller")) {
        describe(t, "caller");
    } else if (slice_is(what, "endpoint")) {
        describe(t, "endpoint");
    } else {
        return refusal("nothing known of this");
    }
    return NULL;
}

/* Waits for the one answer of a queue, which becomes the payload. */
static micro_error *take_reply(turn *t, micro_queue *queue) {
    micro_event reply;
    if (micro_queue_wait(queue, &reply, sizeof reply, 1, MICRO_NO_TIMEOUT) != 1) {
        return NULL;
    }
    if (reply.status == MICRO_OK) {
        text_set(&t->payload, (micro_slice){ reply.payload.ptr, reply.payload.len });
    }
    micro_error *error = reply.error;
    reply.error = NULL;
    micro_event_release(&reply);
    return error;
}

/* Asks a service to go on with the plan `next`, as part of this call. */
static micro_error *call(turn *t, micro_slice name, micro_slice next) {
    micro_error *error = NULL;
    micro_queue *queue = NULL;
    micro_bytes meta = { 0 };
    micro_client *client = service_client(t->of, &error);
    if (error || micro_queue_new(house.runtime, 0, &queue, &error) != MICRO_OK ||
        micro_meta_add(&meta, slice_of("do"), next, &error) != MICRO_OK) {
        goto done;
    }
    micro_request request = { .size = sizeof request,
                              .flags = MICRO_CODEC_BYTES,
                              .service = name,
                              .method = slice_of("Conformance.Do"),
                              .meta = { meta.ptr, meta.len },
                              .payload = lent(slice_in(&t->payload)),
                              .parent = t->call.id };
    if (micro_client_call(client, queue, &request, 0, NULL, &error) == MICRO_OK) {
        error = take_reply(t, queue);
    }
done:
    micro_bytes_release(meta);
    micro_queue_free(queue);
    return error;
}

/* Publishes the payload as part of what is handled. */
static micro_error *publish(turn *t, micro_slice topic, micro_slice next) {
    micro_error *error = NULL;
    micro_queue *queue = NULL;
    micro_bytes meta = { 0 };
    micro_client *client = service_client(t->of, &error);
    if (error || micro_queue_new(house.runtime, 0, &queue, &error) != MICRO_OK ||
        micro_meta_add(&meta, slice_of("do"), next, &error) != MICRO_OK) {
        goto done;
    }
    micro_message message = { .size = sizeof message,
                              .flags = MICRO_CODEC_BYTES,
                              .topic = topic,
                              .meta = { meta.ptr, meta.len },
                              .payload = lent(slice_in(&t->payload)),
                              .parent = t->call.id };
    text kept = { 0 };
    text_set(&kept, slice_in(&t->payload));
    if (micro_publish(client, queue, &message, 0, NULL, &error) == MICRO_OK) {
        error = take_reply(t, queue);
    }
    text_set(&t->payload, slice_in(&kept));
    text_free(&kept);
done:
    micro_bytes_release(meta);
    micro_queue_free(queue);
    return error;
}

/* Asks a question as part of this call, for as long as it takes. */
static micro_error *ask(turn *t, micro_slice operation, micro_slice args) {
    micro_error *error = NULL;
    micro_queue *queue = NULL;
    micro_client *client = service_client(t->of, &error);
    if (error || micro_queue_new(house.runtime, 0, &queue, &error) != MICRO_OK) {
        return error;
    }
    micro_question question = { .size = sizeof question,
                                .operation = question_number(operation),
                                .args = args,
                                .timeout_ns = MICRO_NO_TIMEOUT,
                                .parent = t->call.id };
    if (micro_ask(client, queue, &question, 0, NULL, &error) == MICRO_OK) {
        error = take_reply(t, queue);
    }
    micro_queue_free(queue);
    return error;
}

/* The failure that the actions before this one describe. */
static micro_error *failing(const turn *t, size_t at, uint64_t code) {
    micro_slice id = plan_before(&t->todo, at, "error_id"), detail = plan_before(&t->todo, at, "detail");
    uint64_t http;
    micro_error *error = slice_number(plan_before(&t->todo, at, "http"), &http) ? micro_error_from_http((int32_t)http, id, detail)
                                                                                : micro_error_new((micro_status)code, id, detail);
    for (size_t n = 0; error && n < at; n++) {
        micro_slice type = t->todo.actions[n].name;
        if (slice_begins(type, "attach.")) {
            slice_cut(&type, '.');
            micro_error_attach(error, type, slice_in(&t->todo.actions[n].value));
        }
    }
    return error ? error : refusal("no such code");
}

/* What must be done before anything else. */
static micro_error *first_of_all(turn *t) {
    micro_meta walk = { { t->call.meta.ptr, t->call.meta.len }, 0, 0 };
    micro_slice name, value;
    while (micro_meta_next(&walk, &name, &value)) {
        if (slice_is(name, "do") && !plan_read(&t->todo, value)) {
            return refusal("the plan cannot be read");
        }
    }
    micro_bytes headers = { 0 };
    micro_error *error = NULL;
    for (size_t n = 0; !error && n < t->todo.count; n++) {
        name = t->todo.actions[n].name;
        value = slice_in(&t->todo.actions[n].value);
        if (slice_begins(name, "header.")) {
            slice_cut(&name, '.');
            metadata_add(&headers, name, value, &error);
        } else if (slice_is(name, "tag")) {
            micro_meta_add(&headers, name, slice_in(&t->of->tag), &error);
        } else if (slice_is(name, "key")) {
            house_lock();
            t->key = key_of(value);
            house_unlock();
        }
    }
    if (!error && headers.len) {
        micro_call_headers(house.runtime, t->call.id, (micro_slice){ headers.ptr, headers.len });
    }
    micro_bytes_release(headers);
    return error;
}

static micro_error *send_many(turn *t, size_t at, uint64_t count) {
    uint64_t size, fill = 0;
    text made = { 0 };
    micro_slice reply = slice_in(&t->payload);
    if (slice_number(plan_before(&t->todo, at, "size"), &size)) {
        slice_number(plan_before(&t->todo, at, "fill"), &fill);
        payload_make(&made, size, fill);
        reply = slice_in(&made);
    }
    micro_error *error = NULL;
    for (uint64_t n = 0; !error && n < count; n++) {
        error = send(t, reply);
    }
    text_free(&made);
    return error;
}

/* One action; `number` is the number of the call. */
static micro_error *act(turn *t, size_t at, uint64_t number) {
    micro_slice name = t->todo.actions[at].name, value = slice_in(&t->todo.actions[at].value);
    uint64_t count = 0, times = 0;
    bool counts = slice_number(value, &count);
    if (slice_is(name, "tell")) {
        if (counts && count == number) {
            act_event(t, "reached");
        }
        return NULL;
    }
    if (slice_is(name, "fail")) {
        bool limited = slice_number(plan_before(&t->todo, at, "times"), &times);
        return limited && number > times ? NULL : failing(t, at, count);
    }
    if (slice_is(name, "begin")) {
        return micro_call_send_headers(house.runtime, t->call.id) == MICRO_OK ? NULL : refusal("no headers to send");
    }
    if (slice_is(name, "report")) {
        return report(t, value);
    }
    if (slice_is(name, "hold") || slice_is(name, "block")) {
        return hold(t, slice_is(name, "hold"));
    }
    if (slice_is(name, "say")) {
        say(t);
        return NULL;
    }
    if (slice_is(name, "publish")) {
        return publish(t, value, plan_before(&t->todo, at, "next"));
    }
    if (slice_is(name, "call")) {
        return call(t, value, plan_before(&t->todo, at, "next"));
    }
    if (slice_is(name, "ask")) {
        return ask(t, value, plan_before(&t->todo, at, "args"));
    }
    if (slice_is(name, "sleep")) {
        return pause_for(t, count);
    }
    if (slice_is(name, "messages")) {
        return send_many(t, at, count);
    }
    if (slice_is(name, "receive")) {
        return receive(t, count, false);
    }
    if (slice_begins(name, "trailer.")) {
        micro_error *error = NULL;
        slice_cut(&name, '.');
        metadata_add(&t->trailers, name, value, &error);
        return error;
    }
    if (slice_is(name, "panic") || slice_is(name, "forget")) {
        return micro_error_new(MICRO_UNIMPLEMENTED, slice_of(""), slice_of("handlers of C can do no such thing"));
    }
    static const char *const known[] = { "key", "tag", "size", "fill", "next", "args", "times", "detail", "error_id", "http" };
    for (size_t n = 0; n < sizeof known / sizeof *known; n++) {
        if (slice_is(name, known[n])) {
            return NULL;
        }
    }
    return slice_begins(name, "header.") || slice_begins(name, "attach.") ? NULL : refusal("no such action");
}

/* The plan, then the messages that are left. */
micro_error *act_on_plan(turn *t) {
    micro_error *error = first_of_all(t);
    if (error) {
        return error;
    }
    house_lock();
    uint64_t number = t->key ? ++t->key->calls : 0;
    house_unlock();
    for (size_t n = 0; !error && n < t->todo.count; n++) {
        error = act(t, n, number);
    }
    uint64_t size, fill = 0;
    if (!error && slice_number(plan_before(&t->todo, t->todo.count, "size"), &size)) {
        slice_number(plan_before(&t->todo, t->todo.count, "fill"), &fill);
        payload_make(&t->payload, size, fill);
    }
    if (!error) {
        error = receive(t, UINT64_MAX, t->call.method == CHAT);
    }
    if (!error && t->call.method == SUM) {
        text received = { 0 };
        text_number(&received, t->received);
        micro_meta_add(&t->trailers, slice_of("received"), slice_in(&received), &error);
        text_free(&received);
    }
    return error;
}
