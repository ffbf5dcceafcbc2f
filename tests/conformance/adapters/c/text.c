#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *grab(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory) {
        fputs("no memory\n", stderr);
        abort();
    }
    return memory;
}

void text_add(text *to, const void *bytes, size_t len) {
    if (to->room - to->len < len) {
        size_t room = 2 * to->len + len + 64;
        uint8_t *larger = grab(room);
        if (to->len) {
            memcpy(larger, to->ptr, to->len);
        }
        free(to->ptr);
        to->ptr = larger;
        to->room = room;
    }
    if (len) {
        memcpy(to->ptr + to->len, bytes, len);
        to->len += len;
    }
}

void text_say(text *to, const char *words) {
    text_add(to, words, strlen(words));
}

void text_number(text *to, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, number);
    text_say(to, digits);
}

void text_set(text *to, micro_slice bytes) {
    to->len = 0;
    text_add(to, bytes.ptr, bytes.len);
}

void text_free(text *of) {
    free(of->ptr);
    *of = (text){ 0 };
}

micro_slice slice_of(const char *words) {
    return (micro_slice){ (const uint8_t *)words, strlen(words) };
}

micro_slice slice_in(const text *of) {
    return (micro_slice){ of->ptr, of->len };
}

int slice_compare(micro_slice a, micro_slice b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool text_is(const text *of, micro_slice bytes) {
    return slice_compare(slice_in(of), bytes) == 0;
}

bool slice_is(micro_slice slice, const char *words) {
    return slice.len == strlen(words) && slice_begins(slice, words);
}

bool slice_begins(micro_slice slice, const char *words) {
    size_t len = strlen(words);
    return slice.len >= len && (len == 0 || memcmp(slice.ptr, words, len) == 0);
}

micro_slice slice_cut(micro_slice *rest, char mark) {
    const uint8_t *at = rest->len ? memchr(rest->ptr, mark, rest->len) : NULL;
    micro_slice first = { rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len };
    size_t gone = at ? first.len + 1 : first.len;
    *rest = (micro_slice){ gone ? rest->ptr + gone : rest->ptr, rest->len - gone };
    return first;
}

bool slice_number(micro_slice slice, uint64_t *number) {
    *number = 0;
    for (size_t n = 0; n < slice.len; n++) {
        unsigned digit = slice.ptr[n] - '0';
        if (digit > 9 || *number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *number = 10 * *number + digit;
    }
    return slice.len > 0;
}

micro_bytes lent(micro_slice slice) {
    return (micro_bytes){ slice.ptr, slice.len, NULL };
}
