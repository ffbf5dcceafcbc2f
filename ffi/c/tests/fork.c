/* A process that forks with live clients and services on both sides: the child is told, never hangs, and can begin anew. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fleet.h"

enum { IN_FLIGHT = 8, LONGEST_CHILD = SLOW ? 240 : 20 };

typedef struct {
    fleet *f;
    micro_client *client;
    atomic_bool stop;
} traffic;

/* Keeps calls of the process to itself under way. */
static void *keep_calling(void *data) {
    traffic *t = data;
    fleet *f = t->f;
    size_t under_way = 0;
    while (!atomic_load(&t->stop) || under_way > 0) {
        for (; under_way < IN_FLIGHT && !atomic_load(&t->stop); under_way++) {
            fleet_call(f, t->client, "Ada", 1);
        }
        micro_event event = fleet_any(f);
        if (event.kind == MICRO_EVENT_CALL) {
            EQUAL(micro_reply(f->runtime, event.id, MICRO_OK, event.payload, S("")), MICRO_OK);
            event.payload = nothing();
        } else {
            EQUAL(event.kind, MICRO_EVENT_REPLY);
            EQUAL(event.status, MICRO_OK);
            under_way--;
        }
        micro_event_release(&event);
    }
    return NULL;
}

static void given_back(void *ctx) {
    ++*(int *)ctx;
}

static void never(void *ctx, micro_event *event) {
    (void)ctx;
    (void)event;
    test_fail(__FILE__, __LINE__, "no event of the parent is the child's");
}

/* Every function says so, and frees do nothing. */
static void is_refused(fleet *f, micro_client *client, micro_server *server, micro_error *error) {
    micro_event event;
    micro_queue *queue = NULL;
    micro_client *made = NULL;
    micro_server *served = NULL;
    micro_bytes out = nothing();
    micro_request request = hello("Ada");
    micro_error *err = NULL;
    int drops = 0;
    EQUAL(micro_queue_new(f->runtime, 0, &queue, &err), MICRO_FORKED);
    HOLDS(micro_error_message(err), "forked");
    micro_error_free(err);
    EQUAL(micro_client_new(f->runtime, NULL, &made, NULL), MICRO_FORKED);
    EQUAL(micro_server_new(f->runtime, S("x"), NULL, &served, NULL), MICRO_FORKED);
    CHECK(!queue && !made && !served);
    EQUAL(micro_client_call(client, f->queue, &request, 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_client_open(client, f->queue, &request, MICRO_SERVER_STREAM, 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_client_lookup(client, f->queue, S("x"), 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_client_health(client, f->queue, S("x"), 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_client_watch(client, f->queue, S("x"), 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_client_stats(client, &out, NULL), MICRO_FORKED);
    EQUAL(micro_server_method(server, S("X.Y"), MICRO_UNARY, S(""), NULL, NULL), MICRO_FORKED);
    EQUAL(micro_server_start(server, f->queue, 1, NULL), MICRO_FORKED);
    EQUAL(micro_server_stop(server), MICRO_FORKED);
    EQUAL(micro_server_health(server, S(""), true), MICRO_FORKED);
    EQUAL(micro_server_client(server, &made, NULL), MICRO_FORKED);
    EQUAL(micro_server_stats(server, &out, NULL), MICRO_FORKED);
    EQUAL(micro_cancel(f->runtime, 1), MICRO_FORKED);
    EQUAL(micro_reply(f->runtime, 1, MICRO_OK, nothing(), S("")), MICRO_FORKED);
    EQUAL(micro_reply_error(f->runtime, 1, error, S("")), MICRO_FORKED);
    EQUAL(micro_call_headers(f->runtime, 1, S("")), MICRO_FORKED);
    EQUAL(micro_call_describe(f->runtime, 1, &out), MICRO_FORKED);
    EQUAL(micro_stream_send(f->runtime, 1, nothing(), 0), MICRO_FORKED);
    EQUAL(micro_stream_close(f->runtime, 1), MICRO_FORKED);
    EQUAL(micro_stream_grant(f->runtime, 1, 1), MICRO_FORKED);
    EQUAL(micro_debug_panic(f->runtime, f->queue, 1), MICRO_FORKED);
    EQUAL(micro_runtime_shutdown(f->runtime, 0), MICRO_FORKED);
    EQUAL(micro_queue_fd(f->queue), -1);
    EQUAL(micro_queue_length(f->queue), 0);
    EQUAL(micro_queue_age(f->queue), 0);
    EQUAL(micro_queue_drain(f->queue, &event, sizeof event, 1), 0);
    EQUAL(micro_queue_wait(f->queue, &event, sizeof event, 1, MICRO_NO_TIMEOUT), 0);
    EQUAL(micro_queue_set_wake(f->queue, given_back, &drops, given_back), MICRO_FORKED);
    EQUAL(drops, 1);
    EQUAL(micro_queue_run(f->queue, 2, never, &drops, given_back, NULL), MICRO_FORKED);
    EQUAL(drops, 2);
    EQUAL(micro_queue_close(f->queue), MICRO_FORKED);
    CHECK(out.own == NULL && made == NULL);
    /* Twice, because they are still there. */
    for (int n = 0; n < 2; n++) {
        micro_client_free(client);
        micro_server_free(server);
        micro_queue_free(f->queue);
        micro_runtime_free(f->runtime);
    }
}

static void begins_anew(void) {
    uint64_t before = micro_debug_live(MICRO_LIVE_ALL);
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
    EQUAL(micro_debug_live(MICRO_LIVE_ALL), before);
}

TEST(a_thousand_forks_under_traffic) {
    const int rounds = SLOW ? 100 : 1000;
    fleet f = fleet_new();
    micro_server *server = fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_UNARY, NULL);
    micro_client *client = fleet_client(&f, "");
    micro_error *error = micro_error_new(MICRO_NOT_FOUND, S(""), S("no"));
    traffic t = { &f, client, false };
    pthread_t thread;
    EQUAL(pthread_create(&thread, NULL, keep_calling, &t), 0);
    uint64_t begun = now();
    for (int round = 0; round < rounds; round++) {
        fflush(stderr);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            /* One that hangs is killed, which the parent sees. */
            alarm(LONGEST_CHILD);
            is_refused(&f, client, server, error);
            /* The allocators of sanitizers need not outlive a fork of many threads. */
            if (!SLOW && round % 4 == 0) {
                begins_anew();
                is_refused(&f, client, server, error);
            }
            _exit(0);
        }
        int status = 0;
        EQUAL(waitpid(child, &status, 0), child);
        if (status != 0) {
            fprintf(stderr, "round %d: the child ended with %s %d\n", round, WIFSIGNALED(status) ? "signal" : "code",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            test_fail(__FILE__, __LINE__, "the child failed");
        }
    }
    fprintf(stderr, "%d forks in %.1f s\n", rounds, (double)(now() - begun) / 1e9);
    atomic_store(&t.stop, true);
    pthread_join(thread, NULL);
    /* The parent's are as they were. */
    EQUAL(micro_server_stop(server), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_error_free(error);
    micro_client_free(client);
    micro_server_free(server);
    fleet_end(&f);
}
