/* Greets its callers, and says which process did. */
#define _GNU_SOURCE /* memmem */
#include <micro.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static micro_slice text(const char *string) {
    return (micro_slice){ (const uint8_t *)string, strlen(string) };
}

/* The value of the member "name": a JSON string, without its quotes. */
static micro_slice name_in(micro_bytes json) {
    const char *at = memmem(json.ptr, json.len, "\"name\"", 6), *end = (const char *)json.ptr + json.len;
    at = at ? memchr(at + 6, '"', end - at - 6) : NULL;
    const char *first = at ? at + 1 : end, *last = first;
    while (last < end && *last != '"') {
        last += *last == '\\' && last + 1 < end ? 2 : 1;
    }
    return (micro_slice){ (const uint8_t *)first, last - first };
}

/* Called on a thread of the library: it may take its time, and call anything. */
static void on_event(void *context, micro_event *event) {
    micro_runtime *runtime = context;
    if (event->kind == MICRO_EVENT_CALL) {
        micro_slice name = name_in(event->payload);
        char reply[300];
        int length = snprintf(reply, sizeof reply, "\"Hello, %.*s! I am process %d.\"", name.len < 200 ? (int)name.len : 200,
                              (const char *)name.ptr, (int)getpid());
        /* Lent: it is copied before this returns. */
        micro_reply(runtime, event->id, MICRO_OK, (micro_bytes){ (uint8_t *)reply, length, NULL }, text(""));
    }
    if (event->kind == MICRO_EVENT_END && event->status != MICRO_OK) {
        micro_slice why = micro_error_message(event->error);
        fprintf(stderr, "greeter: %.*s\n", (int)why.len, (const char *)why.ptr);
        kill(getpid(), SIGTERM);
    }
}

int main(void) {
    /* Before there are threads, so that none of them is interrupted. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    micro_server *server = NULL;
    if (micro_runtime_new(NULL, &runtime, NULL) || micro_queue_new(runtime, 0, &queue, NULL) ||
        micro_server_new(runtime, text("greeter"), NULL, &server, NULL) ||
        micro_server_method(server, text("Greeter.Hello"), MICRO_UNARY, text("{ \"idempotent\": true }"), NULL, NULL) ||
        micro_queue_run(queue, 1, on_event, runtime, NULL, NULL) || micro_server_start(server, queue, 1, NULL)) {
        fputs("greeter: cannot start\n", stderr);
        return 1;
    }

    int signal;
    sigwait(&signals, &signal);
    /* Says goodbye, finishes its calls within ten seconds, and ends the threads. */
    micro_runtime_shutdown(runtime, UINT64_C(10000000000));
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    micro_server_free(server);
    return 0;
}
