/* What is known of services: lookups, health, watches, descriptions of calls, figures, and clients that services share. */
#include "fleet.h"

TEST(a_service_is_looked_up_and_asked_how_it_is) {
    fleet f = fleet_new();
    micro_server *server = fleet_serve(&f, "greeter", "\"version\": \"1.2\"", "Greeter.Hello", MICRO_UNARY, NULL);
    micro_client *client = fleet_client(&f, "");
    fleet_ask(&f, client, MICRO_REGISTRY_GET, "{\"service\": \"greeter\"}", 1);
    micro_event found = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(found.status, MICRO_OK);
    EQUAL(found.flags, MICRO_CODEC_JSON);
    HOLDS(found.payload, "\"version\":\"1.2\"");
    HOLDS(found.payload, "Greeter.Hello");
    micro_event_release(&found);
    fleet_ask(&f, client, MICRO_REGISTRY_LIST, "", 2);
    found = fleet_next(&f, MICRO_EVENT_REPLY);
    HOLDS(found.payload, "greeter");
    micro_event_release(&found);
    fleet_ask(&f, client, MICRO_REGISTRY_GET, "{\"service\": \"nobody\"}", 3);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_NOT_FOUND);
    for (int serving = 1; serving >= 0; serving--) {
        EQUAL(micro_server_health(server, S(""), serving), MICRO_OK);
        EQUAL(micro_server_health(server, S("greeter"), serving), MICRO_OK);
        fleet_ask(&f, client, MICRO_CLIENT_HEALTH, "{\"service\": \"greeter\"}", 4);
        micro_event health = fleet_next(&f, MICRO_EVENT_REPLY);
        EQUAL(health.status, MICRO_OK);
        HOLDS(health.payload, serving ? "\"serving\":true" : "\"serving\":false");
        micro_event_release(&health);
    }
    micro_client_free(client);
    micro_server_free(server);
    fleet_end(&f);
}

TEST(a_watch_tells_changes_that_were_granted) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    micro_id watch = 0;
    micro_question asked = question_of(MICRO_REGISTRY_WATCH, "{\"service\": \"greeter\"}");
    EQUAL(micro_follow(client, f.queue, &asked, 5, &watch, NULL), MICRO_OK);
    micro_event opened = fleet_next(&f, MICRO_EVENT_OPENED);
    EQUAL(opened.id, watch);
    EQUAL(opened.token, 5);
    micro_event_release(&opened);
    micro_server *server = fleet_serve(&f, "greeter", "\"propagation\": \"1ms\"", "Greeter.Hello", MICRO_UNARY, NULL);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_grant(f.runtime, watch, 1), MICRO_OK);
    micro_event change = fleet_next(&f, MICRO_EVENT_CHANGE);
    EQUAL(change.id, watch);
    HOLDS(change.payload, "\"create\"");
    HOLDS(change.payload, "Greeter.Hello");
    micro_event_release(&change);
    EQUAL(micro_server_stop(server), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_grant(f.runtime, watch, 1), MICRO_OK);
    change = fleet_next(&f, MICRO_EVENT_CHANGE);
    HOLDS(change.payload, "\"delete\"");
    micro_event_release(&change);
    EQUAL(micro_stream_send(f.runtime, watch, nothing(), 0), MICRO_ARG);
    EQUAL(micro_stream_close(f.runtime, watch), MICRO_OK);
    micro_event end = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(end.id, watch);
    EQUAL(end.status, MICRO_OK);
    EQUAL(micro_stream_close(f.runtime, watch), MICRO_STALE);
    micro_event_release(&end);
    EQUAL(micro_follow(client, f.queue, &asked, 6, &watch, NULL), MICRO_OK);
    opened = fleet_next(&f, MICRO_EVENT_OPENED);
    micro_event_release(&opened);
    EQUAL(micro_cancel(f.runtime, watch), MICRO_OK);
    end = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(end.id, watch);
    EQUAL(end.status, MICRO_CANCELLED);
    EQUAL(micro_cancel(f.runtime, watch), MICRO_STALE);
    micro_event_release(&end);
    micro_server_free(server);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(clients_of_a_service_call_in_its_name) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_server *caller = NULL;
    micro_client *first = NULL, *second = NULL;
    char json[200];
    strcpy(json, "{ ");
    strcat(strcat(json, f.meet), " }");
    micro_options options = options_of(json);
    EQUAL(micro_server_new(f.runtime, S("frontend"), &options, &caller, NULL), MICRO_OK);
    EQUAL(micro_server_client(caller, &first, NULL), MICRO_FAILED_PRECONDITION);
    CHECK(first == NULL);
    EQUAL(micro_server_start(caller, f.queue, 200, NULL), MICRO_OK);
    micro_event opened = fleet_next(&f, MICRO_EVENT_OPENED);
    EQUAL(opened.token, 200);
    micro_event_release(&opened);
    EQUAL(micro_server_client(caller, &first, NULL), MICRO_OK);
    EQUAL(micro_server_client(caller, &second, NULL), MICRO_OK);
    EQUAL(micro_server_client(caller, NULL, NULL), MICRO_ARG);
    micro_client *both[] = { first, second };
    for (int n = 0; n < 2; n++) {
        fleet_call(&f, both[n], "Ada", 1);
        micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
        micro_bytes described = nothing();
        EQUAL(micro_call_describe(f.runtime, call.id, &described), MICRO_OK);
        HOLDS(described, "\"caller\":\"frontend\"");
        HOLDS(described, "\"service\":\"greeter\"");
        HOLDS(described, "\"endpoint\":\"Greeter.Hello\"");
        HOLDS(described, "\"trace_id\":\"");
        micro_bytes_release(described);
        EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
        EQUAL(micro_call_describe(f.runtime, call.id, &described), MICRO_STALE);
        fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
        micro_event_release(&call);
        micro_client_free(both[n]);
    }
    micro_server_free(caller);
    fleet_end(&f);
}

TEST(clients_and_services_tell_what_they_have_seen) {
    fleet f = fleet_new();
    micro_server *server = fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_UNARY, NULL);
    micro_client *client = fleet_client(&f, "");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    micro_client *own = NULL;
    EQUAL(micro_server_client(server, &own, NULL), MICRO_OK);
    fleet_ask(&f, own, MICRO_SERVICE_STATS, "", 2);
    micro_event stats = fleet_next(&f, MICRO_EVENT_REPLY);
    HOLDS(stats.payload, "\"in_flight\":1");
    micro_event_release(&stats);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_ABORTED, lent("no"), S("")), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_ABORTED);
    fleet_ask(&f, client, MICRO_CLIENT_STATS, "", 3);
    stats = fleet_next(&f, MICRO_EVENT_REPLY);
    HOLDS(stats.payload, "Greeter.Hello");
    micro_event_release(&stats);
    /* A client of no service, and one whose service is over. */
    fleet_ask(&f, client, MICRO_SERVICE_STATS, "", 4);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_FAILED_PRECONDITION);
    EQUAL(micro_server_stop(server), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    fleet_ask(&f, own, MICRO_SERVICE_STATS, "", 5);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_FAILED_PRECONDITION);
    micro_client_free(own);
    micro_event_release(&call);
    micro_client_free(client);
    micro_server_free(server);
    fleet_end(&f);
}

TEST(a_service_that_cannot_start_says_why) {
    fleet f = fleet_new();
    micro_options options = options_of("{ \"registry\": \"memory://c\", \"network\": \"memory://c\" }");
    static const char *const wrong[] = { "no method", "", "A.B" };
    for (size_t n = 0; n < 3; n++) {
        micro_server *server = NULL;
        EQUAL(micro_server_new(f.runtime, S(n == 2 ? "" : "greeter"), &options, &server, NULL), MICRO_OK);
        EQUAL(micro_server_method(server, S(wrong[n]), MICRO_UNARY, S(""), NULL, NULL), MICRO_OK);
        EQUAL(micro_server_start(server, f.queue, 7, NULL), MICRO_OK);
        micro_event end = fleet_next(&f, MICRO_EVENT_END);
        EQUAL(end.token, 7);
        CHECK(end.status != MICRO_OK && micro_error_message(end.error).len > 0);
        micro_event_release(&end);
        micro_server_free(server);
    }
    micro_server *never = NULL;
    EQUAL(micro_server_new(f.runtime, S("x"), NULL, &never, NULL), MICRO_OK);
    EQUAL(micro_server_stop(never), MICRO_OK);
    EQUAL(micro_server_start(never, f.queue, 1, NULL), MICRO_FAILED_PRECONDITION);
    micro_server_free(never);
    fleet_end(&f);
}
