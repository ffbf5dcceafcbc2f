/* Who decides a setting of a service: the command line, the environment, a document, the program; and the register check. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fleet.h"

/* Options of a program that was started with these arguments. */
static micro_options started(const char *json, const char *const *arguments, uint32_t count) {
    return (micro_options){ .size = sizeof(micro_options), .json = S(json), .argc = count, .argv = arguments };
}

/* A document of settings in a file of its own. */
static void write_document(char *path, const char *text) {
    int file = mkstemp(path);
    CHECK(file >= 0);
    EQUAL(write(file, text, strlen(text)), strlen(text));
    EQUAL(close(file), 0);
}

TEST(a_flag_comes_before_a_variable_before_a_document_before_the_program_before_the_default) {
    char path[] = "/tmp/micro-settings-XXXXXX", json[400], wanted[200];
    write_document(path, "{ \"version\": \"d\", \"id\": \"d\", \"grace\": \"3s\" }");
    snprintf(json, sizeof json, "{ \"version\": \"p\", \"id\": \"p\", \"grace\": \"1s\", \"propagation\": \"1ms\", \"settings\": \"%s\" }",
             path);
    setenv("MICRO_SERVER_VERSION", "v", 1);
    setenv("MICRO_SERVER_ID", "v", 1);
    static const char *const arguments[] = { "--server-version", "f" };
    micro_options options = started(json, arguments, 2);
    micro_bytes told = nothing();
    EQUAL(micro_server_explain(S("greeter"), &options, &told, NULL), MICRO_OK);
    unlink(path);
    HOLDS(told, "{\"key\":\"version\",\"kind\":\"flag\",\"source\":\"--server-version\",\"value\":\"f\"}");
    HOLDS(told, "{\"key\":\"id\",\"kind\":\"variable\",\"source\":\"MICRO_SERVER_ID\",\"value\":\"v\"}");
    snprintf(wanted, sizeof wanted, "{\"key\":\"grace\",\"kind\":\"document\",\"source\":\"%s\",\"value\":\"3s\"}", path);
    HOLDS(told, wanted);
    HOLDS(told, "{\"key\":\"propagation\",\"kind\":\"code\",\"source\":\"code\",\"value\":\"1ms\"}");
    HOLDS(told, "{\"key\":\"register_ttl\",\"kind\":\"default\",\"source\":\"default\",\"value\":\"60s\"}");
    micro_bytes_release(told);
}

TEST(a_service_is_what_its_command_line_says) {
    fleet f = fleet_new();
    char json[200];
    snprintf(json, sizeof json, "{ %s, \"version\": \"p\" }", f.meet);
    setenv("MICRO_SERVER_VERSION", "v", 1);
    static const char *const arguments[] = { "--server-version=f", "--", "--what-the-program-reads" };
    micro_options options = started(json, arguments, 3);
    micro_server *server = NULL;
    EQUAL(micro_server_new(f.runtime, S("greeter"), &options, &server, NULL), MICRO_OK);
    EQUAL(micro_server_start(server, f.queue, 1, NULL), MICRO_OK);
    micro_event opened = fleet_next(&f, MICRO_EVENT_OPENED);
    HOLDS(opened.payload, "\"version\":\"f\"");
    micro_event_release(&opened);
    micro_server_free(server);
    fleet_end(&f);
}

/* What a service is refused with, at once. */
static void refused(const fleet *f, const micro_options *options, micro_status status, const char *why) {
    micro_server *server = NULL;
    micro_error *error = NULL;
    EQUAL(micro_server_new(f->runtime, S("greeter"), options, &server, &error), status);
    HOLDS(micro_error_message(error), why);
    micro_error_free(error);
    CHECK(server == NULL);
    micro_bytes told = nothing();
    error = NULL;
    EQUAL(micro_server_explain(S("greeter"), options, &told, &error), status);
    HOLDS(micro_error_message(error), why);
    micro_error_free(error);
}

TEST(help_and_the_version_are_told_and_what_is_wrong_is_refused_with_what_was_meant) {
    fleet f = fleet_new();
    static const struct {
        const char *argument;
        micro_status status;
        const char *says;
    } each[] = {
        { "--help", MICRO_CANCELLED, "  --address HOST:PORT\n" },
        { "--help", MICRO_CANCELLED, "[MICRO_SERVER_ADDRESS, unless set: :0]" },
        { "--version", MICRO_CANCELLED, "greeter 1.2" },
        { "--adress=:80", MICRO_INVALID_ARGUMENT, "unknown flag \"--adress\": did you mean --address?" },
        { "--grace=soon", MICRO_INVALID_ARGUMENT, "--grace: \"soon\" is no duration" },
        { "serve", MICRO_INVALID_ARGUMENT, "\"serve\" is no flag" },
    };
    for (size_t n = 0; n < sizeof each / sizeof *each; n++) {
        micro_options options = started("{ \"version\": \"1.2\" }", &each[n].argument, 1);
        refused(&f, &options, each[n].status, each[n].says);
    }
    /* With arguments, the environment is looked at too. */
    static const char *const fine[] = { "--quiet" };
    micro_options options = started("", fine, 1);
    setenv("MICRO_SERVER_GRACE", "soon", 1);
    refused(&f, &options, MICRO_INVALID_ARGUMENT, "MICRO_SERVER_GRACE: \"soon\" is no duration");
    options.argc = 0;
    refused(&f, &options, MICRO_INVALID_ARGUMENT, "MICRO_SERVER_GRACE: \"soon\" is no duration");
    unsetenv("MICRO_SERVER_GRACE");
    options.argc = 1;
    options.argv = NULL;
    refused(&f, &options, MICRO_ARG, "argv is NULL");
    static const char *const missing[] = { "--quiet", NULL };
    options = started("", missing, 2);
    refused(&f, &options, MICRO_ARG, "argument 1 is NULL");
    options = options_of("{ \"args\": \"--quiet\" }");
    refused(&f, &options, MICRO_INVALID_ARGUMENT, "args: give a list of texts");
    options = options_of("{ \"args\": [\"--adress\"] }");
    refused(&f, &options, MICRO_INVALID_ARGUMENT, "did you mean --address?");
    options = started("{ \"args\": [\"--quiet\"] }", fine, 1);
    refused(&f, &options, MICRO_INVALID_ARGUMENT, "args: they are given twice");
    fleet_end(&f);
}

/* A service whose endpoint 0 is its register check, and which registers every 20 ms. */
static micro_server *checked(fleet *f) {
    char json[200];
    snprintf(json, sizeof json, "{ %s, \"register_interval\": \"20ms\", \"propagation\": \"1ms\" }", f->meet);
    micro_options options = options_of(json);
    micro_server *server = NULL;
    uint32_t check = 7, hello = 7;
    EQUAL(micro_server_new(f->runtime, S("greeter"), &options, &server, NULL), MICRO_OK);
    EQUAL(micro_server_method(server, S("check"), MICRO_UNARY, S("{ \"register_check\": true }"), &check, NULL), MICRO_OK);
    EQUAL(micro_server_method(server, S("Greeter.Hello"), MICRO_UNARY, S(""), &hello, NULL), MICRO_OK);
    EQUAL(check, 0);
    EQUAL(hello, 1);
    EQUAL(micro_server_start(server, f->queue, 100, NULL), MICRO_OK);
    return server;
}

/* Answers a check: whether the node is fit. */
static void answer_check(fleet *f, bool is_fit) {
    micro_event asked = fleet_next(f, MICRO_EVENT_CALL);
    EQUAL(asked.method, 0);
    EQUAL(asked.payload.len, 0);
    EQUAL(micro_reply(f->runtime, asked.id, is_fit ? MICRO_OK : MICRO_UNAVAILABLE, lent(is_fit ? "" : "no database"), S("")),
          MICRO_OK);
    micro_event_release(&asked);
}

TEST(a_node_is_registered_while_the_program_says_that_it_is_fit) {
    fleet f = fleet_new();
    micro_client *client = fleet_client(&f, "");
    micro_server *server = checked(&f);
    answer_check(&f, false);
    micro_event opened = fleet_next(&f, MICRO_EVENT_OPENED);
    micro_event_release(&opened);
    fleet_ask(&f, client, MICRO_REGISTRY_GET, "{\"service\": \"greeter\"}", 1);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_NOT_FOUND);
    answer_check(&f, true);
    /* It is asked again once it has been registered. */
    micro_event again = fleet_next(&f, MICRO_EVENT_CALL);
    fleet_ask(&f, client, MICRO_REGISTRY_GET, "{\"service\": \"greeter\"}", 2);
    micro_event found = fleet_next(&f, MICRO_EVENT_REPLY);
    EQUAL(found.status, MICRO_OK);
    HOLDS(found.payload, "Greeter.Hello");
    CHECK(!memmem(found.payload.ptr, found.payload.len, "\"check\"", 7));
    micro_event_release(&found);
    EQUAL(micro_reply(f.runtime, again.id, MICRO_UNAVAILABLE, lent("no database"), S("")), MICRO_OK);
    micro_event_release(&again);
    answer_check(&f, false);
    fleet_ask(&f, client, MICRO_REGISTRY_GET, "{\"service\": \"greeter\"}", 3);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_NOT_FOUND);
    micro_server_free(server);
    micro_client_free(client);
    fleet_end(&f);
}

TEST(a_register_check_stands_alone) {
    fleet f = fleet_new();
    micro_server *server = NULL;
    EQUAL(micro_server_new(f.runtime, S("x"), NULL, &server, NULL), MICRO_OK);
    static const char *const wrong[] = { "{ \"register_check\": 1 }", "{ \"register_check\": true, \"internal\": true }" };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        EQUAL(micro_server_method(server, S("check"), MICRO_UNARY, S(wrong[n]), NULL, NULL), MICRO_INVALID_ARGUMENT);
    }
    EQUAL(micro_server_method(server, S("check"), MICRO_SERVER_STREAM, S("{ \"register_check\": true }"), NULL, NULL),
          MICRO_INVALID_ARGUMENT);
    micro_server_free(server);
    fleet_end(&f);
}
