/* What asking costs next to a typed operation: by turns, questions that look up a service whose answer is short, and typed
 * operations that give back as many bytes, `--concurrency` in flight, both without a network. For as long as each line of
 * standard input says, in milliseconds. Answers with microseconds for each. */
#include "bench.h"

#define TURNS 16

static micro_runtime *runtime;
static micro_queue *queue;
static micro_client *client;

static void submit(int asks)
{
    static const uint8_t message[64] = {0};
    micro_bytes payload = {message, sizeof message, NULL};
    micro_error *error = NULL;
    if (asks) {
        micro_question question = {.size = sizeof question, .operation = MICRO_CLIENT_NODES};
        question.args = text("{\"service\": \"greeter\"}");
        expect(micro_ask(client, queue, &question, 0, NULL, &error), error, "ask");
    } else {
        expect(micro_debug_echo(runtime, queue, payload, 0), NULL, "echo");
    }
}

/* Microseconds for each operation of one turn. */
static double turn(int asks, int concurrency, double milliseconds)
{
    static micro_event events[BATCH];
    double begun = seconds(), until = begun + milliseconds / 1e3;
    long completed = 0;
    int flying = 0;
    for (; flying < concurrency; flying++)
        submit(asks);
    while (flying > 0) {
        size_t count = micro_queue_wait(queue, events, sizeof events[0], BATCH, MICRO_NO_TIMEOUT);
        int more = seconds() < until;
        for (micro_event *event = events; event < events + count; event++) {
            expect(event->status, event->error, asks ? "ask" : "echo");
            micro_event_release(event);
            completed++;
            flying--;
            if (more) {
                submit(asks);
                flying++;
            }
        }
    }
    return (seconds() - begun) * 1e6 / completed;
}

static void make(void)
{
    micro_options options = {.size = sizeof options, .json = text("{\"registry\": \"memory://ask\"}")};
    micro_error *error = NULL;
    expect(micro_client_new(runtime, &options, &client, &error), error, "client");
    micro_question question = {.size = sizeof question, .operation = MICRO_REGISTRY_REGISTER};
    question.args = text("{\"service\": {\"name\": \"greeter\", \"nodes\": [{\"id\": \"a\", \"address\": \"a:1\"}]}}");
    expect(micro_ask(client, queue, &question, 0, NULL, &error), error, "register");
    micro_event event;
    while (micro_queue_wait(queue, &event, sizeof event, 1, MICRO_NO_TIMEOUT) == 0)
        continue;
    expect(event.status, event.error, "register");
    micro_event_release(&event);
}

int main(int argc, char **argv)
{
    runtime = begin(argc, argv, &queue);
    int concurrency = number(argc, argv, "--concurrency", 1);
    make();
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        double asked = 0, typed = 0, each = atof(line) / (2 * TURNS);
        for (int n = 0; n < TURNS; n++) {
            typed += turn(0, concurrency, each) / TURNS;
            asked += turn(1, concurrency, each) / TURNS;
        }
        printf("{\"asked\":%f,\"typed\":%f}\n", asked, typed);
        fflush(stdout);
    }
    micro_client_free(client);
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    return 0;
}
