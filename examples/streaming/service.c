/* The three kinds of stream: many replies, many requests, and both at once. Messages are JSON numbers. */
#include <inttypes.h>
#include <micro.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT, SUM, DOUBLE };

/* A stream that is open. One thread is told all events, so nothing here is locked. */
typedef struct stream {
    micro_id id;
    uint32_t method;
    /* COUNT: the next number and the last. SUM: so far. DOUBLE: one that is still to be sent. */
    uint64_t next, last, sum;
    bool waits, ended;
    struct stream *others;
} stream;

static stream *streams;

static micro_slice text(const char *string) {
    return (micro_slice){ (const uint8_t *)string, strlen(string) };
}

static uint64_t number_in(micro_bytes json) {
    char digits[24] = "";
    memcpy(digits, json.ptr, json.len < sizeof digits - 1 ? json.len : sizeof digits - 1);
    return strtoull(digits, NULL, 10);
}

static micro_status send_number(micro_runtime *runtime, micro_id id, uint64_t number) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    return micro_stream_send(runtime, id, (micro_bytes){ (uint8_t *)digits, length, NULL }, 0);
}

static stream *find(micro_id id) {
    stream *each = streams;
    while (each && each->id != id) {
        each = each->others;
    }
    return each;
}

static void forget(stream *gone) {
    stream **link = &streams;
    while (*link && *link != gone) {
        link = &(*link)->others;
    }
    if (*link) {
        *link = gone->others;
        free(gone);
    }
}

/* Ends a stream well; `last` is a message, or nothing. */
static void end(micro_runtime *runtime, stream *s, const char *last) {
    micro_reply(runtime, s->id, MICRO_OK, (micro_bytes){ (const uint8_t *)last, strlen(last), NULL }, text(""));
    forget(s);
}

/* Sends what can be sent. A caller that reads slowly makes the stream full: MICRO_EVENT_WRITABLE tells when to go on. */
static void go_on(micro_runtime *runtime, stream *s) {
    if (s->method == COUNT) {
        while (s->next <= s->last && send_number(runtime, s->id, s->next) == MICRO_OK) {
            s->next++;
        }
        s->ended = s->next > s->last;
    } else if (s->waits && send_number(runtime, s->id, s->next) == MICRO_OK) {
        s->waits = false;
        /* Only now is there room for another request. */
        micro_stream_grant(runtime, s->id, 1);
    }
    if (s->ended && !s->waits) {
        end(runtime, s, "");
    }
}

static void on_event(void *context, micro_event *event) {
    micro_runtime *runtime = context;
    stream *s = find(event->id);
    switch (event->kind) {
    case MICRO_EVENT_CALL:
        s = calloc(1, sizeof *s);
        if (!s) {
            micro_reply(runtime, event->id, MICRO_RESOURCE_EXHAUSTED, (micro_bytes){ 0 }, text(""));
            break;
        }
        *s = (stream){ .id = event->id, .method = event->method, .others = streams };
        streams = s;
        if (s->method == COUNT) {
            s->next = 1;
            s->last = number_in(event->payload);
            go_on(runtime, s);
        } else {
            micro_stream_grant(runtime, s->id, s->method == SUM ? 16 : 1);
        }
        break;
    case MICRO_EVENT_MESSAGE:
        if (s && s->method == SUM) {
            s->sum += number_in(event->payload);
            micro_stream_grant(runtime, s->id, 1);
        } else if (s) {
            s->next = 2 * number_in(event->payload);
            s->waits = true;
            go_on(runtime, s);
        }
        break;
    case MICRO_EVENT_END:
        if (s && s->method == SUM) {
            char digits[24];
            snprintf(digits, sizeof digits, "%" PRIu64, s->sum);
            end(runtime, s, digits);
        } else if (s) {
            s->ended = true;
            go_on(runtime, s);
        } else if (event->status != MICRO_OK) {
            /* The service's own end. */
            micro_slice why = micro_error_message(event->error);
            fprintf(stderr, "numbers: %.*s\n", (int)why.len, (const char *)why.ptr);
            kill(getpid(), SIGTERM);
        }
        break;
    case MICRO_EVENT_WRITABLE:
        if (s) {
            go_on(runtime, s);
        }
        break;
    case MICRO_EVENT_CALL_CANCELLED:
        forget(s);
        break;
    default:
        break;
    }
}

int main(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    micro_server *server = NULL;
    if (micro_runtime_new(NULL, &runtime, NULL) || micro_queue_new(runtime, 0, &queue, NULL) ||
        micro_server_new(runtime, text("numbers"), NULL, &server, NULL) ||
        micro_server_method(server, text("Numbers.Count"), MICRO_SERVER_STREAM, text(""), NULL, NULL) ||
        micro_server_method(server, text("Numbers.Sum"), MICRO_CLIENT_STREAM, text(""), NULL, NULL) ||
        micro_server_method(server, text("Numbers.Double"), MICRO_BIDI_STREAM, text(""), NULL, NULL) ||
        micro_queue_run(queue, 1, on_event, runtime, NULL, NULL) || micro_server_start(server, queue, 1, NULL)) {
        fputs("numbers: cannot start\n", stderr);
        return 1;
    }

    int signal;
    sigwait(&signals, &signal);
    micro_runtime_shutdown(runtime, UINT64_C(10000000000));
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    micro_server_free(server);
    while (streams) {
        forget(streams);
    }
    return 0;
}
