#include "fleet.h"

#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * SECOND + (uint64_t)at.tv_nsec;
}

static void start(fleet *f) {
    micro_options options = options_of("{ \"workers\": 2 }");
    EQUAL(micro_runtime_new(&options, &f->runtime, NULL), MICRO_OK);
    EQUAL(micro_queue_new(f->runtime, 0, &f->queue, NULL), MICRO_OK);
}

fleet fleet_new(void) {
    static atomic_int number;
    fleet f = { 0 };
    int mine = atomic_fetch_add(&number, 1);
    snprintf(f.meet, sizeof f.meet, "\"registry\": \"memory://c-%d-%d\", \"network\": \"memory://c-%d-%d\"", (int)getpid(), mine,
             (int)getpid(), mine);
    start(&f);
    return f;
}

fleet fleet_beside(const fleet *other) {
    fleet f = { 0 };
    memcpy(f.meet, other->meet, sizeof f.meet);
    f.runtime = other->runtime;
    EQUAL(micro_queue_new(f.runtime, 0, &f.queue, NULL), MICRO_OK);
    return f;
}

fleet fleet_apart(const fleet *other) {
    fleet f = { 0 };
    memcpy(f.meet, other->meet, sizeof f.meet);
    start(&f);
    return f;
}

static void options_with(const fleet *f, const char *more, char *json, size_t size) {
    snprintf(json, size, "{ %s%s%s }", f->meet, *more ? ", " : "", more);
}

micro_client *fleet_client(const fleet *f, const char *more) {
    char json[400];
    options_with(f, more, json, sizeof json);
    micro_options options = options_of(json);
    micro_client *client = NULL;
    micro_error *error = NULL;
    if (micro_client_new(f->runtime, &options, &client, &error) != MICRO_OK) {
        SAYS(micro_error_message(error), "");
    }
    CHECK(error == NULL);
    return client;
}

micro_server *fleet_serve(fleet *f, const char *service, const char *more, ...) {
    char json[400];
    options_with(f, more, json, sizeof json);
    micro_options options = options_of(json);
    micro_server *server = NULL;
    EQUAL(micro_server_new(f->runtime, S(service), &options, &server, NULL), MICRO_OK);
    va_list endpoints;
    va_start(endpoints, more);
    for (uint32_t wanted = 0;; wanted++) {
        const char *name = va_arg(endpoints, const char *);
        if (!name) {
            break;
        }
        uint32_t kind = va_arg(endpoints, uint32_t), method = 99;
        EQUAL(micro_server_method(server, S(name), kind, S(""), &method, NULL), MICRO_OK);
        EQUAL(method, wanted);
    }
    va_end(endpoints);
    EQUAL(micro_server_start(server, f->queue, 100, NULL), MICRO_OK);
    micro_event opened = fleet_next(f, MICRO_EVENT_OPENED);
    EQUAL(opened.token, 100);
    HOLDS(opened.payload, service);
    micro_event_release(&opened);
    return server;
}

void fleet_greeter(fleet *f) {
    micro_server_free(fleet_serve(f, "greeter", "", "Greeter.Hello", MICRO_UNARY, NULL));
}

micro_request hello(const char *payload) {
    return (micro_request){ .size = sizeof(micro_request),
                            .service = S("greeter"),
                            .method = S("Greeter.Hello"),
                            .payload = lent(payload) };
}

micro_id fleet_submit(const fleet *f, micro_client *client, const micro_request *request, uint64_t token) {
    micro_id id = 0;
    micro_error *error = NULL;
    micro_status status = micro_client_call(client, f->queue, request, token, &id, &error);
    if (status != MICRO_OK) {
        SAYS(micro_error_message(error), "");
    }
    CHECK(id != 0);
    return id;
}

micro_id fleet_call(const fleet *f, micro_client *client, const char *payload, uint64_t token) {
    micro_request request = hello(payload);
    return fleet_submit(f, client, &request, token);
}

static micro_event fresh(fleet *f) {
    micro_event event;
    if (micro_queue_wait(f->queue, &event, sizeof event, 1, PATIENCE) != 1) {
        fprintf(stderr, "no event in time; put aside:");
        for (size_t n = 0; n < f->held; n++) {
            fprintf(stderr, " kind %u status %d token %llu", f->aside[n].kind, f->aside[n].status,
                    (unsigned long long)f->aside[n].token);
        }
        fprintf(stderr, "\n");
        test_fail(__FILE__, __LINE__, "micro_queue_wait gave up");
    }
    return event;
}

static void put_aside(fleet *f, micro_event event) {
    if (f->held == f->room) {
        f->room = f->room ? 2 * f->room : 16;
        f->aside = realloc(f->aside, f->room * sizeof *f->aside);
        CHECK(f->aside != NULL);
    }
    f->aside[f->held++] = event;
}

static micro_event take_aside(fleet *f, size_t at) {
    micro_event event = f->aside[at];
    f->held--;
    memmove(f->aside + at, f->aside + at + 1, (f->held - at) * sizeof event);
    return event;
}

void fleet_ask(const fleet *f, micro_client *client, uint32_t operation, const char *args, uint64_t token) {
    micro_question question = question_of(operation, args);
    EQUAL(micro_ask(client, f->queue, &question, token, NULL, NULL), MICRO_OK);
}

micro_event fleet_any(fleet *f) {
    return f->held ? take_aside(f, 0) : fresh(f);
}

micro_event fleet_next(fleet *f, uint16_t kind) {
    for (size_t n = 0; n < f->held; n++) {
        if (f->aside[n].kind == kind) {
            return take_aside(f, n);
        }
    }
    for (;;) {
        micro_event event = fresh(f);
        if (event.kind == kind) {
            return event;
        }
        put_aside(f, event);
    }
}

void fleet_ends(fleet *f, uint16_t kind, micro_status status) {
    micro_event event = fleet_next(f, kind);
    EQUAL(event.status, status);
    EQUAL(event.error == NULL, status == MICRO_OK);
    micro_event_release(&event);
}

bool fleet_quiet(fleet *f) {
    micro_event event;
    size_t got = micro_queue_wait(f->queue, &event, sizeof event, 1, 50 * MILLISECOND);
    if (got) {
        put_aside(f, event);
    }
    return got == 0;
}

void fleet_wait_for_something(const fleet *f) {
    for (uint64_t begun = now(); micro_queue_length(f->queue) == 0;) {
        CHECK(now() - begun < PATIENCE);
        sched_yield();
    }
}

void fleet_end_beside(fleet *f) {
    for (size_t n = 0; n < f->held; n++) {
        micro_event_release(&f->aside[n]);
    }
    free(f->aside);
    micro_queue_free(f->queue);
    *f = (fleet){ 0 };
}

void fleet_end(fleet *f) {
    micro_runtime_free(f->runtime);
    fleet_end_beside(f);
}
