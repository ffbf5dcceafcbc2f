/* Messages of topics: published, taken, settled; subscribers of a service; and what is refused. */
#include <stdio.h>

#include "fleet.h"

/* Members of options: a broker that no other test has. */
#define BROKER "\"broker\": \"memory://messages\""

static micro_message message_of(const char *topic, const char *body) {
    return (micro_message){
        .size = sizeof(micro_message), .flags = MICRO_CODEC_JSON, .topic = S(topic), .payload = lent(body)
    };
}

static void publish(const fleet *f, micro_client *client, const micro_message *message, uint64_t token) {
    EQUAL(micro_publish(client, f->queue, message, token, NULL, NULL), MICRO_OK);
}

static micro_id subscribe(fleet *f, micro_client *client, const char *args, uint64_t token) {
    micro_question question = question_of(MICRO_BROKER_SUBSCRIBE, args);
    micro_id id = 0;
    EQUAL(micro_follow(client, f->queue, &question, token, &id, NULL), MICRO_OK);
    fleet_ends(f, MICRO_EVENT_OPENED, MICRO_OK);
    return id;
}

/* What is known of a message beside its headers. */
static micro_slice fact(const micro_event *event, const char *name) {
    micro_meta walk = { micro_meta_rest(view(event->meta)), 0, 0 };
    micro_slice found, value;
    while (micro_meta_next(&walk, &found, &value)) {
        if (found.len == strlen(name) && memcmp(found.ptr, name, found.len) == 0) {
            return value;
        }
    }
    return S("nothing");
}

TEST(a_message_is_published_taken_and_settled) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, BROKER);
    micro_id orders = subscribe(&f, client, "{\"topic\": \"orders\"}", 7);
    micro_message message = message_of("orders", "7");
    micro_bytes meta = nothing();
    EQUAL(micro_meta_add(&meta, S("tenant"), S("blue"), NULL), MICRO_OK);
    message.meta = view(meta);
    publish(&f, client, &message, 8);
    micro_bytes_release(meta);
    CHECK(fleet_quiet(&f));
    EQUAL(micro_stream_grant(f.runtime, orders, 1), MICRO_OK);
    micro_event delivery = fleet_next(&f, MICRO_EVENT_DELIVERY);
    EQUAL(delivery.token, 7);
    EQUAL(delivery.method, 1);
    EQUAL(delivery.flags & MICRO_CODEC_MASK, MICRO_CODEC_JSON);
    SAYS(delivery.payload, "7");
    HOLDS(delivery.meta, "tenant");
    SAYS(fact(&delivery, "topic"), "orders");
    SAYS(fact(&delivery, "type"), "application/json");
    SAYS(fact(&delivery, "attempt"), "1");
    EQUAL(micro_settle(f.runtime, delivery.id, MICRO_EXTEND, 0, S("")), MICRO_OK);
    EQUAL(micro_settle(f.runtime, delivery.id, MICRO_ACK, 0, S("")), MICRO_OK);
    EQUAL(micro_settle(f.runtime, delivery.id, MICRO_ACK, 0, S("")), MICRO_STALE);
    micro_event_release(&delivery);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    EQUAL(micro_cancel(f.runtime, orders), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_CANCELLED);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_rejected_message_tells_the_publisher_of_a_broker_in_memory_why) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, BROKER);
    micro_id orders = subscribe(&f, client, "{\"topic\": \"orders\"}", 7);
    EQUAL(micro_stream_grant(f.runtime, orders, 1), MICRO_OK);
    micro_message message = message_of("orders", "7");
    publish(&f, client, &message, 8);
    micro_event delivery = fleet_next(&f, MICRO_EVENT_DELIVERY);
    EQUAL(micro_settle(f.runtime, delivery.id, MICRO_REJECT, 0, S("no such customer")), MICRO_OK);
    micro_event_release(&delivery);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.status, MICRO_INTERNAL);
    HOLDS(micro_error_message(reply.error), "no such customer");
    micro_event_release(&reply);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_service_is_called_with_the_messages_of_its_topics) {
    fleet f = fleet_new();
    char json[400];
    snprintf(json, sizeof json, "{%s, \"address\": \"127.0.0.1:0\", " BROKER "}", f.meet);
    micro_options options = options_of(json);
    micro_server *server = NULL;
    EQUAL(micro_server_new(f.runtime, S("billing"), &options, &server, NULL), MICRO_OK);
    uint32_t orders = 9, audit = 9;
    EQUAL(micro_server_subscribe(server, S("orders"), S("{\"queue\": \"billing\"}"), &orders, NULL), MICRO_OK);
    EQUAL(micro_server_subscribe(server, S("audit"), S(""), &audit, NULL), MICRO_OK);
    EQUAL(orders, 0);
    EQUAL(audit, 1);
    EQUAL(micro_server_start(server, f.queue, 100, NULL), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_OPENED, MICRO_OK);
    micro_client *client = NULL;
    EQUAL(micro_server_client(server, &client, NULL), MICRO_OK);
    micro_message message = message_of("orders", "7");
    publish(&f, client, &message, 8);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(call.method, 0);
    SAYS(call.payload, "7");
    SAYS(fact(&call, "topic"), "orders");
    /* What its handler publishes goes out while it runs. */
    micro_message part = message_of("audit", "8");
    part.parent = call.id;
    publish(&f, client, &part, 9);
    micro_event second = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(second.method, 1);
    EQUAL(micro_settle(f.runtime, second.id, MICRO_ACK, 0, S("")), MICRO_OK);
    micro_event_release(&second);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, nothing(), S("")), MICRO_OK);
    EQUAL(micro_settle(f.runtime, call.id, MICRO_ACK, 0, S("")), MICRO_STALE);
    micro_event_release(&call);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    EQUAL(micro_server_stop(server), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_server_free(server);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(what_cannot_be_published_subscribed_or_settled_is_refused) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, BROKER);
    micro_error *error = NULL;
    micro_message message = message_of("orders", "7");
    message.options = S("{\"delays\": 1}");
    EQUAL(micro_publish(client, f.queue, &message, 1, NULL, &error), MICRO_INVALID_ARGUMENT);
    HOLDS(micro_error_message(error), "did you mean `delay`?");
    micro_error_free(error);
    error = NULL;
    message = message_of("orders", "7");
    message.size = 8;
    EQUAL(micro_publish(client, f.queue, &message, 1, NULL, &error), MICRO_ARG);
    HOLDS(micro_error_message(error), "size of the message is 8");
    micro_error_free(error);
    EQUAL(micro_publish(client, f.queue, NULL, 1, NULL, NULL), MICRO_ARG);
    EQUAL(micro_publish(NULL, f.queue, &message, 1, NULL, NULL), MICRO_ARG);
    message = message_of("orders", "7");
    message.options = S("{\"delay\": \"1m\"}");
    publish(&f, client, &message, 2);
    micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(reply.status, MICRO_INVALID_ARGUMENT);
    HOLDS(micro_error_message(reply.error), "durable://");
    micro_event_release(&reply);
    EQUAL(micro_settle(f.runtime, 77, MICRO_ACK, 0, S("")), MICRO_STALE);
    EQUAL(micro_settle(NULL, 77, MICRO_ACK, 0, S("")), MICRO_ARG);
    micro_id orders = subscribe(&f, client, "{\"topic\": \"orders\"}", 7);
    EQUAL(micro_settle(f.runtime, orders, MICRO_ACK, 0, S("")), MICRO_ARG);
    EQUAL(micro_settle(f.runtime, orders, 4, 0, S("")), MICRO_ARG);
    micro_options options = options_of("{\"registry\": \"memory://none\"}");
    micro_server *server = NULL;
    EQUAL(micro_server_new(f.runtime, S("billing"), &options, &server, NULL), MICRO_OK);
    error = NULL;
    EQUAL(micro_server_subscribe(server, S("orders"), S("{\"queues\": 1}"), NULL, &error), MICRO_INVALID_ARGUMENT);
    HOLDS(micro_error_message(error), "did you mean `queue`?");
    micro_error_free(error);
    micro_server_free(server);
    micro_client_free(client);
    fleet_end(&f);
}
