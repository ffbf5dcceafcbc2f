/* Calls that came in: answered once, whatever their handler does. */
#include "fleet.h"

TEST(the_first_answer_counts) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_request request = hello("Ada");
    request.flags = MICRO_CODEC_JSON;
    fleet_submit(&f, client, &request, 7);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    SAYS(call.payload, "Ada");
    EQUAL(call.flags, MICRO_CODEC_JSON);
    EQUAL(call.method, 0);
    EQUAL(call.token, 100);
    CHECK(call.timeout_ns > 0 && call.timeout_ns < 5 * SECOND);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello, Ada!"), S("")), MICRO_OK);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello again!"), S("")), MICRO_STALE);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_NOT_FOUND, lent("no"), S("")), MICRO_STALE);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.token, 7);
    EQUAL(reply.status, MICRO_OK);
    EQUAL(reply.flags, MICRO_CODEC_JSON);
    SAYS(reply.payload, "Hello, Ada!");
    CHECK(fleet_quiet(&f));
    micro_event_release(&call);
    micro_event_release(&reply);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_content_type_of_the_programs_own_reaches_the_handler_and_comes_back) {
    uint16_t sealed = 0, again = 0, other = 0;
    EQUAL(micro_codec(S("x.sealed"), &sealed, NULL), MICRO_OK);
    EQUAL(micro_codec(S("x.sealed"), &again, NULL), MICRO_OK);
    EQUAL(micro_codec(S("x.other"), &other, NULL), MICRO_OK);
    CHECK(sealed > MICRO_CODEC_TEXT && sealed <= MICRO_CODEC_MASK && sealed == again && sealed != other);
    EQUAL(micro_codec(S("json"), &other, NULL), MICRO_INVALID_ARGUMENT);
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_request request = hello("Ada");
    request.flags = sealed;
    fleet_submit(&f, client, &request, 7);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(call.flags & MICRO_CODEC_MASK, sealed);
    SAYS(call.payload, "Ada");
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello, Ada!"), S("")), MICRO_OK);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.status, MICRO_OK);
    EQUAL(reply.flags & MICRO_CODEC_MASK, sealed);
    SAYS(reply.payload, "Hello, Ada!");
    micro_event_release(&call);
    micro_event_release(&reply);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_forgotten_call_ends_at_the_callers_deadline) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_request request = hello("Ada");
    request.timeout_ns = 100 * MILLISECOND;
    uint64_t begun = now();
    fleet_submit(&f, client, &request, 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    CHECK(call.timeout_ns <= 100 * MILLISECOND);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_DEADLINE_EXCEEDED);
    CHECK(now() - begun >= 100 * MILLISECOND);
    micro_event gone = fleet_next(&f, MICRO_EVENT_CALL_CANCELLED);
    EQUAL(gone.id, call.id);
    /* Whichever is first: the word that the caller gave up, or the deadline on this side. */
    CHECK(gone.status == MICRO_DEADLINE_EXCEEDED || gone.status == MICRO_CANCELLED);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("late"), S("")), MICRO_STALE);
    EQUAL(micro_debug_live(MICRO_LIVE_CALL), 0);
    micro_event_release(&gone);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_forgotten_call_ends_with_the_runtime_of_its_service) {
    fleet f = fleet_new(), service = fleet_apart(&f);
    fleet_greeter(&service);
    micro_client *client = fleet_client(&f, "\"timeout\": null, \"retries\": 0");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&service, MICRO_EVENT_CALL);
    EQUAL(call.timeout_ns, (long long)MICRO_NO_TIMEOUT);
    EQUAL(micro_runtime_shutdown(service.runtime, 0), MICRO_OK);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    CHECK(reply.status == MICRO_UNAVAILABLE || reply.status == MICRO_CANCELLED);
    micro_event_release(&reply);
    fleet_ends(&service, MICRO_EVENT_CALL_CANCELLED, MICRO_CANCELLED);
    EQUAL(micro_reply(service.runtime, call.id, MICRO_OK, lent("late"), S("")), MICRO_STALE);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&service);
    fleet_end(&f);
}

TEST(a_wrong_answer_leaves_the_call_to_be_answered) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    static const micro_status wrong[] = { -1, 17, 999, MICRO_STALE, MICRO_ARG, INT32_MAX, INT32_MIN };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        EQUAL(micro_reply(f.runtime, call.id, wrong[n], lent("x"), S("")), MICRO_ARG);
    }
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("x"), S("no block")), MICRO_ARG);
    EQUAL(micro_reply_error(f.runtime, call.id, NULL, S("")), MICRO_ARG);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_reply(f.runtime, call.id, MICRO_ABORTED, lent("try again"), S("")), MICRO_OK);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.status, MICRO_ABORTED);
    SAYS(micro_error_message(reply.error), "try again");
    micro_event_release(&reply);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(every_status_arrives) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"retries\": 0");
    for (micro_status status = 1; status <= 16; status++) {
        fleet_call(&f, client, "Ada", (uint64_t)status);
        micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
        EQUAL(micro_reply(f.runtime, call.id, status, lent("as asked"), S("")), MICRO_OK);
        micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
        EQUAL(reply.status, status);
        EQUAL(micro_error_status(reply.error), status);
        SAYS(micro_error_message(reply.error), "as asked");
        micro_event_release(&call);
        micro_event_release(&reply);
    }
    SAYS(micro_status_name(MICRO_DEADLINE_EXCEEDED), "DEADLINE_EXCEEDED");
    SAYS(micro_status_name(MICRO_STALE), "STALE");
    SAYS(micro_status_name(12345), "UNKNOWN");
    micro_client_free(client);
    fleet_end(&f);
}
