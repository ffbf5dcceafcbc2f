/* Calls the greeter by its name, wherever it runs. */
#include <micro.h>
#include <stdio.h>
#include <string.h>

static micro_slice text(const char *string) {
    return (micro_slice){ (const uint8_t *)string, strlen(string) };
}

int main(void) {
    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    micro_client *client = NULL;
    if (micro_runtime_new(NULL, &runtime, NULL) || micro_queue_new(runtime, 0, &queue, NULL) ||
        micro_client_new(runtime, NULL, &client, NULL)) {
        return 1;
    }

    static const char person[] = "{\"name\":\"Ada\"}";
    micro_request request = { .size = sizeof request,
                              .flags = MICRO_CODEC_JSON,
                              .service = text("greeter"),
                              .method = text("Greeter.Hello"),
                              .payload = { (const uint8_t *)person, strlen(person), NULL } };
    micro_event reply = { 0 };
    int failed = 1;
    if (micro_client_call(client, queue, &request, 1, NULL, NULL) == MICRO_OK &&
        micro_queue_wait(queue, &reply, sizeof reply, 1, MICRO_NO_TIMEOUT) == 1) {
        failed = reply.status != MICRO_OK;
        micro_slice said = micro_error_message(reply.error);
        if (!failed) {
            /* A JSON string; its quotes are not shown. */
            said = (micro_slice){ reply.payload.ptr + 1, reply.payload.len - 2 };
        }
        fprintf(failed ? stderr : stdout, "%.*s\n", (int)said.len, (const char *)said.ptr);
    }
    micro_event_release(&reply);
    micro_client_free(client);
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    return failed;
}
