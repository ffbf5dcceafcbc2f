/* Errors with everything they carry, both ways. */
#include "fleet.h"

TEST(an_error_carries_its_id_details_and_origin) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"retries\": 0");
    fleet_call(&f, client, "Bob", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    micro_error *sent = micro_error_new(MICRO_NOT_FOUND, S("people"), S("no person of that name"));
    const uint8_t first[] = { 10, 0, 255 };
    EQUAL(micro_error_attach(sent, S("people.Reason"), (micro_slice){ first, sizeof first }), MICRO_OK);
    EQUAL(micro_error_attach(sent, S("google.rpc.Help"), S("second")), MICRO_OK);
    EQUAL(micro_error_detail_count(sent), 2);
    EQUAL(micro_reply_error(f.runtime, call.id, sent, S("")), MICRO_OK);
    EQUAL(micro_reply_error(f.runtime, call.id, sent, S("")), MICRO_STALE);
    micro_error_free(sent);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.status, MICRO_NOT_FOUND);
    EQUAL(micro_error_status(reply.error), MICRO_NOT_FOUND);
    SAYS(micro_error_id(reply.error), "people");
    SAYS(micro_error_reason(reply.error), "");
    SAYS(micro_error_message(reply.error), "no person of that name");
    EQUAL(micro_error_http_code(reply.error), 404);
    SAYS(micro_error_service(reply.error), "greeter");
    SAYS(micro_error_endpoint(reply.error), "Greeter.Hello");
    HOLDS(micro_error_node(reply.error), "greeter-");
    EQUAL(micro_error_attempts(reply.error), 1);
    EQUAL(micro_error_detail_count(reply.error), 2);
    micro_slice value;
    SAYS(micro_error_detail(reply.error, 0, &value), "people.Reason");
    CHECK(value.len == sizeof first && memcmp(value.ptr, first, sizeof first) == 0);
    SAYS(micro_error_detail(reply.error, 1, NULL), "google.rpc.Help");
    SAYS(micro_error_detail(reply.error, 2, &value), "");
    EQUAL(value.len, 0);
    /* It may be kept, and be another call's answer. */
    micro_error *kept = reply.error;
    reply.error = NULL;
    micro_event_release(&reply);
    fleet_call(&f, client, "Bob", 2);
    micro_event again = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_reply_error(f.runtime, again.id, kept, S("")), MICRO_OK);
    reply = fleet_next(&f, MICRO_EVENT_REPLY);
    SAYS(micro_error_id(reply.error), "people");
    EQUAL(micro_error_detail_count(reply.error), 2);
    micro_error_free(kept);
    micro_event_release(&reply);
    micro_event_release(&again);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(failures_of_this_side_say_what_to_do) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    fleet_call(&f, client, "Ada", 1);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.status, MICRO_UNAVAILABLE);
    SAYS(micro_error_reason(reply.error), "no_nodes");
    SAYS(micro_error_id(reply.error), "go.micro.client");
    SAYS(micro_error_service(reply.error), "greeter");
    SAYS(micro_error_node(reply.error), "");
    EQUAL(micro_error_attempts(reply.error), 0);
    EQUAL(micro_error_http_code(reply.error), 500);
    micro_error *error = NULL;
    EQUAL(micro_client_call(client, f.queue, NULL, 1, NULL, &error), MICRO_ARG);
    SAYS(micro_error_id(error), "micro");
    SAYS(micro_error_service(error), "");
    HOLDS(micro_error_message(error), "request is NULL");
    micro_error_free(error);
    /* Success leaves none. */
    error = reply.error;
    micro_request request = hello("Ada");
    EQUAL(micro_client_call(client, f.queue, &request, 1, NULL, &error), MICRO_OK);
    CHECK(error == NULL);
    micro_event_release(&reply);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(the_number_of_go_micro_travels_as_it_is) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"retries\": 0");
    static const struct {
        int32_t http;
        micro_status status;
    } numbers[] = { { 404, MICRO_NOT_FOUND }, { 418, MICRO_UNKNOWN } };
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        fleet_call(&f, client, "Bob", n);
        micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
        micro_error *sent = micro_error_from_http(numbers[n].http, S("teapot"), S("short and stout"));
        EQUAL(micro_error_status(sent), numbers[n].status);
        EQUAL(micro_reply_error(f.runtime, call.id, sent, S("")), MICRO_OK);
        micro_error_free(sent);
        micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
        EQUAL(reply.status, numbers[n].status);
        EQUAL(micro_error_http_code(reply.error), numbers[n].http);
        SAYS(micro_error_id(reply.error), "teapot");
        SAYS(micro_error_message(reply.error), "short and stout");
        micro_event_release(&reply);
        micro_event_release(&call);
    }
    micro_slice bad = { (const uint8_t *)"\xff", 1 };
    CHECK(micro_error_from_http(404, bad, S("")) == NULL);
    CHECK(micro_error_from_http(404, S(""), bad) == NULL);
    micro_client_free(client);
    fleet_end(&f);
}
