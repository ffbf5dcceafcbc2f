/* Questions, what is followed, and registries that the program provides, at their edges. */
#include <stdlib.h>

#include "fleet.h"

#define RECORD(name) "{\"service\": {\"name\": \"" name "\", \"version\": \"1\", \"nodes\": [{\"id\": \"a\", \"address\": \"127.0.0.1:1\"}]}}"

static void refused(fleet *f, micro_client *client, bool asked, const micro_question *question, micro_status wanted, const char *says) {
    micro_error *error = NULL;
    micro_id id = 7;
    micro_status status = asked ? micro_ask(client, f->queue, question, 1, &id, &error)
                                : micro_follow(client, f->queue, question, 1, &id, &error);
    EQUAL(status, wanted);
    HOLDS(micro_error_message(error), says);
    micro_error_free(error);
}

static void count_release(void *data) {
    ++*(int *)data;
}

static micro_client *client_of(const fleet *f, const char *options) {
    micro_client *client = NULL;
    micro_options given = options_of(options);
    EQUAL(micro_client_new(f->runtime, &given, &client, NULL), MICRO_OK);
    return client;
}

/* Provides a registry, and a client of it. */
static micro_id provide(fleet *f, const char *name) {
    micro_id id = 0;
    EQUAL(micro_provide(f->runtime, MICRO_AREA_REGISTRY, S(name), f->queue, 200, &id, NULL), MICRO_OK);
    return id;
}

static void withdraw(fleet *f, micro_id provided) {
    EQUAL(micro_cancel(f->runtime, provided), MICRO_OK);
    micro_event end = fleet_next(f, MICRO_EVENT_END);
    EQUAL(end.id, provided);
    EQUAL(end.token, 200);
    micro_event_release(&end);
}

static micro_slice args_of(const micro_event *call) {
    micro_meta walk = { view(call->meta), 0, 0 };
    micro_slice name, value;
    while (micro_meta_next(&walk, &name, &value)) {
        if (name.len == 14 && memcmp(name.ptr, "micro-args-bin", 14) == 0) {
            return value;
        }
    }
    return S("");
}

TEST(a_question_that_cannot_be_is_refused_at_once) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    micro_question question = question_of(0x02ff, "");
    refused(&f, client, true, &question, MICRO_ARG, "0x02ff");
    refused(&f, client, false, &question, MICRO_ARG, "0x02ff");
    question = question_of(MICRO_REGISTRY_WATCH, "");
    refused(&f, client, true, &question, MICRO_ARG, "registry.watch is followed, not asked");
    question = question_of(MICRO_REGISTRY_GET, "{\"service\": \"x\"}");
    refused(&f, client, false, &question, MICRO_ARG, "registry.get is asked, not followed");
    question.flags = 1u << 30;
    refused(&f, client, true, &question, MICRO_ARG, "flags");
    static const struct {
        const char *args, *says;
    } wrong[] = {
        { "{\"service\": ", "registry.get" },   { "[]", "an object" },
        { "{}", "`service` is missing" },       { "{\"service\": 7}", "7 is not a text" },
        { "{\"service\": \"x\", \"servcie\": \"x\"}", "did you mean `service`?" },
    };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        question = question_of(MICRO_REGISTRY_GET, wrong[n].args);
        refused(&f, client, true, &question, MICRO_INVALID_ARGUMENT, wrong[n].says);
    }
    CHECK(fleet_quiet(&f));
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_payload_or_metadata_that_an_operation_does_not_take_is_refused) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    static const uint8_t bytes[] = "payload";
    int released = 0;
    micro_question question = question_of(MICRO_REGISTRY_LIST, "");
    question.payload = micro_bytes_wrap(bytes, sizeof bytes, count_release, &released);
    refused(&f, client, true, &question, MICRO_INVALID_ARGUMENT, "registry.list takes no payload");
    EQUAL(released, 1);
    micro_bytes block = nothing();
    EQUAL(micro_meta_add(&block, S("tenant"), S("blue"), NULL), MICRO_OK);
    question.payload = nothing();
    question.meta = view(block);
    refused(&f, client, true, &question, MICRO_INVALID_ARGUMENT, "registry.list takes no metadata");
    question.operation = MICRO_REGISTRY_WATCH;
    refused(&f, client, false, &question, MICRO_INVALID_ARGUMENT, "registry.watch takes no metadata");
    CHECK(fleet_quiet(&f));
    micro_bytes_release(block);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(the_payload_of_a_question_is_taken_also_when_it_is_refused) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    static const uint8_t bytes[] = "payload";
    int released = 0;
    micro_question question = question_of(0x02ff, "");
    question.payload = micro_bytes_wrap(bytes, sizeof bytes, count_release, &released);
    refused(&f, client, true, &question, MICRO_ARG, "0x02ff");
    EQUAL(released, 1);
    question.payload = micro_bytes_wrap(bytes, sizeof bytes, count_release, &released);
    EQUAL(micro_ask(NULL, f.queue, &question, 1, NULL, NULL), MICRO_ARG);
    EQUAL(released, 2);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_registry_that_the_program_provides_is_asked_and_answers) {
    fleet f = fleet_new();
    micro_id provided = provide(&f, "mine");
    micro_client *client = client_of(&f, "{\"registry\": \"host://mine\"}");
    fleet_ask(&f, client, MICRO_REGISTRY_REGISTER, RECORD("greeter"), 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(call.token, 200);
    EQUAL(call.method, MICRO_REGISTRY_REGISTER);
    CHECK(call.timeout_ns <= 10 * SECOND);
    HOLDS(args_of(&call), "\"id\":\"a\"");
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, nothing(), S("")), MICRO_OK);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, nothing(), S("")), MICRO_STALE);
    micro_event_release(&call);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);

    /* What it answers with must be what was asked for. */
    fleet_ask(&f, client, MICRO_REGISTRY_GET, "{\"service\": \"greeter\"}", 2);
    call = fleet_next(&f, MICRO_EVENT_CALL);
    SAYS(args_of(&call), "{\"service\":\"greeter\"}");
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("no records"), S("")), MICRO_OK);
    micro_event_release(&call);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_INTERNAL);

    /* A question that is forgotten is answered for it. */
    fleet_ask(&f, client, MICRO_REGISTRY_LIST, "", 3);
    call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_cancel(f.runtime, call.id), MICRO_OK);
    micro_event_release(&call);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    withdraw(&f, provided);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_question_ends_at_its_deadline_and_the_program_is_told) {
    fleet f = fleet_new();
    micro_id provided = provide(&f, "mine");
    micro_client *client = client_of(&f, "{\"registry\": \"host://mine\"}");
    micro_question question = question_of(MICRO_REGISTRY_LIST, "");
    question.timeout_ns = 50 * MILLISECOND;
    EQUAL(micro_ask(client, f.queue, &question, 1, NULL, NULL), MICRO_OK);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_DEADLINE_EXCEEDED);
    micro_event gone = fleet_next(&f, MICRO_EVENT_CALL_CANCELLED);
    EQUAL(gone.id, call.id);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("[]"), S("")), MICRO_STALE);
    micro_event_release(&gone);
    micro_event_release(&call);
    withdraw(&f, provided);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_question_that_is_cancelled_ends_once_on_both_sides) {
    fleet f = fleet_new();
    micro_id provided = provide(&f, "mine"), id = 0;
    micro_client *client = client_of(&f, "{\"registry\": \"host://mine\"}");
    micro_question question = question_of(MICRO_REGISTRY_LIST, "");
    EQUAL(micro_ask(client, f.queue, &question, 1, &id, NULL), MICRO_OK);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_cancel(f.runtime, id), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_CALL_CANCELLED, MICRO_CANCELLED);
    EQUAL(micro_cancel(f.runtime, id), MICRO_STALE);
    CHECK(fleet_quiet(&f));
    micro_event_release(&call);
    withdraw(&f, provided);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(what_is_followed_opens_comes_as_granted_and_ends_once) {
    fleet f = fleet_new();
    micro_id provided = provide(&f, "mine"), id = 0;
    micro_client *client = client_of(&f, "{\"registry\": \"host://mine\"}");
    micro_question question = question_of(MICRO_REGISTRY_WATCH, "");
    EQUAL(micro_follow(client, f.queue, &question, 1, &id, NULL), MICRO_OK);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(call.method, MICRO_REGISTRY_WATCH);
    EQUAL(call.timeout_ns, MICRO_NO_TIMEOUT);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_send(f.runtime, call.id, lent(""), 0), MICRO_OK);
    micro_event opened = fleet_next(&f, MICRO_EVENT_OPENED);
    EQUAL(opened.id, id);
    micro_event_release(&opened);
    for (int n = 0; n < 2; n++) {
        const char *change = "{\"action\": \"create\", \"service\": {\"name\": \"greeter\"}}";
        EQUAL(micro_stream_send(f.runtime, call.id, lent(change), 0), MICRO_OK);
    }
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_grant(f.runtime, id, 1), MICRO_OK);
    micro_event change = fleet_next(&f, MICRO_EVENT_CHANGE);
    EQUAL(change.token, 1);
    HOLDS(change.payload, "\"action\":\"create\"");
    micro_event_release(&change);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_cancel(f.runtime, id), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_CALL_CANCELLED, MICRO_CANCELLED);
    EQUAL(micro_stream_grant(f.runtime, id, 1), MICRO_STALE);
    micro_event_release(&call);
    withdraw(&f, provided);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_question_of_a_call_ends_with_it_and_cannot_begin_after_it) {
    fleet f = fleet_new();
    micro_id provided = provide(&f, "mine");
    fleet_greeter(&f);
    micro_client *caller = fleet_client(&f, ""), *client = client_of(&f, "{\"registry\": \"host://mine\"}");
    micro_id outer = fleet_call(&f, caller, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    micro_question question = question_of(MICRO_REGISTRY_LIST, "");
    question.parent = call.id;
    question.timeout_ns = MICRO_NO_TIMEOUT;
    EQUAL(micro_ask(client, f.queue, &question, 2, NULL, NULL), MICRO_OK);
    micro_event asked = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(asked.token, 200);
    EQUAL(micro_cancel(f.runtime, outer), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_CALL_CANCELLED, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_CALL_CANCELLED, MICRO_CANCELLED);
    EQUAL(micro_ask(client, f.queue, &question, 3, NULL, NULL), MICRO_CANCELLED);
    question = question_of(MICRO_REGISTRY_WATCH, "");
    question.parent = call.id;
    EQUAL(micro_follow(client, f.queue, &question, 3, NULL, NULL), MICRO_CANCELLED);
    CHECK(fleet_quiet(&f));
    micro_event_release(&call);
    micro_event_release(&asked);
    withdraw(&f, provided);
    micro_client_free(caller);
    micro_client_free(client);
    fleet_end(&f);
}

enum { PLACES = 1024 };

TEST(a_question_waits_for_a_place_and_can_be_cancelled_while_it_does) {
    fleet f = fleet_new();
    micro_id provided = provide(&f, "mine"), last = 0;
    micro_client *client = client_of(&f, "{\"registry\": \"host://mine\"}");
    micro_question question = question_of(MICRO_REGISTRY_LIST, "");
    question.timeout_ns = MICRO_NO_TIMEOUT;
    micro_id ids[PLACES];
    for (int n = 0; n < PLACES; n++) {
        EQUAL(micro_ask(client, f.queue, &question, 1, &ids[n], NULL), MICRO_OK);
    }
    EQUAL(micro_ask(client, f.queue, &question, 2, NULL, NULL), MICRO_FULL);
    question.flags = MICRO_REQUEST_WAIT;
    EQUAL(micro_ask(client, f.queue, &question, 3, &last, NULL), MICRO_OK);
    EQUAL(micro_cancel(f.runtime, last), MICRO_OK);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.token, 3);
    EQUAL(reply.status, MICRO_CANCELLED);
    micro_event_release(&reply);
    for (int n = 0; n < PLACES; n++) {
        EQUAL(micro_cancel(f.runtime, ids[n]), MICRO_OK);
        fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    }
    withdraw(&f, provided);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_name_is_provided_once_and_again_when_it_was_withdrawn) {
    fleet f = fleet_new();
    micro_id provided = provide(&f, "mine");
    micro_error *error = NULL;
    EQUAL(micro_provide(f.runtime, MICRO_AREA_REGISTRY, S("mine"), f.queue, 1, NULL, &error), MICRO_ALREADY_EXISTS);
    HOLDS(micro_error_message(error), "host://mine");
    micro_error_free(error);
    EQUAL(micro_provide(f.runtime, 0x7f, S("mine"), f.queue, 1, NULL, NULL), MICRO_ARG);
    EQUAL(micro_provide(f.runtime, MICRO_AREA_REGISTRY, S(""), f.queue, 1, NULL, NULL), MICRO_ARG);
    EQUAL(micro_provide(f.runtime, MICRO_AREA_REGISTRY, S("a/b"), f.queue, 1, NULL, NULL), MICRO_ARG);
    micro_client *client = client_of(&f, "{\"registry\": \"host://mine\"}");
    withdraw(&f, provided);
    EQUAL(micro_cancel(f.runtime, provided), MICRO_STALE);
    /* Nothing answers by that name now, and a client that has it open is told. */
    fleet_ask(&f, client, MICRO_REGISTRY_LIST, "", 2);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_UNAVAILABLE);
    provided = provide(&f, "mine");
    fleet_ask(&f, client, MICRO_REGISTRY_LIST, "", 3);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("[]"), S("")), MICRO_OK);
    micro_event_release(&call);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    SAYS(reply.payload, "[]");
    micro_event_release(&reply);
    withdraw(&f, provided);
    micro_client_free(client);
    fleet_end(&f);
}
