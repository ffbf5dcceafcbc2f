#include "line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payload.h"

static int hex(uint8_t digit) {
    const char *digits = "0123456789ABCDEFabcdef";
    const char *at = digit ? strchr(digits, digit) : NULL;
    return !at ? -1 : at - digits < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
}

bool decode(micro_slice from, text *to) {
    for (size_t n = 0; n < from.len; n++) {
        uint8_t byte = from.ptr[n];
        if (byte == '%') {
            int high = from.len - n > 2 ? hex(from.ptr[n + 1]) : -1;
            int low = from.len - n > 2 ? hex(from.ptr[n + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = (uint8_t)(16 * high + low);
            n += 2;
        }
        text_add(to, &byte, 1);
    }
    return true;
}

bool line_read(line *out, const char *words, size_t len) {
    *out = (line){ 0 };
    /* Decoding makes nothing longer, so the memory stays where it is. */
    out->words = (text){ grab(len), 0, len + 1 };
    out->fields = grab(len * sizeof *out->fields);
    micro_slice rest = { (const uint8_t *)words, len };
    out->verb = slice_cut(&rest, ' ');
    size_t verb = out->verb.len;
    text_add(&out->words, out->verb.ptr, verb);
    out->verb.ptr = out->words.ptr;
    while (rest.len) {
        micro_slice value = slice_cut(&rest, ' ');
        micro_slice name = slice_cut(&value, '=');
        size_t begun = out->words.len;
        if (!decode(name, &out->words)) {
            return false;
        }
        size_t middle = out->words.len;
        if (!decode(value, &out->words)) {
            return false;
        }
        const uint8_t *at = out->words.ptr;
        out->fields[out->count++] = (struct field){ { at + begun, middle - begun }, { at + middle, out->words.len - middle } };
    }
    return verb > 0;
}

void line_free(line *of) {
    text_free(&of->words);
    free(of->fields);
    *of = (line){ 0 };
}

static const struct field *find(const line *of, const char *name) {
    for (size_t n = 0; n < of->count; n++) {
        if (slice_is(of->fields[n].name, name)) {
            return of->fields + n;
        }
    }
    return NULL;
}

micro_slice line_get(const line *of, const char *name) {
    const struct field *found = find(of, name);
    return found ? found->value : slice_of("");
}

bool line_has(const line *of, const char *name) {
    return find(of, name) != NULL;
}

uint64_t line_number(const line *of, const char *name, uint64_t otherwise) {
    uint64_t number;
    return slice_number(line_get(of, name), &number) ? number : otherwise;
}

text line_payload(const line *of) {
    text message = { 0 };
    if (line_has(of, "payload")) {
        text_set(&message, line_get(of, "payload"));
    } else {
        payload_make(&message, line_number(of, "size", 0), line_number(of, "fill", 0));
    }
    return message;
}

text answer(const char *verb) {
    text line = { 0 };
    text_say(&line, verb);
    return line;
}

text answer_to(const char *verb, uint64_t id) {
    text line = answer(verb);
    with_number(&line, "id", id);
    return line;
}

static void encode(text *to, micro_slice bytes) {
    for (size_t n = 0; n < bytes.len; n++) {
        uint8_t byte = bytes.ptr[n];
        bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
        if (plain || (byte && strchr("-._~", byte))) {
            text_add(to, &byte, 1);
        } else {
            char coded[4];
            snprintf(coded, sizeof coded, "%%%02X", byte);
            text_say(to, coded);
        }
    }
}

void with_part(text *to, const char *prefix, micro_slice name, micro_slice value) {
    text_say(to, " ");
    encode(to, slice_of(prefix));
    encode(to, name);
    text_say(to, "=");
    encode(to, value);
}

void with(text *to, const char *name, micro_slice value) {
    with_part(to, name, slice_of(""), value);
}

void with_number(text *to, const char *name, uint64_t number) {
    text digits = { 0 };
    text_number(&digits, number);
    with(to, name, slice_in(&digits));
    text_free(&digits);
}

void with_payload(text *to, micro_slice message) {
    if (message.len <= 4096) {
        with(to, "payload", message);
    } else {
        with_number(to, "size", message.len);
        with_number(to, "sum", payload_sum(message));
    }
}

void with_failure(text *to, micro_status status, const micro_error *error) {
    with_number(to, "code", (uint64_t)status);
    if (!error) {
        return;
    }
    with_number(to, "http", (uint64_t)micro_error_http_code(error));
    with(to, "detail", micro_error_message(error));
    with(to, "error_id", micro_error_id(error));
    with(to, "reason", micro_error_reason(error));
    for (size_t n = 0; n < micro_error_detail_count(error); n++) {
        micro_slice value;
        micro_slice name = micro_error_detail(error, n, &value);
        with_part(to, "attached.type.googleapis.com/", name, value);
    }
    if (micro_error_service(error).len) {
        with_number(to, "attempts", micro_error_attempts(error));
        with(to, "node", micro_error_node(error));
    }
}

void with_metadata(text *to, micro_slice blocks) {
    const char *prefix = "h.";
    for (int block = 0; block < 2 && blocks.len; block++) {
        micro_meta walk = { blocks, 0, 0 };
        micro_slice name, value;
        while (micro_meta_next(&walk, &name, &value)) {
            text shown = metadata_shown(name, value);
            with_part(to, prefix, name, slice_in(&shown));
            text_free(&shown);
        }
        blocks = micro_meta_rest(blocks);
        prefix = "t.";
    }
}

void tell(text *line) {
    text_say(line, "\n");
    /* One write holds the stream's lock, so lines of several threads do not mix. A runner that is gone reads nothing more. */
    flockfile(stdout);
    fwrite(line->ptr, 1, line->len, stdout);
    fflush(stdout);
    funlockfile(stdout);
    text_free(line);
}

void tell_ok(uint64_t id) {
    text line = answer_to("ok", id);
    tell(&line);
}

void tell_failed(uint64_t id, micro_status status, micro_error *error) {
    text line = answer_to("failed", id);
    with_failure(&line, status, error);
    tell(&line);
    micro_error_free(error);
}
