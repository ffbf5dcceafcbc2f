/* Records and locks of a client's store. */
#include "fleet.h"

/* Asks with a payload, and has the answer's status be this. */
static micro_event asked(fleet *f, micro_client *client, uint32_t operation, const char *args, const char *payload, micro_status status) {
    micro_question question = question_of(operation, args);
    question.payload = lent(payload);
    micro_id id = 0;
    EQUAL(micro_ask(client, f->queue, &question, 1, &id, NULL), MICRO_OK);
    micro_event answer = fleet_next(f, MICRO_EVENT_REPLY);
    EQUAL(answer.id, id);
    EQUAL(answer.status, status);
    return answer;
}

static micro_id followed(fleet *f, micro_client *client, uint32_t operation, const char *args) {
    micro_question question = question_of(operation, args);
    micro_id id = 0;
    EQUAL(micro_follow(client, f->queue, &question, 2, &id, NULL), MICRO_OK);
    micro_event opened = fleet_next(f, MICRO_EVENT_OPENED);
    EQUAL(opened.id, id);
    micro_event_release(&opened);
    EQUAL(micro_stream_grant(f->runtime, id, 8), MICRO_OK);
    return id;
}

TEST(a_record_is_written_on_a_condition_read_and_listed) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "\"store\": \"memory://records-of-c\"");
    const char *write = "{\"changes\": [{\"key\": \"a\", \"length\": 3, \"if_absent\": true}]}";
    micro_event answer = asked(&f, client, MICRO_STORE_APPLY, write, "tea", MICRO_OK);
    HOLDS(answer.payload, "[1]");
    micro_event_release(&answer);
    answer = asked(&f, client, MICRO_STORE_APPLY, write, "tea", MICRO_ABORTED);
    micro_event_release(&answer);
    answer = asked(&f, client, MICRO_STORE_READ, "{\"key\": \"a\"}", "", MICRO_OK);
    HOLDS(answer.payload, "tea");
    micro_event_release(&answer);
    answer = asked(&f, client, MICRO_STORE_READ, "{\"key\": \"b\"}", "", MICRO_NOT_FOUND);
    micro_event_release(&answer);
    micro_id list = followed(&f, client, MICRO_STORE_LIST, "{\"prefix\": \"a\"}");
    micro_event record = fleet_next(&f, MICRO_EVENT_CHANGE);
    EQUAL(record.id, list);
    HOLDS(record.payload, "tea");
    micro_event_release(&record);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_lock_is_passed_on_when_it_is_closed) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "\"store\": \"memory://locks-of-c\"");
    micro_id first = followed(&f, client, MICRO_SYNC_LOCK, "{\"name\": \"stock\"}");
    micro_event held = fleet_next(&f, MICRO_EVENT_CHANGE);
    EQUAL(held.id, first);
    HOLDS(held.payload, "\"token\"");
    micro_event_release(&held);
    micro_id second = followed(&f, client, MICRO_SYNC_LOCK, "{\"name\": \"stock\"}");
    EQUAL(micro_stream_close(f.runtime, first), MICRO_OK);
    micro_event end = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(end.id, first);
    EQUAL(end.status, MICRO_OK);
    micro_event_release(&end);
    held = fleet_next(&f, MICRO_EVENT_CHANGE);
    EQUAL(held.id, second);
    micro_event_release(&held);
    EQUAL(micro_stream_close(f.runtime, second), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_client_free(client);
    fleet_end(&f);
}
