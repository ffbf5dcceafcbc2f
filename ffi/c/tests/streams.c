/* Streams of every shape: by credit, held back where the far side is slow, ended by either side. */
#include <stdlib.h>

#include "fleet.h"

static micro_id open_stream(fleet *f, micro_client *client, uint32_t shape, const char *payload, uint64_t token) {
    micro_request request = hello(payload);
    micro_id stream = 0;
    EQUAL(micro_client_open(client, f->queue, &request, shape, token, &stream, NULL), MICRO_OK);
    CHECK(stream != 0);
    return stream;
}

static void told(fleet *f, micro_id stream, const char *text) {
    micro_event message = fleet_next(f, MICRO_EVENT_MESSAGE);
    EQUAL(message.id, stream);
    SAYS(message.payload, text);
    micro_event_release(&message);
}

TEST(messages_go_both_ways_by_credit) {
    fleet f = fleet_new();
    micro_server_free(fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_BIDI_STREAM, NULL));
    micro_client *client = fleet_client(&f, "");
    micro_id stream = open_stream(&f, client, MICRO_BIDI_STREAM, "", 9);
    EQUAL(micro_stream_send(f.runtime, stream, lent("a"), 0), MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, stream, lent("b"), 0), MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, stream, lent("c"), MICRO_SEND_LAST), MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, stream, lent("d"), 0), MICRO_CLOSED);
    EQUAL(micro_stream_close(f.runtime, stream), MICRO_CLOSED);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(call.payload.len, 0);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_grant(f.runtime, call.id, 1), MICRO_OK);
    told(&f, call.id, "a");
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_grant(f.runtime, call.id, UINT32_MAX), MICRO_OK);
    told(&f, call.id, "b");
    told(&f, call.id, "c");
    micro_event end = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(end.id, call.id);
    EQUAL(end.status, MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("A"), 0), MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("B"), 0), MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("x"), MICRO_SEND_LAST), MICRO_ARG);
    fleet_ends(&f, MICRO_EVENT_OPENED, MICRO_OK);
    EQUAL(micro_stream_grant(f.runtime, stream, 2), MICRO_OK);
    told(&f, stream, "A");
    told(&f, stream, "B");
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("C"), S("")), MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("D"), 0), MICRO_STALE);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_grant(f.runtime, stream, 1), MICRO_OK);
    told(&f, stream, "C");
    micro_event last = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(last.id, stream);
    EQUAL(last.token, 9);
    EQUAL(last.status, MICRO_OK);
    EQUAL(micro_stream_grant(f.runtime, stream, 1), MICRO_STALE);
    micro_event_release(&last);
    micro_event_release(&end);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(many_requests_have_one_reply) {
    fleet f = fleet_new();
    micro_server_free(fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_CLIENT_STREAM, NULL));
    micro_client *client = fleet_client(&f, "");
    micro_id stream = open_stream(&f, client, MICRO_CLIENT_STREAM, "", 9);
    EQUAL(micro_stream_grant(f.runtime, stream, 1), MICRO_OK);
    EQUAL(micro_stream_send(f.runtime, stream, lent("a"), 0), MICRO_OK);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_stream_grant(f.runtime, call.id, 9), MICRO_OK);
    told(&f, call.id, "a");
    EQUAL(micro_stream_send(f.runtime, call.id, lent("x"), 0), MICRO_ARG);
    EQUAL(micro_stream_close(f.runtime, stream), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("sum"), S("")), MICRO_OK);
    told(&f, stream, "sum");
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_sender_that_is_too_fast_waits_and_is_told_when_to_go_on) {
    enum { SIZE = 32 * 1024 };
    fleet f = fleet_new(), service = fleet_beside(&f);
    micro_server_free(fleet_serve(&service, "greeter", "", "Greeter.Hello", MICRO_SERVER_STREAM, NULL));
    micro_client *client = fleet_client(&f, "");
    micro_id stream = open_stream(&f, client, MICRO_SERVER_STREAM, "everything", 9);
    micro_event call = fleet_next(&service, MICRO_EVENT_CALL);
    SAYS(call.payload, "everything");
    uint8_t *memory = calloc(1, SIZE);
    micro_bytes message = { memory, SIZE, NULL };
    size_t sent = 0, received = 0;
    /* Until nothing moves on any more: the window of the connection is full then. */
    do {
        micro_status status;
        while ((status = micro_stream_send(f.runtime, call.id, message, 0)) == MICRO_OK) {
            CHECK(++sent < 10000);
        }
        EQUAL(status, MICRO_FULL);
        for (size_t n = 0; n < service.held; n++) {
            EQUAL(service.aside[n].kind, MICRO_EVENT_WRITABLE);
            micro_event_release(&service.aside[n]);
        }
        service.held = 0;
    } while (!fleet_quiet(&service));
    EQUAL(micro_stream_grant(f.runtime, stream, 1 << 20), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_OPENED, MICRO_OK);
    micro_event writable = fleet_next(&service, MICRO_EVENT_WRITABLE);
    EQUAL(writable.id, call.id);
    EQUAL(micro_stream_send(f.runtime, call.id, message, 0), MICRO_OK);
    sent++;
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, nothing(), S("")), MICRO_OK);
    for (; received < sent; received++) {
        micro_event got = fleet_next(&f, MICRO_EVENT_MESSAGE);
        EQUAL(got.payload.len, SIZE);
        micro_event_release(&got);
    }
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    CHECK(fleet_quiet(&service));
    free(memory);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end_beside(&service);
    fleet_end(&f);
}

TEST(a_stream_that_is_cancelled_ends_on_both_sides) {
    fleet f = fleet_new();
    micro_server_free(fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_BIDI_STREAM, NULL));
    micro_client *client = fleet_client(&f, "");
    micro_id stream = open_stream(&f, client, MICRO_BIDI_STREAM, "", 9);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("A"), 0), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_OPENED, MICRO_OK);
    EQUAL(micro_cancel(f.runtime, stream), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_CANCELLED);
    micro_event gone = fleet_next(&f, MICRO_EVENT_CALL_CANCELLED);
    EQUAL(gone.id, call.id);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("B"), 0), MICRO_STALE);
    EQUAL(micro_stream_send(f.runtime, stream, lent("b"), 0), MICRO_STALE);
    micro_event_release(&gone);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_handler_ends_a_stream_with_an_error) {
    fleet f = fleet_new();
    micro_server_free(fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_SERVER_STREAM, NULL));
    micro_client *client = fleet_client(&f, "");
    micro_id stream = open_stream(&f, client, MICRO_SERVER_STREAM, "x", 9);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_stream_send(f.runtime, call.id, lent("A"), 0), MICRO_OK);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_DATA_LOSS, lent("the rest is gone"), S("")), MICRO_OK);
    EQUAL(micro_stream_grant(f.runtime, stream, 9), MICRO_OK);
    told(&f, stream, "A");
    micro_event end = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(end.status, MICRO_DATA_LOSS);
    SAYS(micro_error_message(end.error), "the rest is gone");
    micro_event_release(&end);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_stream_to_an_unknown_service_ends_with_why) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    open_stream(&f, client, MICRO_BIDI_STREAM, "", 9);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_UNAVAILABLE);
    micro_client_free(client);
    fleet_end(&f);
}
