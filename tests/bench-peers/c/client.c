/* The client of the benchmark in C: keeps calls in flight for as long as each line of standard input says, in milliseconds,
 * compares every reply with what it asked, and answers with a line of figures. */
#include "bench.h"

/* A `bench.Payload` of `size` bytes; returns its length. */
static size_t payload(uint8_t **message, size_t size)
{
    *message = malloc(size + 8);
    size_t head = 0;
    (*message)[head++] = 0x0a;
    for (size_t left = size; left > 0 || head == 1; left >>= 7)
        (*message)[head++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    memset(*message + head, 'x', size);
    return head + size;
}

int main(int argc, char **argv)
{
    micro_queue *queue = NULL;
    micro_error *error = NULL;
    micro_runtime *runtime = begin(argc, argv, &queue);
    int concurrency = number(argc, argv, "--concurrency", 1);
    char json[128], line[64];
    snprintf(json, sizeof json, "{\"registry\":\"memory://bench\",\"addresses\":[\"%s\"]}",
             option(argc, argv, "--address"));
    micro_options options = {.size = sizeof options, .json = text(json)};
    micro_client *client = NULL;
    expect(micro_client_new(runtime, &options, &client, &error), error, "client");
    uint8_t *message = NULL;
    micro_request request = {.size = sizeof request, .service = text("bench"), .method = text("Echo.Call")};
    request.payload.len = payload(&message, (size_t)number(argc, argv, "--size", 64));
    request.payload.ptr = message;
    static micro_event events[BATCH];
    while (fgets(line, sizeof line, stdin)) {
        double begun = seconds(), until = begun + atof(line) / 1e3;
        long completed = 0;
        int flying = 0;
        while (flying < concurrency) {
            expect(micro_client_call(client, queue, &request, 0, NULL, &error), error, "call");
            flying++;
        }
        while (flying > 0) {
            size_t count = micro_queue_wait(queue, events, sizeof events[0], BATCH, MICRO_NO_TIMEOUT);
            int more = seconds() < until;
            for (micro_event *event = events; event < events + count; event++) {
                expect(event->status, event->error, "reply");
                if (event->payload.len != request.payload.len ||
                    memcmp(event->payload.ptr, message, event->payload.len) != 0)
                    expect(MICRO_DATA_LOSS, NULL, "another reply than was asked for");
                micro_event_release(event);
                completed++;
                flying--;
                if (more) {
                    expect(micro_client_call(client, queue, &request, 0, NULL, &error), error, "call");
                    flying++;
                }
            }
        }
        printf("{\"completed\":%ld,\"rate\":%f,\"p50_us\":0}\n", completed, completed / (seconds() - begun));
        fflush(stdout);
    }
    micro_client_free(client);
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    free(message);
    return 0;
}
