/* Metadata both ways: several values of a name, binary ones, headers and trailers, of answers and of failures. */
#include "fleet.h"

/* The value of a name in the first block, by its number among those of the name; nothing where there is none. */
static micro_slice value_of(micro_slice blocks, const char *wanted, int number) {
    micro_meta walk = { blocks, 0, 0 };
    micro_slice name, value;
    while (micro_meta_next(&walk, &name, &value)) {
        if (name.len == strlen(wanted) && memcmp(name.ptr, wanted, name.len) == 0 && number-- == 0) {
            return value;
        }
    }
    return (micro_slice){ NULL, 0 };
}

static const uint8_t BINARY[] = { 0, 255, 10, 0, 128 };

static bool is_binary(micro_slice value) {
    return value.len == sizeof BINARY && memcmp(value.ptr, BINARY, sizeof BINARY) == 0;
}

static micro_bytes block(const char *tag) {
    micro_bytes block = nothing();
    EQUAL(micro_meta_add(&block, S("tenant"), S(tag), NULL), MICRO_OK);
    EQUAL(micro_meta_add(&block, S("tenant"), S("second"), NULL), MICRO_OK);
    EQUAL(micro_meta_add(&block, S("key-bin"), (micro_slice){ BINARY, sizeof BINARY }, NULL), MICRO_OK);
    return block;
}

static void carries(micro_slice blocks, const char *tag) {
    SAYS(value_of(blocks, "tenant", 0), tag);
    SAYS(value_of(blocks, "tenant", 1), "second");
    CHECK(is_binary(value_of(blocks, "key-bin", 0)));
}

TEST(metadata_goes_there_and_back_again) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"retries\": 0");
    for (int fails = 0; fails < 2; fails++) {
        micro_bytes sent = block("there"), headers = block("header"), trailers = block("trailer");
        micro_request request = hello("Ada");
        request.meta = view(sent);
        fleet_submit(&f, client, &request, 1);
        micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
        carries(view(call.meta), "there");
        EQUAL(micro_call_headers(f.runtime, call.id, view(headers)), MICRO_OK);
        EQUAL(micro_reply(f.runtime, call.id, fails ? MICRO_ABORTED : MICRO_OK, lent("x"), view(trailers)), MICRO_OK);
        micro_event reply = fleet_next(&f, MICRO_EVENT_REPLY);
        EQUAL(reply.status, fails ? MICRO_ABORTED : MICRO_OK);
        micro_slice rest = micro_meta_rest(view(reply.meta));
        if (fails) {
            /* An answer that is nothing but a status has all its metadata in the trailers. */
            SAYS(value_of(view(reply.meta), "tenant", 0), "");
            SAYS(value_of(rest, "tenant", 2), "trailer");
            carries(rest, "header");
        } else {
            carries(view(reply.meta), "header");
            carries(rest, "trailer");
        }
        SAYS(micro_meta_rest(rest), "");
        /* What gRPC says about itself is not the program's. */
        EQUAL(value_of(rest, "grpc-status", 0).len, 0);
        EQUAL(value_of(view(call.meta), "content-type", 0).len, 0);
        micro_event_release(&reply);
        micro_event_release(&call);
        micro_bytes_release(sent);
        micro_bytes_release(headers);
        micro_bytes_release(trailers);
    }
    micro_client_free(client);
    fleet_end(&f);
}

TEST(metadata_that_cannot_be_sent_is_refused_and_the_block_stays) {
    micro_bytes made = block("blue");
    static const char *const names[] = { "", "a b", "caf\xc3\xa9", "grpc-status", ":path", "te" };
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        micro_error *error = NULL;
        EQUAL(micro_meta_add(&made, S(names[n]), S("x"), &error), MICRO_INVALID_ARGUMENT);
        CHECK(micro_error_message(error).len > 0);
        micro_error_free(error);
    }
    EQUAL(micro_meta_add(&made, S("name"), S("line\nbreak"), NULL), MICRO_INVALID_ARGUMENT);
    carries(view(made), "blue");
    micro_bytes broken = { made.ptr, made.len - 1, NULL };
    EQUAL(micro_meta_add(&broken, S("a"), S("b"), NULL), MICRO_ARG);
    micro_bytes_release(made);
}

TEST(a_walk_over_broken_blocks_ends) {
    micro_bytes made = block("blue");
    uint8_t copy[256];
    CHECK(made.len < sizeof copy);
    for (size_t length = 0; length <= made.len; length++) {
        memcpy(copy, made.ptr, made.len);
        for (size_t at = 0; at < length; at += 3) {
            copy[at] ^= 0xff;
            micro_meta walk = { { copy, length }, 0, 0 };
            micro_slice name, value;
            size_t entries = 0;
            while (micro_meta_next(&walk, &name, &value)) {
                CHECK(name.len <= length && value.len <= length && ++entries <= length);
            }
            CHECK(micro_meta_rest(walk.blocks).len <= length);
            copy[at] ^= 0xff;
        }
    }
    micro_meta lost = { view(made), SIZE_MAX, 3 };
    micro_slice name, value;
    CHECK(!micro_meta_next(&lost, &name, &value));
    micro_bytes_release(made);
}
