/* The three ways to be told, and what wake-ups promise. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fleet.h"

enum { CALLS = 300 };

/* Answers calls and counts replies. */
static size_t handle(micro_runtime *runtime, micro_event *event) {
    if (event->kind == MICRO_EVENT_CALL) {
        EQUAL(micro_reply(runtime, event->id, MICRO_OK, event->payload, S("")), MICRO_OK);
        event->payload = nothing();
    }
    if (event->kind == MICRO_EVENT_REPLY) {
        SAYS(micro_error_message(event->error), "");
    }
    return event->kind == MICRO_EVENT_REPLY;
}

TEST(a_loop_of_its_own_is_woken_by_a_descriptor) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    int fd = micro_queue_fd(f.queue), loop = epoll_create1(EPOLL_CLOEXEC);
    CHECK(fd >= 0);
    EQUAL(micro_queue_fd(f.queue), fd);
    struct epoll_event interest = { .events = EPOLLIN };
    EQUAL(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &interest), 0);
    for (uint64_t token = 0; token < CALLS; token++) {
        fleet_call(&f, client, "Ada", token);
    }
    size_t replies = 0, wakes = 0;
    while (replies < CALLS) {
        struct epoll_event ready;
        int got = epoll_wait(loop, &ready, 1, (int)(PATIENCE / MILLISECOND));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        EQUAL(got, 1);
        wakes++;
        micro_event events[7];
        size_t taken = micro_queue_drain(f.queue, events, sizeof *events, 7);
        CHECK(taken > 0);
        for (size_t n = 0; n < taken; n++) {
            replies += handle(f.runtime, &events[n]);
            micro_event_release(&events[n]);
        }
    }
    CHECK(wakes <= 2 * CALLS);
    struct pollfd empty = { fd, POLLIN, 0 };
    EQUAL(poll(&empty, 1, 0), 0);
    EQUAL(micro_runtime_shutdown(f.runtime, 0), MICRO_OK);
    EQUAL(poll(&empty, 1, (int)(PATIENCE / MILLISECOND)), 1);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_CANCELLED);
    fleet_ends(&f, MICRO_EVENT_CLOSED, MICRO_OK);
    EQUAL(poll(&empty, 1, 0), 0);
    close(loop);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_descriptor_asked_for_late_is_readable_at_once) {
    fleet f = fleet_new();
    EQUAL(micro_debug_panic(f.runtime, f.queue, 1), MICRO_OK);
    fleet_wait_for_something(&f);
    struct pollfd waiting = { micro_queue_fd(f.queue), POLLIN, 0 };
    EQUAL(poll(&waiting, 1, 0), 1);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_PANIC);
    EQUAL(poll(&waiting, 1, 0), 0);
    fleet_end(&f);
}

TEST(waiting_ends_with_an_event_or_the_time) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_event events[16];
    uint64_t begun = now();
    EQUAL(micro_queue_wait(f.queue, events, sizeof *events, 16, 20 * MILLISECOND), 0);
    CHECK(now() - begun >= 20 * MILLISECOND);
    EQUAL(micro_queue_wait(f.queue, events, sizeof *events, 16, 0), 0);
    EQUAL(micro_queue_drain(f.queue, events, sizeof *events, 16), 0);
    EQUAL(micro_queue_length(f.queue), 0);
    EQUAL(micro_queue_age(f.queue), 0);
    for (uint64_t token = 0; token < CALLS; token++) {
        fleet_call(&f, client, "Ada", token);
    }
    for (size_t replies = 0; replies < CALLS;) {
        size_t taken = micro_queue_wait(f.queue, events, sizeof *events, 16, MICRO_NO_TIMEOUT);
        CHECK(taken > 0 && taken <= 16);
        for (size_t n = 0; n < taken; n++) {
            replies += handle(f.runtime, &events[n]);
            micro_event_release(&events[n]);
        }
    }
    micro_client_free(client);
    fleet_end(&f);
}

TEST(events_go_into_a_larger_struct_of_a_later_version) {
    struct later { micro_event event; uint64_t unknown; } events[2] = { { .unknown = 7 }, { .unknown = 8 } };
    fleet f = fleet_new();
    EQUAL(micro_debug_panic(f.runtime, f.queue, 1), MICRO_OK);
    EQUAL(micro_queue_wait(f.queue, events, sizeof *events, 2, PATIENCE), 1);
    EQUAL(events[0].event.token, 1);
    EQUAL(events[0].unknown, 7);
    micro_event_release(&events[0].event);
    fleet_end(&f);
}

typedef struct {
    fleet *f;
    micro_client *client;
    atomic_int running, most, replies, ended, dropped;
    /* Of nested calls: their tokens, and which of them have ended. */
    atomic_int begun;
    atomic_int over[1024];
    pthread_mutex_t lock;
    pthread_cond_t told;
} dispatched;

static void on_event(void *ctx, micro_event *event) {
    dispatched *d = ctx;
    int running = atomic_fetch_add(&d->running, 1) + 1;
    for (int most = atomic_load(&d->most); running > most && !atomic_compare_exchange_weak(&d->most, &most, running);) {
    }
    EQUAL(atomic_load(&d->dropped), 0);
    atomic_fetch_add(&d->replies, (int)handle(d->f->runtime, event));
    atomic_fetch_add(&d->ended, event->kind == MICRO_EVENT_CLOSED);
    atomic_fetch_sub(&d->running, 1);
    pthread_mutex_lock(&d->lock);
    pthread_cond_broadcast(&d->told);
    pthread_mutex_unlock(&d->lock);
}

static void on_drop(void *ctx) {
    dispatched *d = ctx;
    EQUAL(atomic_load(&d->running), 0);
    atomic_fetch_add(&d->dropped, 1);
}

static void wait_for(dispatched *d, atomic_int *what, int wanted) {
    pthread_mutex_lock(&d->lock);
    while (atomic_load(what) < wanted) {
        pthread_cond_wait(&d->told, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
}

static void run_on(uint32_t threads) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    dispatched d = { .f = &f, .client = fleet_client(&f, ""), .lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER };
    EQUAL(micro_queue_run(f.queue, threads, on_event, &d, on_drop, NULL), MICRO_OK);
    for (uint64_t token = 0; token < CALLS; token++) {
        fleet_call(&f, d.client, "Ada", token);
    }
    wait_for(&d, &d.replies, CALLS);
    if (threads == 1) {
        EQUAL(d.most, 1);
    }
    dispatched refused = { .f = &f };
    micro_error *error = NULL;
    EQUAL(micro_queue_run(f.queue, 1, on_event, &refused, on_drop, &error), MICRO_ARG);
    HOLDS(micro_error_message(error), "already");
    micro_error_free(error);
    EQUAL(refused.dropped, 1);
    micro_client_free(d.client);
    micro_runtime_free(f.runtime);
    wait_for(&d, &d.ended, 1);
    fleet_end_beside(&f);
    EQUAL(d.ended, 1);
    EQUAL(d.dropped, 1);
}

TEST(one_thread_runs_a_queue_in_order) { run_on(1); }

TEST(four_threads_run_a_queue) { run_on(4); }

/* A handler that waits for the reply to a call of its own, which another thread is told. */
static void on_nested(void *ctx, micro_event *event) {
    dispatched *d = ctx;
    if (event->kind == MICRO_EVENT_CALL && event->payload.len > 5) {
        micro_request request = hello("inner");
        request.parent = event->id;
        int token = atomic_fetch_add(&d->begun, 1);
        EQUAL(micro_client_call(d->client, d->f->queue, &request, (uint64_t)token, NULL, NULL), MICRO_OK);
        wait_for(d, &d->over[token], 1);
    }
    if (event->kind == MICRO_EVENT_REPLY && event->token < 1024) {
        atomic_fetch_add(&d->over[event->token], 1);
    }
    on_event(ctx, event);
}

TEST(a_function_that_blocks_holds_up_no_other_thread) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    dispatched d = { .f = &f, .client = fleet_client(&f, ""), .lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER };
    EQUAL(micro_queue_run(f.queue, 4, on_nested, &d, on_drop, NULL), MICRO_OK);
    for (int round = 1; round <= 100; round++) {
        for (int n = 0; n < 3; n++) {
            fleet_call(&f, d.client, "outer call", 9999);
        }
        wait_for(&d, &d.replies, round * 6);
    }
    micro_client_free(d.client);
    micro_runtime_free(f.runtime);
    fleet_end_beside(&f);
    EQUAL(d.dropped, 1);
}

TEST(a_queue_that_is_freed_stops_its_threads) {
    fleet f = fleet_new(), beside = fleet_beside(&f);
    dispatched d = { .f = &beside, .lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER };
    EQUAL(micro_queue_run(beside.queue, 4, on_event, &d, on_drop, NULL), MICRO_OK);
    fleet_end_beside(&beside);
    EQUAL(d.dropped, 1);
    EQUAL(d.ended, 0);
    fleet_end(&f);
}

typedef struct {
    atomic_int woken, dropped;
} alarm_bell;

static void wake(void *ctx) {
    alarm_bell *bell = ctx;
    EQUAL(atomic_load(&bell->dropped), 0);
    atomic_fetch_add(&bell->woken, 1);
}

static void drop_bell(void *ctx) {
    atomic_fetch_add(&((alarm_bell *)ctx)->dropped, 1);
}

/* It has been woken so many times, at the latest in a moment. */
static void woken(alarm_bell *bell, int times) {
    for (uint64_t begun = now(); atomic_load(&bell->woken) < times; sched_yield()) {
        CHECK(now() - begun < PATIENCE);
    }
    EQUAL(bell->woken, times);
}

TEST(a_wake_up_comes_with_the_first_event_and_after_a_drain_that_leaves_some) {
    fleet f = fleet_new();
    alarm_bell first = { 0 }, second = { 0 }, late = { 0 };
    EQUAL(micro_queue_set_wake(f.queue, wake, &first, drop_bell), MICRO_OK);
    for (uint64_t token = 0; token < 3; token++) {
        EQUAL(micro_debug_panic(f.runtime, f.queue, token), MICRO_OK);
    }
    for (uint64_t begun = now(); micro_queue_length(f.queue) < 3; sched_yield()) {
        CHECK(now() - begun < PATIENCE);
    }
    woken(&first, 1);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_PANIC);
    EQUAL(first.woken, 2);
    /* Another takes its place, and hears of what is there. */
    EQUAL(micro_queue_set_wake(f.queue, wake, &second, drop_bell), MICRO_OK);
    EQUAL(first.dropped, 1);
    EQUAL(second.woken, 1);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_PANIC);
    EQUAL(second.woken, 2);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_PANIC);
    EQUAL(second.woken, 2);
    EQUAL(first.woken, 2);
    micro_runtime_free(f.runtime);
    EQUAL(second.woken, 3);
    fleet_ends(&f, MICRO_EVENT_CLOSED, MICRO_OK);
    EQUAL(second.woken, 3);
    EQUAL(second.dropped, 1);
    EQUAL(micro_queue_set_wake(f.queue, wake, &late, drop_bell), MICRO_CLOSED);
    EQUAL(late.dropped, 1);
    fleet_end_beside(&f);
    EQUAL(second.dropped, 1);
}

TEST(a_loop_that_drains_once_for_each_wake_up_sees_the_end) {
    fleet f = fleet_new();
    alarm_bell bell = { 0 };
    EQUAL(micro_queue_set_wake(f.queue, wake, &bell, drop_bell), MICRO_OK);
    for (uint64_t token = 0; token < 9; token++) {
        EQUAL(micro_debug_panic(f.runtime, f.queue, token), MICRO_OK);
    }
    micro_runtime_free(f.runtime);
    bool closed = false;
    for (int handled = 0; !closed; handled++) {
        /* Nothing is under way any more, so a loop that is not woken now never is. */
        CHECK(handled < atomic_load(&bell.woken));
        micro_event events[2];
        size_t taken = micro_queue_drain(f.queue, events, sizeof *events, 2);
        for (size_t n = 0; n < taken; n++) {
            closed = events[n].kind == MICRO_EVENT_CLOSED;
            micro_event_release(&events[n]);
        }
    }
    EQUAL(bell.dropped, 1);
    fleet_end_beside(&f);
}

TEST(a_wake_up_is_given_back_with_its_queue) {
    fleet f = fleet_new(), beside = fleet_beside(&f);
    alarm_bell bell = { 0 };
    EQUAL(micro_queue_set_wake(beside.queue, wake, &bell, drop_bell), MICRO_OK);
    fleet_end_beside(&beside);
    EQUAL(bell.dropped, 1);
    EQUAL(bell.woken, 0);
    EQUAL(micro_queue_set_wake(f.queue, NULL, NULL, NULL), MICRO_OK);
    EQUAL(micro_debug_panic(f.runtime, f.queue, 1), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_PANIC);
    fleet_end(&f);
}
