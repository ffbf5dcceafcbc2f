/*
 * The adapter of C: `adapter server` or `adapter client`, told on standard input what to do.
 *
 * Requests are read here and done in server.c or client.c; a thread of its own drains the queue and hands every event to the
 * same file. Calls that come in are handled in turn.c, each on a thread of its own.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "house.h"

house_rooms house;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

void house_lock(void) {
    pthread_mutex_lock(&lock);
}

void house_unlock(void) {
    pthread_mutex_unlock(&lock);
}

bool house_wait(uint64_t until) {
    if (until == MICRO_NO_TIMEOUT) {
        pthread_cond_wait(&changed, &lock);
        return true;
    }
    struct timespec at = { (time_t)(until / 1000000000), (long)(until % 1000000000) };
    return pthread_cond_timedwait(&changed, &lock, &at) != ETIMEDOUT;
}

void house_changed(void) {
    pthread_cond_broadcast(&changed);
}

uint64_t house_now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

void house_thread(void *(*work)(void *of), void *of) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, of) != 0) {
        fputs("no thread\n", stderr);
        abort();
    }
    pthread_detach(thread);
}

static void *drain(void *of) {
    const role *part = of;
    micro_event events[64];
    for (;;) {
        size_t count = micro_queue_wait(house.queue, events, sizeof *events, 64, MICRO_NO_TIMEOUT);
        for (size_t n = 0; n < count; n++) {
            part->event(events + n);
            micro_event_release(events + n);
        }
    }
    return NULL;
}

static int refuse(const char *what, micro_error *error) {
    micro_slice why = micro_error_message(error);
    fprintf(stderr, "%s: %.*s\n", what, (int)why.len, (const char *)why.ptr);
    return 1;
}

int main(int argc, char **argv) {
    const role *part = argc == 2 && strcmp(argv[1], "server") == 0   ? &server_role
                       : argc == 2 && strcmp(argv[1], "client") == 0 ? &client_role
                                                                     : NULL;
    if (!part) {
        fprintf(stderr, "usage: %s server|client\n", argv[0]);
        return 2;
    }
    if (micro_abi_check(MICRO_ABI_MAJOR << 16 | MICRO_ABI_MINOR, sizeof(micro_event), sizeof(micro_request)) != MICRO_OK) {
        return refuse("the library is another one than the header", NULL);
    }
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &clock);
    micro_error *error = NULL;
    if (micro_runtime_new(NULL, &house.runtime, &error) != MICRO_OK) {
        return refuse("no runtime", error);
    }
    if (micro_queue_new(house.runtime, 0, &house.queue, &error) != MICRO_OK) {
        return refuse("no queue", error);
    }
    house_thread(drain, (void *)part);
    text ready = answer("ready");
    with(&ready, "language", slice_of("c"));
    tell(&ready);

    char *words = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&words, &room, stdin)) >= 0) {
        while (len > 0 && (words[len - 1] == '\n' || words[len - 1] == '\r')) {
            len--;
        }
        line request;
        if (!line_read(&request, words, (size_t)len)) {
            fprintf(stderr, "cannot read `%.*s`\n", (int)len, words);
        } else if (slice_is(request.verb, "exit")) {
            break;
        } else if (slice_is(request.verb, "ping")) {
            tell_ok(line_number(&request, "id", 0));
        } else {
            part->request(&request);
        }
        line_free(&request);
    }
    /* Without cleaning up: whatever is under way still runs on threads of its own. */
    _Exit(0);
}
