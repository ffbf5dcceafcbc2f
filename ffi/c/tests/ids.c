/* Ids that name nothing: zero, stale, foreign, of another kind, or made up. */
#include "fleet.h"

/* Every function that takes an id, with one that names nothing. */
static void names_nothing(fleet *f, micro_client *client, micro_id id) {
    micro_bytes out = nothing();
    EQUAL(micro_cancel(f->runtime, id), MICRO_STALE);
    EQUAL(micro_stream_send(f->runtime, id, lent("x"), 0), MICRO_STALE);
    EQUAL(micro_stream_close(f->runtime, id), MICRO_STALE);
    EQUAL(micro_stream_grant(f->runtime, id, 1), MICRO_STALE);
    EQUAL(micro_reply(f->runtime, id, MICRO_OK, lent("x"), S("")), MICRO_STALE);
    EQUAL(micro_call_headers(f->runtime, id, S("")), MICRO_STALE);
    EQUAL(micro_call_send_headers(f->runtime, id), MICRO_STALE);
    EQUAL(micro_call_describe(f->runtime, id, &out), MICRO_STALE);
    CHECK(out.own == NULL);
    micro_error *error = micro_error_new(MICRO_NOT_FOUND, S(""), S("no"));
    EQUAL(micro_reply_error(f->runtime, id, error, S("")), MICRO_STALE);
    micro_error_free(error);
    micro_request request = hello("Ada");
    request.parent = id;
    if (id != 0) {
        EQUAL(micro_client_call(client, f->queue, &request, 1, NULL, NULL), MICRO_CANCELLED);
    }
}

TEST(zero_and_made_up_ids_name_nothing) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    static const micro_id made_up[] = { 0, 1, 15, 16, 17, UINT64_MAX, UINT64_C(1) << 53, UINT64_C(1) << 63, (UINT64_C(1) << 53) - 1 };
    for (size_t n = 0; n < sizeof made_up / sizeof *made_up; n++) {
        names_nothing(&f, client, made_up[n]);
    }
    micro_client_free(client);
    fleet_end(&f);
}

TEST(what_is_over_is_stale_and_stays_so) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_id old[20];
    for (size_t n = 0; n < 20; n += 2) {
        old[n] = fleet_call(&f, client, "Ada", n);
        micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
        old[n + 1] = call.id;
        EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
        fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
        micro_event_release(&call);
    }
    /* Others have their places now. */
    micro_id alive[8];
    for (size_t n = 0; n < 8; n++) {
        alive[n] = fleet_call(&f, client, "Ada", 100 + n);
        CHECK(alive[n] < UINT64_C(1) << 53);
    }
    for (size_t n = 0; n < 20; n++) {
        names_nothing(&f, client, old[n]);
    }
    for (size_t n = 0; n < 8; n++) {
        EQUAL(micro_cancel(f.runtime, alive[n]), MICRO_OK);
    }
    micro_client_free(client);
    fleet_end(&f);
}

TEST(ids_of_another_runtime_name_nothing_here) {
    fleet f = fleet_new(), other = fleet_new();
    fleet_greeter(&f);
    fleet_greeter(&other);
    micro_client *client = fleet_client(&f, ""), *others = fleet_client(&other, "");
    for (uint64_t token = 0; token < 20; token++) {
        fleet_call(&f, client, "Ada", token);
        micro_id id = fleet_call(&other, others, "Ada", token);
        micro_event call = fleet_next(&other, MICRO_EVENT_CALL);
        names_nothing(&f, client, id);
        names_nothing(&f, client, call.id);
        micro_event_release(&call);
    }
    EQUAL(micro_debug_live(MICRO_LIVE_OPERATION), 42);
    micro_client_free(client);
    micro_client_free(others);
    fleet_end(&f);
    fleet_end(&other);
}

TEST(an_id_of_another_kind_is_refused_and_what_it_names_goes_on) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    micro_id id = fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    micro_bytes out = nothing();
    EQUAL(micro_reply(f.runtime, id, MICRO_OK, lent("x"), S("")), MICRO_ARG);
    EQUAL(micro_call_headers(f.runtime, id, S("")), MICRO_ARG);
    EQUAL(micro_call_send_headers(f.runtime, id), MICRO_ARG);
    EQUAL(micro_call_describe(f.runtime, id, &out), MICRO_ARG);
    EQUAL(micro_stream_send(f.runtime, id, lent("x"), 0), MICRO_ARG);
    EQUAL(micro_stream_grant(f.runtime, id, 1), MICRO_ARG);
    EQUAL(micro_stream_close(f.runtime, id), MICRO_ARG);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("x"), 0), MICRO_ARG);
    EQUAL(micro_stream_grant(f.runtime, call.id, 1), MICRO_ARG);
    EQUAL(micro_stream_close(f.runtime, call.id), MICRO_ARG);
    micro_request request = hello("Ada");
    request.parent = id;
    EQUAL(micro_client_call(client, f.queue, &request, 1, NULL, NULL), MICRO_ARG);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}
