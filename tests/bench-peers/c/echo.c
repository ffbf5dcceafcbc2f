/* What crossing the border costs: operations without a network, `--concurrency` in flight, for as long as each line of standard
 * input says, in milliseconds. Answers with microseconds for each and how many came out of one wait. */
#include "bench.h"

int main(int argc, char **argv)
{
    micro_queue *queue = NULL;
    micro_runtime *runtime = begin(argc, argv, &queue);
    int concurrency = number(argc, argv, "--concurrency", 1);
    const uint8_t message[64] = {0};
    micro_bytes payload = {message, sizeof message, NULL};
    static micro_event events[BATCH];
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        double begun = seconds(), until = begun + atof(line) / 1e3;
        long completed = 0, waits = 0;
        int flying = 0;
        while (flying < concurrency) {
            expect(micro_debug_echo(runtime, queue, payload, 0), NULL, "echo");
            flying++;
        }
        while (flying > 0) {
            size_t count = micro_queue_wait(queue, events, sizeof events[0], BATCH, MICRO_NO_TIMEOUT);
            int more = seconds() < until;
            waits++;
            for (micro_event *event = events; event < events + count; event++) {
                expect(event->status, event->error, "echo");
                micro_event_release(event);
                completed++;
                flying--;
                if (more) {
                    expect(micro_debug_echo(runtime, queue, payload, 0), NULL, "echo");
                    flying++;
                }
            }
        }
        printf("{\"completed\":%ld,\"us\":%f,\"wakes\":%f}\n", completed, (seconds() - begun) * 1e6 / completed,
               (double)waits / completed);
        fflush(stdout);
    }
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    return 0;
}
