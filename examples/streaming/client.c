/* Reads a stream, sends a stream, and holds a conversation. Messages are JSON numbers. */
#include <inttypes.h>
#include <micro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static micro_runtime *runtime;
static micro_queue *queue;
static micro_client *client;

static micro_slice text(const char *string) {
    return (micro_slice){ (const uint8_t *)string, strlen(string) };
}

static void succeed(micro_status status, const micro_error *error) {
    if (status != MICRO_OK) {
        micro_slice name = micro_status_name(status), why = micro_error_message(error);
        fprintf(stderr, "%.*s %.*s\n", (int)name.len, (const char *)name.ptr, (int)why.len, (const char *)why.ptr);
        exit(1);
    }
}

static micro_id open_stream(const char *method, uint32_t shape, const char *payload) {
    micro_request request = { .size = sizeof request,
                              .flags = MICRO_CODEC_JSON,
                              .service = text("numbers"),
                              .method = text(method),
                              .payload = { (const uint8_t *)payload, strlen(payload), NULL } };
    micro_id stream = 0;
    micro_error *error = NULL;
    succeed(micro_client_open(client, queue, &request, shape, 1, &stream, &error), error);
    return stream;
}

static void send_number(micro_id stream, uint64_t number, uint32_t flags) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    /* A handful of messages finds room; MICRO_FULL would ask for MICRO_EVENT_WRITABLE first. */
    succeed(micro_stream_send(runtime, stream, (micro_bytes){ (uint8_t *)digits, length, NULL }, flags), NULL);
}

/* The next message of a stream; false after the last. */
static bool receive(micro_id stream, uint64_t *number) {
    micro_stream_grant(runtime, stream, 1);
    for (;;) {
        micro_event event;
        if (micro_queue_wait(queue, &event, sizeof event, 1, MICRO_NO_TIMEOUT) == 0) {
            return false;
        }
        bool message = event.kind == MICRO_EVENT_MESSAGE, end = event.kind == MICRO_EVENT_END;
        if (message) {
            char digits[24] = "";
            memcpy(digits, event.payload.ptr, event.payload.len < 23 ? event.payload.len : 23);
            *number = strtoull(digits, NULL, 10);
        }
        succeed(event.status, event.error);
        micro_event_release(&event);
        if (message || end) {
            return message;
        }
    }
}

int main(void) {
    succeed(micro_runtime_new(NULL, &runtime, NULL), NULL);
    succeed(micro_queue_new(runtime, 0, &queue, NULL), NULL);
    succeed(micro_client_new(runtime, NULL, &client, NULL), NULL);
    uint64_t number;

    micro_id counted = open_stream("Numbers.Count", MICRO_SERVER_STREAM, "3");
    while (receive(counted, &number)) {
        printf("counted %" PRIu64 "\n", number);
    }

    micro_id numbers = open_stream("Numbers.Sum", MICRO_CLIENT_STREAM, "");
    send_number(numbers, 1, 0);
    send_number(numbers, 2, 0);
    send_number(numbers, 3, MICRO_SEND_LAST);
    while (receive(numbers, &number)) {
        printf("the sum is %" PRIu64 "\n", number);
    }

    /* Both directions are open at once: each request is sent after the reply to the last one. */
    micro_id doubled = open_stream("Numbers.Double", MICRO_BIDI_STREAM, "");
    uint64_t twice = 1;
    while (twice < 10) {
        number = twice;
        send_number(doubled, number, 0);
        if (!receive(doubled, &twice)) {
            break;
        }
        printf("twice %" PRIu64 " is %" PRIu64 "\n", number, twice);
    }
    micro_stream_close(runtime, doubled);
    receive(doubled, &number);

    micro_client_free(client);
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    return 0;
}
