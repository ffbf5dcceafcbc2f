/* The service of the benchmark in C: answers what it was asked, in a loop of its own around the queue's descriptor. */
#include <poll.h>

#include "bench.h"

/* Says where it listens, as every server of the benchmark does. The record is the registry's, as JSON. */
static void announce(const micro_event *event)
{
    static const char key[] = "\"address\":\"";
    char record[4096];
    size_t length = event->payload.len < sizeof record - 1 ? event->payload.len : sizeof record - 1;
    memcpy(record, event->payload.ptr, length);
    record[length] = 0;
    char *address = strstr(record, key);
    if (address == NULL)
        exit(1);
    address += sizeof key - 1;
    printf("listening %.*s\n", (int)strcspn(address, "\""), address);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    micro_queue *queue = NULL;
    micro_error *error = NULL;
    micro_runtime *runtime = begin(argc, argv, &queue);
    micro_options options = {.size = sizeof options, .json =
                             text("{\"registry\":\"memory://bench\",\"address\":\"127.0.0.1:0\"}")};
    micro_server *server = NULL;
    expect(micro_server_new(runtime, text("bench"), &options, &server, &error), error, "service");
    expect(micro_server_method(server, text("Echo.Call"), MICRO_UNARY, text(""), NULL, &error), error, "endpoint");
    expect(micro_server_start(server, queue, 0, &error), error, "start");
    static micro_event events[BATCH];
    struct pollfd polled[] = {{micro_queue_fd(queue), POLLIN, 0}, {0, POLLIN, 0}};
    /* It ends when standard input does. */
    while (poll(polled, 2, -1) > 0 && polled[1].revents == 0) {
        size_t count = micro_queue_drain(queue, events, sizeof events[0], BATCH);
        for (micro_event *event = events; event < events + count; event++) {
            if (event->kind == MICRO_EVENT_CALL) {
                micro_reply(runtime, event->id, MICRO_OK, event->payload, text(""));
                event->payload = (micro_bytes){0};
            } else if (event->kind == MICRO_EVENT_OPENED) {
                announce(event);
            }
            micro_event_release(event);
        }
    }
    micro_runtime_free(runtime);
    micro_server_free(server);
    micro_queue_free(queue);
    return 0;
}
