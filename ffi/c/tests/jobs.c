/* Work that is no call: runs of jobs, tasks whose answers are asked for, and services that end once they have served. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fleet.h"

/* A folder of the test's own, for its broker. */
typedef struct {
    char path[40], json[300];
} place;

static place place_new(const fleet *f, const char *more) {
    place made;
    strcpy(made.path, "/tmp/micro-jobs-XXXXXX");
    CHECK(mkdtemp(made.path) != NULL);
    snprintf(made.json, sizeof made.json, "{%s, \"address\": \"127.0.0.1:0\", \"broker\": \"durable://%s\"%s}", f->meet, made.path,
             more);
    return made;
}

static int removed(const char *path, const struct stat *known, int kind, struct FTW *walk) {
    (void)known, (void)kind, (void)walk;
    return remove(path);
}

static void place_end(const place *made) {
    EQUAL(nftw(made->path, removed, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static micro_server *server_of(const fleet *f, const place *at) {
    micro_options options = options_of(at->json);
    micro_server *server = NULL;
    EQUAL(micro_server_new(f->runtime, S("shop"), &options, &server, NULL), MICRO_OK);
    return server;
}

static micro_client *started(fleet *f, micro_server *server) {
    micro_client *client = NULL;
    EQUAL(micro_server_start(server, f->queue, 100, NULL), MICRO_OK);
    fleet_ends(f, MICRO_EVENT_OPENED, MICRO_OK);
    EQUAL(micro_server_client(server, &client, NULL), MICRO_OK);
    return client;
}

static void ended(fleet *f, const place *at, micro_server *server, micro_client *client) {
    EQUAL(micro_server_stop(server), MICRO_OK);
    fleet_ends(f, MICRO_EVENT_END, MICRO_OK);
    micro_server_free(server);
    micro_client_free(client);
    fleet_end(f);
    place_end(at);
}

/* What is known of a run beside its headers. */
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

static micro_event answer_of(fleet *f, micro_client *client, uint32_t operation, const char *args) {
    micro_question question = question_of(operation, args);
    EQUAL(micro_ask(client, f->queue, &question, 9, NULL, NULL), MICRO_OK);
    return fleet_next(f, MICRO_EVENT_REPLY);
}

TEST(a_run_of_a_job_is_a_call_and_its_end_is_told) {
    fleet f = fleet_new();
    place at = place_new(&f, "");
    micro_server *server = server_of(&f, &at);
    uint32_t method = 9;
    micro_slice job = S("{\"every\": \"1s\", \"name\": \"clean\", \"max_attempts\": 2, \"backoff\": \"none\"}");
    EQUAL(micro_server_job(server, job, &method, NULL), MICRO_OK);
    EQUAL(method, 0);
    micro_client *client = started(&f, server);
    micro_event run = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(run.method, 0);
    EQUAL(run.payload.len, 0);
    SAYS(fact(&run, "job"), "clean");
    SAYS(fact(&run, "attempt"), "1");
    EQUAL(fact(&run, "time").len, 13);
    EQUAL(micro_settle(f.runtime, run.id, MICRO_RETRY, 0, S("the disk is full")), MICRO_OK);
    micro_event_release(&run);
    run = fleet_next(&f, MICRO_EVENT_CALL);
    SAYS(fact(&run, "attempt"), "2");
    micro_event told = answer_of(&f, client, MICRO_SERVICE_JOBS, "");
    HOLDS(view(told.payload), "\"name\":\"clean\"");
    HOLDS(view(told.payload), "the disk is full");
    HOLDS(view(told.payload), "\"outcome\":\"running\"");
    micro_event_release(&told);
    EQUAL(micro_reply(f.runtime, run.id, MICRO_OK, nothing(), S("")), MICRO_OK);
    micro_event_release(&run);
    ended(&f, &at, server, client);
}

TEST(the_answer_of_a_task_is_asked_for_by_its_id) {
    fleet f = fleet_new();
    place at = place_new(&f, "");
    micro_server *server = server_of(&f, &at);
    EQUAL(micro_server_subscribe(server, S("double"), S("{\"task\": true}"), NULL, NULL), MICRO_OK);
    micro_client *client = started(&f, server);
    micro_message message = { .size = sizeof message,
                              .flags = MICRO_CODEC_JSON,
                              .topic = S("double"),
                              .payload = lent("7"),
                              .options = S("{\"task\": true}") };
    EQUAL(micro_publish(client, f.queue, &message, 8, NULL, NULL), MICRO_OK);
    micro_event sent = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(sent.status, MICRO_OK);
    char args[200];
    snprintf(args, sizeof args, "{\"id\": \"%.*s\"}", (int)sent.payload.len, (const char *)sent.payload.ptr);
    micro_event_release(&sent);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    SAYS(call.payload, "7");
    micro_event state = answer_of(&f, client, MICRO_TASK_STATE, args);
    HOLDS(view(state.payload), "\"running\"");
    micro_event_release(&state);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("14"), S("")), MICRO_OK);
    micro_event_release(&call);
    micro_event result = answer_of(&f, client, MICRO_TASK_RESULT, args);
    SAYS(result.payload, "14");
    EQUAL(result.flags & MICRO_CODEC_MASK, MICRO_CODEC_JSON);
    micro_event_release(&result);
    result = answer_of(&f, client, MICRO_TASK_RESULT, "{\"id\": \"7\"}");
    EQUAL(result.status, MICRO_INVALID_ARGUMENT);
    micro_event_release(&result);
    ended(&f, &at, server, client);
}

TEST(a_service_that_serves_once_ends_after_one_message) {
    fleet f = fleet_new();
    place at = place_new(&f, ", \"once\": true");
    micro_server *server = server_of(&f, &at);
    EQUAL(micro_server_subscribe(server, S("images"), S("{\"queue\": \"q\"}"), NULL, NULL), MICRO_OK);
    micro_client *client = started(&f, server);
    micro_message message = { .size = sizeof message, .flags = MICRO_CODEC_JSON, .topic = S("images"), .payload = lent("7") };
    EQUAL(micro_publish(client, f.queue, &message, 8, NULL, NULL), MICRO_OK);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, nothing(), S("")), MICRO_OK);
    micro_event_release(&call);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_server_free(server);
    micro_client_free(client);
    fleet_end(&f);
    place_end(&at);
}

TEST(a_job_that_makes_no_sense_is_refused) {
    fleet f = fleet_new();
    place at = place_new(&f, "");
    micro_server *server = server_of(&f, &at);
    micro_error *error = NULL;
    EQUAL(micro_server_job(server, S("{\"evry\": \"1s\"}"), NULL, &error), MICRO_INVALID_ARGUMENT);
    HOLDS(micro_error_message(error), "did you mean `every`?");
    micro_error_free(error);
    EQUAL(micro_server_job(NULL, S(""), NULL, NULL), MICRO_ARG);
    uint32_t method;
    EQUAL(micro_server_job(server, S("{\"cron\": \"99 3 * * *\"}"), &method, NULL), MICRO_OK);
    EQUAL(micro_server_start(server, f.queue, 100, NULL), MICRO_OK);
    micro_event end = fleet_next(&f, MICRO_EVENT_END);
    EQUAL(end.status, MICRO_INVALID_ARGUMENT);
    HOLDS(micro_error_message(end.error), "the job");
    micro_event_release(&end);
    micro_server_free(server);
    fleet_end(&f);
    place_end(&at);
}
