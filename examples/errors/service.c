/* Refuses, and takes its time: what callers see of it is in the client next door. Its loop is its own. */
#define _GNU_SOURCE /* ppoll */
#include <errno.h>
#include <micro.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { BALANCE, AUDIT };

static volatile sig_atomic_t asked_to_stop;

static void stop(int signal) {
    (void)signal;
    asked_to_stop = 1;
}

static micro_slice text(const char *string) {
    return (micro_slice){ (const uint8_t *)string, strlen(string) };
}

/* The owner is a JSON string. */
static void balance(micro_runtime *runtime, const micro_event *call) {
    int length = call->payload.len > 2 ? (int)call->payload.len - 2 : 0;
    const char *owner = (const char *)call->payload.ptr + 1;
    if (length == 3 && memcmp(owner, "ada", 3) == 0) {
        micro_reply(runtime, call->id, MICRO_OK, (micro_bytes){ (const uint8_t *)"1815", 4, NULL }, text(""));
        return;
    }
    char why[300] = "owner is empty";
    if (length > 0) {
        snprintf(why, sizeof why, "%.*s has no account", length < 200 ? length : 200, owner);
    }
    micro_error *error = micro_error_new(length > 0 ? MICRO_NOT_FOUND : MICRO_INVALID_ARGUMENT, text("accounts"), text(why));
    micro_reply_error(runtime, call->id, error, text(""));
    micro_error_free(error);
}

static void handle(micro_runtime *runtime, const micro_event *event) {
    if (event->kind == MICRO_EVENT_CALL && event->method == BALANCE) {
        balance(runtime, event);
    } else if (event->kind == MICRO_EVENT_CALL) {
        /* The deadline travels with the call; a handler can see how much of it is left. This one never answers. */
        fprintf(stderr, "the caller waits another %.1f ms\n", (double)event->timeout_ns / 1e6);
    } else if (event->kind == MICRO_EVENT_CALL_CANCELLED) {
        fputs("the caller has stopped waiting\n", stderr);
    } else if (event->kind == MICRO_EVENT_END && event->status != MICRO_OK) {
        micro_slice why = micro_error_message(event->error);
        fprintf(stderr, "accounts: %.*s\n", (int)why.len, (const char *)why.ptr);
    }
}

int main(void) {
    /* Signals come while the loop waits, and at no other time. */
    sigset_t blocked, open;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &open);
    struct sigaction action = { .sa_handler = stop };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    micro_server *server = NULL;
    if (micro_runtime_new(NULL, &runtime, NULL) || micro_queue_new(runtime, 0, &queue, NULL) ||
        micro_server_new(runtime, text("accounts"), NULL, &server, NULL) ||
        micro_server_method(server, text("Accounts.Balance"), MICRO_UNARY, text(""), NULL, NULL) ||
        micro_server_method(server, text("Accounts.Audit"), MICRO_UNARY, text(""), NULL, NULL) ||
        micro_server_start(server, queue, 1, NULL)) {
        fputs("accounts: cannot start\n", stderr);
        return 1;
    }

    bool closed = false;
    struct pollfd ready = { .fd = micro_queue_fd(queue), .events = POLLIN };
    while (!closed) {
        if (ppoll(&ready, 1, NULL, &open) < 0 && errno == EINTR && asked_to_stop) {
            micro_runtime_shutdown(runtime, UINT64_C(1000000000));
        }
        /* Draining is what makes the descriptor unreadable. */
        micro_event events[32];
        size_t taken = micro_queue_drain(queue, events, sizeof *events, 32);
        for (size_t n = 0; n < taken; n++) {
            handle(runtime, &events[n]);
            closed = closed || events[n].kind == MICRO_EVENT_CLOSED;
            if (events[n].kind == MICRO_EVENT_END) {
                micro_runtime_shutdown(runtime, 0);
            }
            micro_event_release(&events[n]);
        }
    }
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    micro_server_free(server);
    return 0;
}
