/* A program of a user who installed libmicro: makes everything, calls a service in this process, and ends cleanly. */
#include <micro.h>
#include <stdio.h>
#include <string.h>

#define CHECK(what)                                                                                                        \
    do {                                                                                                                   \
        if (!(what)) {                                                                                                     \
            fprintf(stderr, "line %d: %s\n", __LINE__, #what);                                                             \
            return 1;                                                                                                      \
        }                                                                                                                  \
    } while (0)

static micro_slice text(const char *text)
{
    micro_slice slice = { (const uint8_t *)text, strlen(text) };
    return slice;
}

/* The next event of a kind. */
static int next(micro_queue *queue, uint16_t kind, micro_event *event)
{
    while (micro_queue_wait(queue, event, sizeof *event, 1, 10000000000u) == 1) {
        if (event->kind == kind)
            return 1;
        micro_event_release(event);
    }
    return 0;
}

int main(void)
{
    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    micro_server *server = NULL;
    micro_client *client = NULL;
    micro_event event;
    uint32_t method = 7;

    CHECK(micro_abi_check(MICRO_ABI_MAJOR << 16 | MICRO_ABI_MINOR, sizeof(micro_event), sizeof(micro_request)) == MICRO_OK);
    CHECK(micro_runtime_new(NULL, &runtime, NULL) == MICRO_OK);
    CHECK(micro_queue_new(runtime, 0, &queue, NULL) == MICRO_OK);

    micro_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.json = text("{\"registry\": \"memory://\", \"address\": \"127.0.0.1:0\"}");
    CHECK(micro_server_new(runtime, text("greeter"), &options, &server, NULL) == MICRO_OK);
    CHECK(micro_server_method(server, text("Greeter.Hello"), MICRO_UNARY, text(""), &method, NULL) == MICRO_OK);
    CHECK(method == 0);
    CHECK(micro_server_start(server, queue, 1, NULL) == MICRO_OK);
    CHECK(next(queue, MICRO_EVENT_OPENED, &event));
    micro_event_release(&event);
    CHECK(micro_server_client(server, &client, NULL) == MICRO_OK);

    micro_request request;
    memset(&request, 0, sizeof request);
    request.size = sizeof request;
    request.service = text("greeter");
    request.method = text("Greeter.Hello");
    request.payload = micro_bytes_copy((const uint8_t *)"John", 4);
    CHECK(micro_client_call(client, queue, &request, 2, NULL, NULL) == MICRO_OK);
    CHECK(next(queue, MICRO_EVENT_CALL, &event));
    CHECK(micro_reply(runtime, event.id, MICRO_OK, event.payload, text("")) == MICRO_OK);
    event.payload.own = NULL;
    micro_event_release(&event);
    CHECK(next(queue, MICRO_EVENT_REPLY, &event));
    CHECK(event.token == 2 && event.status == MICRO_OK);
    CHECK(event.payload.len == 4 && memcmp(event.payload.ptr, "John", 4) == 0);
    micro_event_release(&event);

    /* A panic unwinds through whatever the library was linked into. */
    CHECK(micro_debug_panic(runtime, NULL, 0) == MICRO_PANIC);

    micro_client_free(client);
    micro_server_free(server);
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    CHECK(micro_debug_live(MICRO_LIVE_ALL) == 0);
    puts("ok");
    return 0;
}
