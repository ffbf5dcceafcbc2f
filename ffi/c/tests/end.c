/* Queues and runtimes that end with work under way: whatever was accepted ends once, and CLOSED comes last. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "fleet.h"

TEST(a_queue_closed_with_work_under_way_is_told_nothing_more) {
    fleet f = fleet_new(), other = fleet_beside(&f);
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    for (uint64_t token = 0; token < 10; token++) {
        fleet_call(&other, client, "Ada", token);
    }
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_queue_close(other.queue), MICRO_OK);
    EQUAL(micro_queue_close(other.queue), MICRO_OK);
    micro_event event;
    EQUAL(micro_queue_wait(other.queue, &event, sizeof event, 1, MICRO_NO_TIMEOUT), 0);
    micro_request request = hello("Ada");
    EQUAL(micro_client_call(client, other.queue, &request, 1, NULL, NULL), MICRO_CLOSED);
    /* The calls go on all the same. */
    for (int n = 0; n < 10; n++) {
        EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
        micro_event_release(&call);
        if (n < 9) {
            call = fleet_next(&f, MICRO_EVENT_CALL);
        }
    }
    for (uint64_t begun = now(); micro_debug_live(MICRO_LIVE_OPERATION) > 1;) {
        CHECK(now() - begun < PATIENCE);
        sched_yield();
    }
    EQUAL(micro_queue_length(other.queue), 0);
    micro_client_free(client);
    fleet_end_beside(&other);
    fleet_end(&f);
}

TEST(calls_that_were_not_taken_are_answered_when_their_queue_closes) {
    fleet f = fleet_new(), served = fleet_beside(&f);
    fleet_greeter(&served);
    micro_client *client = fleet_client(&f, "\"retries\": 0");
    fleet_call(&f, client, "Ada", 1);
    fleet_wait_for_something(&served);
    EQUAL(micro_queue_close(served.queue), MICRO_OK);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.status, MICRO_INTERNAL);
    SAYS(micro_error_message(reply.error), "handler dropped the call");
    micro_event_release(&reply);
    /* And those that come later are refused, not kept waiting. */
    fleet_call(&f, client, "Ada", 2);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_UNAVAILABLE);
    micro_client_free(client);
    fleet_end_beside(&served);
    fleet_end(&f);
}

/* Drains a queue to its end; counts terminal events of each token below `tokens`. */
static void drain_to_the_end(micro_queue *queue, unsigned char *ended, size_t tokens) {
    bool closed = false;
    while (!closed) {
        micro_event events[100];
        size_t got = micro_queue_wait(queue, events, sizeof *events, 100, PATIENCE);
        CHECK(got > 0);
        for (size_t n = 0; n < got; n++) {
            CHECK(!closed);
            bool terminal = events[n].kind == MICRO_EVENT_REPLY || events[n].kind == MICRO_EVENT_END;
            /* 100 is the service; streams that came in have its token. */
            if (terminal && events[n].token < tokens && events[n].token != 100) {
                CHECK(events[n].status != MICRO_OK && events[n].error != NULL);
                ended[events[n].token]++;
            }
            closed = events[n].kind == MICRO_EVENT_CLOSED;
            micro_event_release(&events[n]);
        }
    }
    micro_event event;
    EQUAL(micro_queue_wait(queue, &event, sizeof event, 1, MICRO_NO_TIMEOUT), 0);
}

TEST(a_runtime_freed_with_work_under_way_ends_all_of_it_once) {
    for (int round = 0; round < 20; round++) {
        fleet f = fleet_new();
        micro_server *server = fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_UNARY, "Greeter.Talk", MICRO_BIDI_STREAM, NULL);
        micro_client *client = fleet_client(&f, "");
        for (uint64_t token = 0; token < 50; token++) {
            fleet_call(&f, client, "Ada", token);
        }
        micro_request talk = hello("");
        talk.method = S("Greeter.Talk");
        micro_id stream = 0;
        EQUAL(micro_client_open(client, f.queue, &talk, MICRO_BIDI_STREAM, 50, &stream, NULL), MICRO_OK);
        EQUAL(micro_stream_send(f.runtime, stream, lent("first"), 0), MICRO_OK);
        micro_question watch = question_of(MICRO_REGISTRY_WATCH, "");
        EQUAL(micro_follow(client, f.queue, &watch, 51, NULL, NULL), MICRO_OK);
        if (round % 2 == 0) {
            /* Seen and forgotten, and never seen. */
            micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
            micro_event_release(&call);
        }
        micro_runtime_free(f.runtime);
        unsigned char ended[52] = { 0 };
        /* Objects outlive their runtime. */
        EQUAL(micro_client_call(client, f.queue, &talk, 1, NULL, NULL), MICRO_CLOSED);
        micro_queue *later = NULL;
        drain_to_the_end(f.queue, ended, 52);
        for (size_t n = 0; n < f.held; n++) {
            CHECK(f.aside[n].kind != MICRO_EVENT_REPLY);
        }
        for (int token = 0; token < 52; token++) {
            EQUAL(ended[token], 1);
        }
        CHECK(later == NULL);
        micro_client_free(client);
        micro_server_free(server);
        fleet_end_beside(&f);
    }
}

TEST(ten_thousand_calls_under_way_all_end_with_the_runtime) {
    enum { CALLS = 10000 };
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"max_in_flight\": 10000, \"timeout\": null");
    for (uint64_t token = 0; token < CALLS; token++) {
        /* 100 is the service's. */
        fleet_call(&f, client, "Ada", token < 100 ? token : token + 1);
    }
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    micro_event_release(&call);
    uint64_t begun = now();
    EQUAL(micro_runtime_shutdown(f.runtime, 0), MICRO_OK);
    EQUAL(micro_runtime_shutdown(f.runtime, 0), MICRO_OK);
    unsigned char *ended = calloc(CALLS + 1, 1);
    drain_to_the_end(f.queue, ended, CALLS + 1);
    CHECK(now() - begun < PATIENCE);
    for (int token = 0; token <= CALLS; token++) {
        EQUAL(ended[token], token == 100 ? 0 : 1);
    }
    free(ended);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_shutdown_with_grace_lets_calls_finish) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_runtime_shutdown(f.runtime, PATIENCE), MICRO_OK);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_CLOSED, MICRO_OK);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_service_stops_in_order_and_once) {
    fleet f = fleet_new();
    micro_server *server = fleet_serve(&f, "greeter", "\"propagation\": \"1ms\"", "Greeter.Hello", MICRO_UNARY, NULL);
    micro_client *client = fleet_client(&f, "\"retries\": 0");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_server_stop(server), MICRO_OK);
    EQUAL(micro_server_stop(server), MICRO_OK);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    micro_event end = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(end.status, MICRO_OK);
    EQUAL(end.token, 100);
    EQUAL(micro_server_health(server, S(""), true), MICRO_FAILED_PRECONDITION);
    EQUAL(micro_server_start(server, f.queue, 1, NULL), MICRO_FAILED_PRECONDITION);
    micro_event_release(&end);
    micro_event_release(&call);
    micro_client_free(client);
    micro_server_free(server);
    fleet_end(&f);
}

static void *wait_for_the_end(void *data) {
    micro_event event;
    CHECK(micro_queue_wait(data, &event, sizeof event, 1, MICRO_NO_TIMEOUT) == 1);
    EQUAL(event.kind, MICRO_EVENT_CLOSED);
    return NULL;
}

TEST(a_thread_that_waits_is_woken_by_the_end) {
    fleet f = fleet_new();
    pthread_t waiting;
    EQUAL(pthread_create(&waiting, NULL, wait_for_the_end, f.queue), 0);
    micro_runtime_free(f.runtime);
    pthread_join(waiting, NULL);
    fleet_end_beside(&f);
}

TEST(a_grace_without_end_is_possible) {
    fleet f = fleet_new();
    EQUAL(micro_runtime_shutdown(f.runtime, MICRO_NO_TIMEOUT), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_CLOSED, MICRO_OK);
    fleet_end(&f);
}
