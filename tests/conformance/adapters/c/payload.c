#include "payload.h"

#include <string.h>

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void payload_make(text *to, uint64_t size, uint64_t fill) {
    to->len = 0;
    for (uint64_t n = 0; n < size; n++) {
        uint8_t byte = (uint8_t)(fill + n);
        text_add(to, &byte, 1);
    }
}

uint32_t payload_sum(micro_slice message) {
    uint32_t low = 1, high = 0;
    for (size_t n = 0; n < message.len; n++) {
        low = (low + message.ptr[n]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

static bool is_bytes(micro_slice name) {
    return name.len > 4 && memcmp(name.ptr + name.len - 4, "-bin", 4) == 0;
}

text metadata_shown(micro_slice name, micro_slice value) {
    text shown = { 0 };
    if (!is_bytes(name)) {
        text_set(&shown, value);
        return shown;
    }
    for (size_t n = 0; n < value.len; n += 3) {
        size_t bytes = value.len - n < 3 ? value.len - n : 3;
        uint32_t group = 0;
        for (size_t at = 0; at < 3; at++) {
            group = group << 8 | (at < bytes ? value.ptr[n + at] : 0);
        }
        for (size_t at = 0; at <= bytes; at++) {
            text_add(&shown, LETTERS + (group >> (18 - 6 * at) & 63), 1);
        }
    }
    return shown;
}

micro_status metadata_add(micro_bytes *block, micro_slice name, micro_slice shown, micro_error **err) {
    if (!is_bytes(name)) {
        return micro_meta_add(block, name, shown, err);
    }
    text value = { 0 };
    uint32_t group = 0;
    unsigned bits = 0;
    for (size_t n = 0; n < shown.len; n++) {
        const char *letter = shown.ptr[n] ? strchr(LETTERS, shown.ptr[n]) : NULL;
        if (!letter) {
            break; /* what fills up the last group */
        }
        group = group << 6 | (uint32_t)(letter - LETTERS);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            uint8_t byte = (uint8_t)(group >> bits);
            text_add(&value, &byte, 1);
        }
    }
    micro_status status = micro_meta_add(block, name, slice_in(&value), err);
    text_free(&value);
    return status;
}
