/* Wrong arguments of every function: each is refused with words, and nothing begins. */
#include <stdlib.h>

#include "fleet.h"

static const micro_slice NOT_UTF8 = { (const uint8_t *)"\xc3\x28", 2 };
static const micro_slice NOWHERE = { NULL, 7 };

static void fine(void *ctx, micro_event *event) {
    (void)ctx;
    (void)event;
}

static void count(void *ctx) {
    ++*(int *)ctx;
}

/* The call fails with the status and an error that says why. */
#define REFUSED(status, call) \
    do { \
        micro_error *error = NULL; \
        EQUAL(call, status); \
        CHECK(error != NULL && micro_error_message(error).len > 0); \
        EQUAL(micro_error_status(error), status); \
        micro_error_free(error); \
    } while (0)

TEST(null_is_refused_by_every_function_that_needs_more) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    micro_server *server = NULL;
    micro_error *problem = micro_error_new(MICRO_ABORTED, S(""), S("no"));
    micro_request request = hello("Ada");
    micro_event event;
    micro_bytes out = nothing();
    int drops = 0;
    REFUSED(MICRO_ARG, micro_runtime_new(NULL, NULL, &error));
    EQUAL(micro_runtime_shutdown(NULL, 0), MICRO_ARG);
    EQUAL(micro_cancel(NULL, 1), MICRO_ARG);
    REFUSED(MICRO_ARG, micro_queue_new(NULL, 0, &f.queue, &error));
    REFUSED(MICRO_ARG, micro_queue_new(f.runtime, 0, NULL, &error));
    EQUAL(micro_queue_fd(NULL), -1);
    EQUAL(micro_queue_set_wake(NULL, count, &drops, count), MICRO_ARG);
    EQUAL(drops, 1);
    EQUAL(micro_queue_drain(NULL, &event, sizeof event, 1), 0);
    EQUAL(micro_queue_drain(f.queue, NULL, sizeof event, 1), 0);
    EQUAL(micro_queue_drain(f.queue, &event, sizeof event - 1, 1), 0);
    EQUAL(micro_queue_wait(NULL, &event, sizeof event, 1, MICRO_NO_TIMEOUT), 0);
    EQUAL(micro_queue_wait(f.queue, NULL, sizeof event, 1, MICRO_NO_TIMEOUT), 0);
    EQUAL(micro_queue_length(NULL), 0);
    EQUAL(micro_queue_age(NULL), 0);
    EQUAL(micro_queue_close(NULL), MICRO_ARG);
    REFUSED(MICRO_ARG, micro_queue_run(NULL, 1, fine, &drops, count, &error));
    REFUSED(MICRO_ARG, micro_queue_run(f.queue, 1, NULL, &drops, count, &error));
    REFUSED(MICRO_ARG, micro_queue_run(f.queue, 0, fine, &drops, count, &error));
    REFUSED(MICRO_ARG, micro_queue_run(f.queue, 65, fine, &drops, count, &error));
    EQUAL(drops, 5);
    REFUSED(MICRO_ARG, micro_client_new(NULL, NULL, &client, &error));
    REFUSED(MICRO_ARG, micro_client_new(f.runtime, NULL, NULL, &error));
    REFUSED(MICRO_ARG, micro_client_call(NULL, f.queue, &request, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_client_call(client, NULL, &request, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_client_call(client, f.queue, NULL, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_client_open(NULL, f.queue, &request, 1, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_client_open(client, NULL, &request, 1, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_client_open(client, f.queue, NULL, 1, 1, NULL, &error));
    micro_question question = question_of(MICRO_REGISTRY_LIST, "");
    REFUSED(MICRO_ARG, micro_ask(NULL, f.queue, &question, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_ask(client, NULL, &question, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_ask(client, f.queue, NULL, 1, NULL, &error));
    question.operation = MICRO_REGISTRY_WATCH;
    REFUSED(MICRO_ARG, micro_follow(NULL, f.queue, &question, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_follow(client, NULL, &question, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_follow(client, f.queue, NULL, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_provide(NULL, MICRO_AREA_REGISTRY, S("mine"), f.queue, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_provide(f.runtime, MICRO_AREA_REGISTRY, S("mine"), NULL, 1, NULL, &error));
    EQUAL(micro_stream_send(NULL, 1, nothing(), 0), MICRO_ARG);
    EQUAL(micro_stream_close(NULL, 1), MICRO_ARG);
    EQUAL(micro_stream_grant(NULL, 1, 1), MICRO_ARG);
    REFUSED(MICRO_ARG, micro_server_new(NULL, S("x"), NULL, &server, &error));
    REFUSED(MICRO_ARG, micro_server_new(f.runtime, S("x"), NULL, NULL, &error));
    REFUSED(MICRO_ARG, micro_server_method(NULL, S("X.Y"), 0, S(""), NULL, &error));
    REFUSED(MICRO_ARG, micro_server_start(NULL, f.queue, 1, &error));
    EQUAL(micro_server_stop(NULL), MICRO_ARG);
    EQUAL(micro_server_health(NULL, S(""), true), MICRO_ARG);
    REFUSED(MICRO_ARG, micro_server_client(NULL, &client, &error));
    EQUAL(micro_reply(NULL, 1, MICRO_OK, nothing(), S("")), MICRO_ARG);
    EQUAL(micro_reply_error(NULL, 1, problem, S("")), MICRO_ARG);
    EQUAL(micro_call_headers(NULL, 1, S("")), MICRO_ARG);
    EQUAL(micro_call_send_headers(NULL, 1), MICRO_ARG);
    EQUAL(micro_call_describe(NULL, 1, &out), MICRO_ARG);
    REFUSED(MICRO_ARG, micro_meta_add(NULL, S("a"), S("b"), &error));
    EQUAL(micro_error_attach(NULL, S("a.B"), S("")), MICRO_ARG);
    EQUAL(micro_debug_panic(NULL, f.queue, 1), MICRO_ARG);
    /* Of these, nothing comes of nothing. */
    micro_slice name, value = S("as it was");
    micro_meta walk = { NOWHERE, 0, 0 };
    CHECK(!micro_meta_next(NULL, &name, &value) && !micro_meta_next(&walk, &name, &value));
    CHECK(!micro_meta_next(&walk, NULL, &value) && !micro_meta_next(&walk, &name, NULL));
    SAYS(micro_meta_rest(NOWHERE), "");
    EQUAL(micro_error_status(NULL), MICRO_ARG);
    EQUAL(micro_error_http_code(NULL), 0);
    EQUAL(micro_error_attempts(NULL), 0);
    EQUAL(micro_error_detail_count(NULL), 0);
    SAYS(micro_error_detail(NULL, 0, &value), "");
    SAYS(micro_error_message(NULL), "");
    SAYS(micro_error_id(NULL), "");
    SAYS(micro_error_service(NULL), "");
    SAYS(micro_error_endpoint(NULL), "");
    SAYS(micro_error_node(NULL), "");
    micro_event_release(NULL);
    micro_runtime_free(NULL);
    micro_queue_free(NULL);
    micro_client_free(NULL);
    micro_server_free(NULL);
    micro_error_free(NULL);
    micro_bytes_release(nothing());
    /* The error is not asked for. */
    EQUAL(micro_runtime_new(NULL, NULL, NULL), MICRO_ARG);
    CHECK(out.own == NULL && server == NULL);
    micro_error_free(problem);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(an_object_of_another_type_is_refused) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    micro_request request = hello("Ada");
    REFUSED(MICRO_ARG, micro_queue_new((micro_runtime *)f.queue, 0, &f.queue, &error));
    REFUSED(MICRO_ARG, micro_client_call((micro_client *)f.runtime, f.queue, &request, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_client_call(client, (micro_queue *)client, &request, 1, NULL, &error));
    REFUSED(MICRO_ARG, micro_server_start((micro_server *)client, f.queue, 1, &error));
    EQUAL(micro_error_status((micro_error *)client), MICRO_ARG);
    micro_queue_free((micro_queue *)client);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(text_that_is_not_utf8_or_not_there_is_refused) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    micro_server *server = NULL;
    EQUAL(micro_server_new(f.runtime, S("x"), NULL, &server, NULL), MICRO_OK);
    micro_error *problem = micro_error_new(MICRO_ABORTED, S(""), S("no"));
    const micro_slice wrong[] = { NOT_UTF8, NOWHERE, { (const uint8_t *)"x", SIZE_MAX } };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        micro_slice bad = wrong[n];
        micro_options options = { .size = sizeof options, .json = bad };
        micro_runtime *runtime = NULL;
        micro_client *made = NULL;
        micro_server *served = NULL;
        REFUSED(MICRO_ARG, micro_runtime_new(&options, &runtime, &error));
        REFUSED(MICRO_ARG, micro_client_new(f.runtime, &options, &made, &error));
        REFUSED(MICRO_ARG, micro_server_new(f.runtime, S("x"), &options, &served, &error));
        REFUSED(MICRO_ARG, micro_server_new(f.runtime, bad, NULL, &served, &error));
        REFUSED(MICRO_ARG, micro_server_method(server, bad, 0, S(""), NULL, &error));
        REFUSED(MICRO_ARG, micro_server_method(server, S("X.Y"), 0, bad, NULL, &error));
        EQUAL(micro_server_health(server, bad, true), MICRO_ARG);
        micro_question asked[2] = { question_of(MICRO_REGISTRY_LIST, ""), question_of(MICRO_REGISTRY_LIST, "") };
        asked[0].args = bad;
        asked[1].meta = bad;
        for (int each = 0; each < 2; each++) {
            REFUSED(MICRO_ARG, micro_ask(client, f.queue, &asked[each], 1, NULL, &error));
            asked[each].operation = MICRO_REGISTRY_WATCH;
            REFUSED(MICRO_ARG, micro_follow(client, f.queue, &asked[each], 1, NULL, &error));
        }
        REFUSED(MICRO_ARG, micro_provide(f.runtime, MICRO_AREA_REGISTRY, bad, f.queue, 1, NULL, &error));
        micro_request requests[4] = { hello("a"), hello("b"), hello("c"), hello("d") };
        requests[0].service = bad;
        requests[1].method = bad;
        requests[2].options = bad;
        requests[3].meta = bad;
        for (int each = 0; each < 4; each++) {
            REFUSED(MICRO_ARG, micro_client_call(client, f.queue, &requests[each], 1, NULL, &error));
            REFUSED(MICRO_ARG, micro_client_open(client, f.queue, &requests[each], MICRO_SERVER_STREAM, 1, NULL, &error));
        }
        micro_bytes block = nothing();
        REFUSED(MICRO_ARG, micro_meta_add(&block, bad, S("value"), &error));
        REFUSED(MICRO_ARG, micro_meta_add(&block, S("name"), bad, &error));
        CHECK(block.own == NULL);
        CHECK(micro_error_new(MICRO_ABORTED, bad, S("")) == NULL);
        CHECK(micro_error_new(MICRO_ABORTED, S(""), bad) == NULL);
        EQUAL(micro_error_attach(problem, bad, S("")), MICRO_ARG);
        CHECK(!runtime && !made && !served);
    }
    /* Bytes may be anything but nowhere. */
    EQUAL(micro_error_attach(problem, S("a.B"), NOT_UTF8), MICRO_OK);
    EQUAL(micro_error_attach(problem, S("a.B"), NOWHERE), MICRO_ARG);
    CHECK(fleet_quiet(&f));
    micro_error_free(problem);
    micro_client_free(client);
    micro_server_free(server);
    fleet_end(&f);
}

TEST(structs_of_a_wrong_size_are_refused) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    static const uint32_t wrong[] = { 0, 1, 4, 23, 4097, UINT32_MAX };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        micro_options options = { .size = wrong[n], .json = S("{}") };
        micro_runtime *runtime = NULL;
        micro_client *made = NULL;
        micro_server *server = NULL;
        micro_request request = hello("Ada");
        request.size = wrong[n];
        REFUSED(MICRO_ARG, micro_runtime_new(&options, &runtime, &error));
        REFUSED(MICRO_ARG, micro_client_new(f.runtime, &options, &made, &error));
        REFUSED(MICRO_ARG, micro_server_new(f.runtime, S("x"), &options, &server, &error));
        REFUSED(MICRO_ARG, micro_client_call(client, f.queue, &request, 1, NULL, &error));
        REFUSED(MICRO_ARG, micro_client_open(client, f.queue, &request, MICRO_BIDI_STREAM, 1, NULL, &error));
        EQUAL(micro_queue_drain(f.queue, &options, wrong[n] < 24 ? wrong[n] : 0, 1), 0);
    }
    /* Larger ones are of a later version. */
    struct { micro_options options; uint64_t unknown; } later = { options_of(""), 7 };
    later.options.size = sizeof later;
    micro_client *made = NULL;
    EQUAL(micro_client_new(f.runtime, &later.options, &made, NULL), MICRO_OK);
    micro_client_free(made);
    EQUAL(micro_abi_check(MICRO_ABI_MAJOR << 16, sizeof(micro_event), sizeof(micro_request)), MICRO_OK);
    EQUAL(micro_abi_check((MICRO_ABI_MAJOR + 1) << 16, sizeof(micro_event), sizeof(micro_request)), MICRO_ABI);
    EQUAL(micro_abi_check(micro_abi_version() + 1, sizeof(micro_event), sizeof(micro_request)), MICRO_ABI);
    EQUAL(micro_abi_check(micro_abi_version(), sizeof(micro_event) + 8, sizeof(micro_request)), MICRO_ABI);
    EQUAL(micro_abi_check(micro_abi_version(), sizeof(micro_event), sizeof(micro_request) + 8), MICRO_ABI);
    CHECK(micro_version().len > 0);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(unknown_options_and_values_are_refused) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    micro_server *server = NULL;
    EQUAL(micro_server_new(f.runtime, S("x"), NULL, &server, NULL), MICRO_OK);
    static const char *const wrong[] = { "{ \"timeot\": 1 }", "{ \"workers\": 1, \"workrs\": 1 }", "{", "[]", "7", "{} {}" };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        micro_options options = options_of(wrong[n]);
        micro_runtime *runtime = NULL;
        micro_client *made = NULL;
        micro_server *served = NULL;
        micro_request request = hello("Ada");
        request.options = S(wrong[n]);
        REFUSED(MICRO_INVALID_ARGUMENT, micro_runtime_new(&options, &runtime, &error));
        REFUSED(MICRO_INVALID_ARGUMENT, micro_client_new(f.runtime, &options, &made, &error));
        REFUSED(MICRO_INVALID_ARGUMENT, micro_server_new(f.runtime, S("x"), &options, &served, &error));
        REFUSED(MICRO_INVALID_ARGUMENT, micro_server_method(server, S("X.Y"), 0, S(wrong[n]), NULL, &error));
        REFUSED(MICRO_INVALID_ARGUMENT, micro_client_call(client, f.queue, &request, 1, NULL, &error));
        CHECK(!runtime && !made && !served);
    }
    micro_options flagged = { .size = sizeof flagged, .flags = 1 };
    micro_queue *queue = NULL;
    REFUSED(MICRO_ARG, micro_runtime_new(&flagged, &f.runtime, &error));
    REFUSED(MICRO_ARG, micro_queue_new(f.runtime, 2, &queue, &error));
    REFUSED(MICRO_ARG, micro_server_method(server, S("X.Y"), 4, S(""), NULL, &error));
    EQUAL(micro_stream_send(f.runtime, 1, nothing(), 2), MICRO_ARG);
    static const uint32_t flags[] = { 4, 15, 0x80, 0x800, 0x80000000, MICRO_REQUEST_IDEMPOTENT | MICRO_REQUEST_NOT_IDEMPOTENT };
    for (size_t n = 0; n < sizeof flags / sizeof *flags; n++) {
        micro_request request = hello("Ada");
        request.flags = flags[n];
        REFUSED(MICRO_ARG, micro_client_call(client, f.queue, &request, 1, NULL, &error));
    }
    static const uint32_t shapes[] = { MICRO_UNARY, 4, UINT32_MAX };
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        micro_request request = hello("");
        REFUSED(MICRO_ARG, micro_client_open(client, f.queue, &request, shapes[n], 1, NULL, &error));
    }
    static const micro_status statuses[] = { 0, -1, 17, 1000, INT32_MIN, INT32_MAX };
    for (size_t n = 0; n < sizeof statuses / sizeof *statuses; n++) {
        CHECK(micro_error_new(statuses[n], S(""), S("x")) == NULL);
    }
    EQUAL(micro_debug_live(77), 0);
    micro_server_free(server);
    micro_client_free(client);
    fleet_end(&f);
}
