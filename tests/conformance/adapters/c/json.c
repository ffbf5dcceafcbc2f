#include "json.h"

#include <stdlib.h>
#include <string.h>

static void skip(micro_slice *rest, size_t bytes) {
    rest->ptr += bytes;
    rest->len -= bytes;
}

/* Past what stands between values. */
static void between(micro_slice *rest) {
    while (rest->len && strchr(" \t\r\n,:", rest->ptr[0])) {
        skip(rest, 1);
    }
}

/* The value at the beginning, which is cut off. */
static micro_slice value_of(micro_slice *rest) {
    between(rest);
    const uint8_t *begin = rest->ptr;
    size_t depth = 0;
    bool quoted = false;
    while (rest->len) {
        uint8_t at = rest->ptr[0];
        if (quoted) {
            quoted = at != '"';
            skip(rest, at == '\\' && rest->len > 1 ? 2 : 1);
        } else if (depth == 0 && (at == ',' || at == '}' || at == ']')) {
            break;
        } else {
            quoted = at == '"';
            depth += at == '{' || at == '[';
            depth -= at == '}' || at == ']';
            skip(rest, 1);
        }
        if (!quoted && depth == 0 && (at == '"' || at == '}' || at == ']')) {
            break;
        }
    }
    return (micro_slice){ begin, (size_t)(rest->ptr - begin) };
}

micro_slice json_member(micro_slice object, const char *name) {
    if (!slice_begins(object, "{")) {
        return slice_of("");
    }
    skip(&object, 1);
    for (between(&object); object.len && object.ptr[0] == '"'; between(&object)) {
        text key = json_text(value_of(&object));
        between(&object);
        micro_slice value = value_of(&object);
        bool found = slice_is(slice_in(&key), name);
        text_free(&key);
        if (found) {
            return value;
        }
    }
    return slice_of("");
}

bool json_item(micro_slice *array, micro_slice *item) {
    if (slice_begins(*array, "[")) {
        skip(array, 1);
    }
    between(array);
    if (!array->len || array->ptr[0] == ']') {
        return false;
    }
    *item = value_of(array);
    return true;
}

static void escaped(micro_slice *rest, text *to) {
    static const char from[] = "nrtbf", into[] = "\n\r\t\b\f";
    const char *known = strchr(from, rest->ptr[0]);
    if (known && *known) {
        text_add(to, into + (known - from), 1);
    } else if (rest->ptr[0] == 'u' && rest->len > 4) {
        /* The library escapes control characters alone. */
        char digits[5] = { 0 };
        memcpy(digits, rest->ptr + 1, 4);
        char byte = (char)strtoul(digits, NULL, 16);
        text_add(to, &byte, 1);
        skip(rest, 4);
    } else {
        text_add(to, rest->ptr, 1);
    }
    skip(rest, 1);
}

text json_text(micro_slice value) {
    text out = { 0 };
    if (!slice_begins(value, "\"")) {
        return out;
    }
    skip(&value, 1);
    while (value.len && value.ptr[0] != '"') {
        if (value.ptr[0] == '\\' && value.len > 1) {
            skip(&value, 1);
            escaped(&value, &out);
        } else {
            text_add(&out, value.ptr, 1);
            skip(&value, 1);
        }
    }
    return out;
}
