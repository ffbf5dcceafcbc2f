/* Calls cancelled before, during and after: each ends once. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fleet.h"

TEST(a_call_cancelled_before_it_has_begun_ends_once) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    for (uint64_t token = 1; token <= 200; token++) {
        micro_id id = fleet_call(&f, client, "Ada", token);
        /* The call may be anywhere by now, but it has not been answered. */
        EQUAL(micro_cancel(f.runtime, id), MICRO_OK);
        micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
        EQUAL(reply.token, token);
        EQUAL(reply.id, id);
        EQUAL(reply.status, MICRO_CANCELLED);
        micro_event_release(&reply);
        EQUAL(micro_cancel(f.runtime, id), MICRO_STALE);
    }
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_call_cancelled_while_it_is_handled_ends_on_both_sides) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_id id = fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_cancel(f.runtime, id), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    micro_event gone = fleet_next(&f, MICRO_EVENT_CALL_CANCELLED);
    EQUAL(gone.id, call.id);
    EQUAL(gone.token, 100);
    EQUAL(gone.status, MICRO_CANCELLED);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("late"), S("")), MICRO_STALE);
    CHECK(fleet_quiet(&f));
    micro_event_release(&gone);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_call_cancelled_after_its_end_is_stale_and_stays_ended) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_id id = fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
    fleet_wait_for_something(&f);
    /* Its end waits in the queue: that is the end, drained or not. */
    EQUAL(micro_cancel(f.runtime, id), MICRO_STALE);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    EQUAL(micro_cancel(f.runtime, id), MICRO_STALE);
    CHECK(fleet_quiet(&f));
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_call_that_came_in_can_be_given_up) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"retries\": 0");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_cancel(f.runtime, call.id), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    EQUAL(micro_cancel(f.runtime, call.id), MICRO_STALE);
    CHECK(fleet_quiet(&f));
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(what_is_part_of_a_call_ends_with_it) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_id outer = fleet_call(&f, client, "outer", 1);
    micro_event first = fleet_next(&f, MICRO_EVENT_CALL);
    micro_request request = hello("inner");
    request.parent = first.id;
    fleet_submit(&f, client, &request, 2);
    micro_event second = fleet_next(&f, MICRO_EVENT_CALL);
    CHECK(second.timeout_ns <= first.timeout_ns);
    EQUAL(micro_cancel(f.runtime, outer), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_CALL_CANCELLED, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_CALL_CANCELLED, MICRO_CANCELLED);
    EQUAL(micro_client_call(client, f.queue, &request, 3, NULL, NULL), MICRO_CANCELLED);
    micro_event_release(&first);
    micro_event_release(&second);
    micro_client_free(client);
    fleet_end(&f);
}

enum { RACERS = 2, RACES = 3000 };

typedef struct {
    micro_runtime *runtime;
    /* Ids as they are made; 0 is not yet. */
    _Atomic micro_id *ids;
} race;

static void *cancel_each(void *data) {
    race *r = data;
    for (size_t n = 0; n < RACES; n++) {
        micro_id id;
        while ((id = atomic_load(&r->ids[n])) == 0) {
            sched_yield();
        }
        micro_status status = micro_cancel(r->runtime, id);
        CHECK(status == MICRO_OK || status == MICRO_STALE);
    }
    return NULL;
}

TEST(calls_cancelled_at_any_moment_by_many_threads_end_once_each) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"max_in_flight\": 100");
    race r = { f.runtime, calloc(RACES, sizeof(micro_id)) };
    pthread_t racers[RACERS];
    for (int n = 0; n < RACERS; n++) {
        EQUAL(pthread_create(&racers[n], NULL, cancel_each, &r), 0);
    }
    unsigned char ended[RACES] = { 0 };
    size_t begun = 0, over = 0, well = 0;
    while (over < RACES) {
        micro_request request = hello("Ada");
        request.flags = MICRO_REQUEST_NOT_IDEMPOTENT;
        micro_id id = 0;
        if (begun < RACES && micro_client_call(client, f.queue, &request, begun, &id, NULL) == MICRO_OK) {
            atomic_store(&r.ids[begun++], id);
        }
        micro_event events[32];
        size_t got = micro_queue_drain(f.queue, events, sizeof *events, 32);
        for (size_t n = 0; n < got; n++) {
            if (events[n].kind == MICRO_EVENT_CALL) {
                micro_status status = micro_reply(f.runtime, events[n].id, MICRO_OK, lent("Hello"), S(""));
                CHECK(status == MICRO_OK || status == MICRO_STALE);
            } else if (events[n].kind == MICRO_EVENT_REPLY) {
                CHECK(events[n].status == MICRO_OK || events[n].status == MICRO_CANCELLED);
                well += events[n].status == MICRO_OK;
                EQUAL(ended[events[n].token]++, 0);
                over++;
            } else {
                EQUAL(events[n].kind, MICRO_EVENT_CALL_CANCELLED);
            }
            micro_event_release(&events[n]);
        }
    }
    for (int n = 0; n < RACERS; n++) {
        pthread_join(racers[n], NULL);
    }
    free(r.ids);
    CHECK(well < RACES);
    EQUAL(micro_debug_live(MICRO_LIVE_OPERATION), 1); /* the service */
    micro_client_free(client);
    fleet_end(&f);
}
