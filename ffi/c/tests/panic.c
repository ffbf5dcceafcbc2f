/* A bug inside arrives as a status, in the call itself and as the end of an operation; whatever else runs goes on. */
#include "fleet.h"

TEST(a_panic_inside_arrives_as_a_status) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    for (uint64_t token = 0; token < 20; token++) {
        EQUAL(micro_debug_panic(f.runtime, NULL, 0), MICRO_PANIC);
        EQUAL(micro_debug_panic(f.runtime, f.queue, token), MICRO_OK);
        micro_event end = fleet_next(&f, MICRO_EVENT_REPLY);
        EQUAL(end.token, token);
        EQUAL(end.status, MICRO_PANIC);
        EQUAL(micro_error_status(end.error), MICRO_PANIC);
        HOLDS(micro_error_message(end.error), "asked for by a test");
        HOLDS(micro_error_message(end.error), "report");
        micro_event_release(&end);
    }
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}
