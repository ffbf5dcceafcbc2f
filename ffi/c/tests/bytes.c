/* Who owns a payload: it is copied, wrapped, lent or moved, and given back exactly once, also when a function fails. */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fleet.h"

static void released(void *ctx) {
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static micro_bytes wrapped(const char *text, atomic_int *count) {
    return micro_bytes_wrap((const uint8_t *)text, strlen(text), released, count);
}

TEST(a_copy_is_the_callers_until_it_is_released) {
    char text[] = "Ada";
    micro_bytes copy = micro_bytes_copy((const uint8_t *)text, 3);
    text[0] = 'X';
    SAYS(copy, "Ada");
    EQUAL(micro_debug_live(MICRO_LIVE_BYTES), 1);
    micro_bytes_release(copy);
    EQUAL(micro_debug_live(MICRO_LIVE_BYTES), 0);
    micro_bytes empty = micro_bytes_copy(NULL, 0), wrong = micro_bytes_copy(NULL, 9);
    CHECK(empty.own == NULL && empty.len == 0 && wrong.own == NULL && wrong.len == 0);
    micro_bytes_release(empty);
    micro_bytes_release(lent("borrowed"));
}

TEST(wrapped_memory_is_released_once) {
    atomic_int count = 0;
    micro_bytes bytes = wrapped("Ada", &count);
    SAYS(bytes, "Ada");
    EQUAL(count, 0);
    micro_bytes_release(bytes);
    EQUAL(count, 1);
    /* Nothing to wrap is released at once. */
    micro_bytes empty = micro_bytes_wrap(NULL, 0, released, &count);
    CHECK(empty.own == NULL);
    EQUAL(count, 2);
    micro_bytes_release(micro_bytes_wrap((const uint8_t *)"x", 1, NULL, NULL));
}

TEST(payloads_of_every_kind_are_sent_and_given_back) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    atomic_int count = 0;
    for (int kind = 0; kind < 4; kind++) {
        micro_request request = hello("");
        char text[] = "xAday";
        switch (kind) {
        case 0: request.payload = micro_bytes_copy((const uint8_t *)"Ada", 3); break;
        case 1: request.payload = wrapped("Ada", &count); break;
        case 2: request.payload = (micro_bytes){ (const uint8_t *)text + 1, 3, NULL }; break;
        default: /* a window over more */
            request.payload = wrapped("xAday", &count);
            request.payload.ptr++;
            request.payload.len = 3;
        }
        fleet_submit(&f, client, &request, 1);
        memset(text, 'X', sizeof text);
        micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
        SAYS(call.payload, "Ada");
        /* What came in goes out again as it is. */
        EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, call.payload, S("")), MICRO_OK);
        call.payload = nothing();
        micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
        SAYS(reply.payload, "Ada");
        micro_event_release(&call);
        micro_event_release(&reply);
        micro_event_release(&reply);
    }
    micro_client_free(client);
    fleet_end(&f);
    EQUAL(count, 2);
}

TEST(a_window_outside_of_its_bytes_is_refused_and_they_are_released) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    atomic_int count = 0;
    for (int n = 0; n < 3; n++) {
        micro_request request = hello("");
        request.payload = wrapped("Ada", &count);
        request.payload.ptr += n == 0 ? 1 : n == 1 ? -1 : 4;
        EQUAL(micro_client_call(client, f.queue, &request, 1, NULL, NULL), MICRO_ARG);
        EQUAL(count, n + 1);
    }
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_function_that_fails_has_taken_the_payload) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    atomic_int count = 0;
    int wanted = 0;
    micro_request request = hello("");
#define FAILS(call) \
    do { \
        request.payload = wrapped("Ada", &count); \
        CHECK((call) != MICRO_OK); \
        EQUAL(count, ++wanted); \
    } while (0)
    FAILS(micro_client_call(NULL, f.queue, &request, 1, NULL, NULL));
    FAILS(micro_client_call(client, NULL, &request, 1, NULL, NULL));
    FAILS(micro_client_open(client, f.queue, &request, MICRO_BIDI_STREAM, 1, NULL, NULL));
    FAILS(micro_client_open(client, f.queue, &request, 99, 1, NULL, NULL));
    FAILS(micro_reply(f.runtime, 0, MICRO_OK, request.payload, S("")));
    FAILS(micro_reply(NULL, 0, MICRO_OK, request.payload, S("")));
    FAILS(micro_reply(f.runtime, 0, 999, request.payload, S("")));
    FAILS(micro_stream_send(f.runtime, 0, request.payload, 0));
    FAILS(micro_stream_send(f.runtime, 0, request.payload, 0xff));
    FAILS(micro_stream_send(NULL, 0, request.payload, 0));
    request.service = (micro_slice){ (const uint8_t *)"\xff", 1 };
    FAILS(micro_client_call(client, f.queue, &request, 1, NULL, NULL));
    request = hello("");
    request.meta = S("no block");
    FAILS(micro_client_call(client, f.queue, &request, 1, NULL, NULL));
    request = hello("");
    request.options = S("{");
    FAILS(micro_client_call(client, f.queue, &request, 1, NULL, NULL));
    request = hello("");
    request.parent = 77;
    FAILS(micro_client_call(client, f.queue, &request, 1, NULL, NULL));
    request = hello("");
    EQUAL(micro_queue_close(f.queue), MICRO_OK);
    FAILS(micro_client_call(client, f.queue, &request, 1, NULL, NULL));
    micro_client_free(client);
    fleet_end(&f);
}

TEST(an_operation_that_fails_later_gives_its_payload_back) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    atomic_int count = 0;
    micro_request request = hello("");
    request.payload = wrapped("Ada", &count);
    fleet_submit(&f, client, &request, 1);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_UNAVAILABLE);
    for (uint64_t begun = now(); atomic_load(&count) == 0; sched_yield()) {
        CHECK(now() - begun < PATIENCE);
    }
    EQUAL(count, 1);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(large_payloads_arrive_whole) {
    enum { SIZE = 3 * 1024 * 1024 };
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"timeout\": \"60s\"");
    uint8_t *memory = malloc(SIZE);
    for (size_t n = 0; n < SIZE; n++) {
        memory[n] = (uint8_t)(n * 31 >> 3);
    }
    atomic_int count = 0;
    micro_request request = hello("");
    request.payload = micro_bytes_wrap(memory, SIZE, released, &count);
    fleet_submit(&f, client, &request, 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(call.payload.len, SIZE);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, call.payload, S("")), MICRO_OK);
    call.payload = nothing();
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.payload.len, SIZE);
    EQUAL(memcmp(reply.payload.ptr, memory, SIZE), 0);
    /* Kept by the program, longer than the event and the runtime. */
    micro_bytes kept = reply.payload;
    reply.payload = nothing();
    micro_event_release(&call);
    micro_event_release(&reply);
    micro_client_free(client);
    fleet_end(&f);
    EQUAL(count, 1);
    EQUAL(memcmp(kept.ptr, memory, SIZE), 0);
    micro_bytes_release(kept);
    free(memory);
}
