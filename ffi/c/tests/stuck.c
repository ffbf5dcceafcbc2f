/* A program that stops draining: what waits for it is bounded, callers hear of it, and so does the log, once. */
#include <sched.h>
#include <stdio.h>

#include "fleet.h"

TEST(a_client_that_is_not_drained_is_full_also_where_everything_is_cancelled) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    fleet beside = fleet_beside(&f);
    micro_client *client = fleet_client(&f, "\"max_in_flight\": 4");
    for (int round = 0; round < 50; round++) {
        micro_request request = hello("Ada");
        micro_error *error = NULL;
        micro_id id;
        for (int n = 0; n < 4; n++) {
            EQUAL(micro_client_call(client, beside.queue, &request, 1, &id, NULL), MICRO_OK);
            EQUAL(micro_cancel(f.runtime, id), MICRO_OK);
        }
        for (int n = 0; n < 100; n++) {
            EQUAL(micro_client_call(client, beside.queue, &request, 1, &id, &error), MICRO_FULL);
            HOLDS(micro_error_message(error), "drain");
            micro_error_free(error);
            CHECK(micro_queue_length(beside.queue) <= 4);
        }
        for (int n = 0; n < 4; n++) {
            fleet_ends(&beside, MICRO_EVENT_REPLY, MICRO_CANCELLED);
        }
    }
    /* One that can wait does. */
    micro_request patient = hello("Ada");
    patient.flags = MICRO_REQUEST_WAIT;
    for (uint64_t token = 0; token < 6; token++) {
        fleet_submit(&beside, client, &patient, token);
    }
    for (int n = 0; n < 6; n++) {
        micro_event call;
        do {
            call = fleet_next(&f, MICRO_EVENT_CALL);
            micro_event_release(&call);
            /* Calls of the rounds before may still be on their way. */
        } while (micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")) == MICRO_STALE);
        fleet_ends(&beside, MICRO_EVENT_REPLY, MICRO_OK);
    }
    micro_client_free(client);
    fleet_end_beside(&beside);
    fleet_end(&f);
}

TEST(calls_that_wait_for_a_service_that_is_stuck_are_bounded_and_then_refused) {
    /* Sanitizers take minutes to reach the limit. */
    enum { MOST = SLOW ? 1024 : 16 * 1024, MADE = SLOW ? MOST : MOST + 1024 };
    fleet f = fleet_new(), served = fleet_beside(&f);
    micro_server_free(fleet_serve(&served, "greeter", "\"limiter\": \"off\"", "Greeter.Hello", MICRO_UNARY, NULL));
    micro_client *client = fleet_client(&f, "\"retries\": 0, \"timeout\": \"60s\"");
    micro_id ids[256];
    size_t refused = 0, cancelled = 0;
    for (size_t made = 0; made < MADE; made += 256) {
        size_t before = micro_queue_length(served.queue);
        for (size_t n = 0; n < 256; n++) {
            ids[n] = fleet_call(&f, client, "Ada", n);
        }
        size_t ended = 0;
        if (before + 256 <= MOST) {
            for (uint64_t begun = now(); micro_queue_length(served.queue) < before + 256; sched_yield()) {
                CHECK(now() - begun < PATIENCE);
            }
        } else {
            for (; ended < 256; ended++) {
                fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_RESOURCE_EXHAUSTED);
            }
            refused += ended;
        }
        for (size_t n = 0; ended + n < 256; n++) {
            EQUAL(micro_cancel(f.runtime, ids[n]), MICRO_OK);
        }
        for (; ended < 256; ended++, cancelled++) {
            fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
        }
        CHECK(micro_queue_length(served.queue) <= MOST);
    }
    EQUAL(cancelled, MOST);
    EQUAL(refused, MADE - MOST);
    /* It comes back, and is not bothered with what no caller waits for. */
    for (uint64_t begun = now(); micro_debug_live(MICRO_LIVE_CALL) > MOST; sched_yield()) {
        CHECK(now() - begun < PATIENCE);
    }
    if (!SLOW) {
        fleet_call(&f, client, "Ada", 1);
        fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_RESOURCE_EXHAUSTED);
    }
    micro_event event;
    EQUAL(micro_queue_length(served.queue), MOST);
    size_t late = 0;
    while (micro_queue_length(served.queue) > 0) {
        if (micro_queue_drain(served.queue, &event, sizeof event, 1) == 1) {
            /* News of the end of the last ones may still be on its way. */
            late += event.kind == MICRO_EVENT_CALL;
            micro_event_release(&event);
        }
    }
    CHECK(late <= sizeof ids / sizeof ids[0]);
    fleet_call(&f, client, "Ada", 1);
    do {
        CHECK(micro_queue_wait(served.queue, &event, sizeof event, 1, PATIENCE) == 1);
        micro_event_release(&event);
        /* Or it is one of them, or the news that it is over. */
    } while (event.kind != MICRO_EVENT_CALL ||
             micro_reply(f.runtime, event.id, MICRO_OK, lent("Hello"), S("")) == MICRO_STALE);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    micro_client_free(client);
    fleet_end_beside(&served);
    fleet_end(&f);
}

/* Counts records of the text in the logs that come until `until`. */
static int logged(micro_queue *logs, const char *text, uint64_t until) {
    int found = 0;
    while (now() < until) {
        micro_event event;
        if (micro_queue_wait(logs, &event, sizeof event, 1, until - now()) == 0) {
            break;
        }
        EQUAL(event.kind, MICRO_EVENT_LOG);
        const char *at = (const char *)event.payload.ptr, *end = at + event.payload.len;
        while ((at = memmem(at, (size_t)(end - at), text, strlen(text))) != NULL) {
            found++;
            at += strlen(text);
        }
        if (found == 1) {
            HOLDS(event.payload, "\"level\":\"warn\"");
            HOLDS(event.payload, "micro::bridge");
        }
        micro_event_release(&event);
    }
    return found;
}

TEST(a_queue_that_is_not_drained_is_warned_about_once) {
    static const char warning[] = "a queue is not drained";
    fleet f = fleet_new();
    micro_queue *logs = NULL;
    EQUAL(micro_queue_new(f.runtime, MICRO_QUEUE_LOGS, &logs, NULL), MICRO_OK);
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    uint64_t begun = now();
    fleet_call(&f, client, "Ada", 1);
    fleet_wait_for_something(&f);
    EQUAL(logged(logs, warning, begun + 12 * SECOND), 1);
    CHECK(micro_queue_age(f.queue) >= 5 * SECOND);
    /* One that drains again is not stuck. */
    micro_event event = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(event.status, MICRO_DEADLINE_EXCEEDED);
    micro_event_release(&event);
    EQUAL(micro_queue_age(f.queue), 0);
    EQUAL(logged(logs, warning, now() + SECOND), 0);
    micro_client_free(client);
    micro_queue_free(logs);
    fleet_end(&f);
}
