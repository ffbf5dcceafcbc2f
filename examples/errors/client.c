/* Every failure says what, where and how often it was tried. */
#include <micro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static micro_queue *queue;
static micro_client *client;

static micro_slice text(const char *string) {
    return (micro_slice){ (const uint8_t *)string, strlen(string) };
}

/* Calls and waits for the end; the event is the caller's to release. */
static micro_event call(const char *service, const char *method, const char *payload, uint64_t timeout_ns) {
    micro_request request = { .size = sizeof request,
                              .flags = MICRO_CODEC_JSON,
                              .service = text(service),
                              .method = text(method),
                              .payload = { (const uint8_t *)payload, strlen(payload), NULL },
                              .timeout_ns = timeout_ns };
    micro_event end = { 0 };
    /* What fails at once is told in the same way as what fails later. */
    end.status = micro_client_call(client, queue, &request, 1, NULL, &end.error);
    if (end.status == MICRO_OK) {
        micro_queue_wait(queue, &end, sizeof end, 1, MICRO_NO_TIMEOUT);
    }
    return end;
}

static void tell(micro_event end) {
    const char *advice = "ask its owner";
    switch (end.status) {
    case MICRO_OK: puts("no error"); return;
    case MICRO_NOT_FOUND: advice = "look for something else"; break;
    case MICRO_DEADLINE_EXCEEDED: advice = "give it more time"; break;
    default: break;
    }
    micro_slice reason = micro_error_reason(end.error);
    if (reason.len == strlen("no_nodes") && !memcmp(reason.ptr, "no_nodes", reason.len)) {
        advice = "start it, or wait_for_ready";
    }
    micro_slice name = micro_status_name(end.status), id = micro_error_id(end.error), why = micro_error_message(end.error);
    printf("%.*s %.*s: %.*s (%u attempts; %s)\n", (int)name.len, (const char *)name.ptr, (int)id.len, (const char *)id.ptr,
           (int)why.len, (const char *)why.ptr, micro_error_attempts(end.error), advice);
    micro_event_release(&end);
}

int main(void) {
    micro_runtime *runtime = NULL;
    if (micro_runtime_new(NULL, &runtime, NULL) || micro_queue_new(runtime, 0, &queue, NULL) ||
        micro_client_new(runtime, NULL, &client, NULL)) {
        return 1;
    }

    micro_event balance = call("accounts", "Accounts.Balance", "\"ada\"", 0);
    if (balance.status != MICRO_OK) {
        tell(balance);
        return 1;
    }
    printf("ada has %.*s\n", (int)balance.payload.len, (const char *)balance.payload.ptr);
    micro_event_release(&balance);

    /* What the handler refused with arrives as it was: code, message, and the id it gave itself. */
    tell(call("accounts", "Accounts.Balance", "\"bob\"", 0));

    /* A deadline holds on both sides: the caller stops waiting, the handler is told. */
    tell(call("accounts", "Accounts.Audit", "null", UINT64_C(100000000)));

    /* A service that was not started. */
    tell(call("payments", "Payments.Pay", "null", 0));

    micro_client_free(client);
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    return 0;
}
