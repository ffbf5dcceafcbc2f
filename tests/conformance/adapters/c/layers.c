#include "layers.h"

/* Whether the caller asked for this of the layer `of`. */
static bool asked(const turn *t, const char *what, micro_slice of) {
    micro_meta walk = { { t->call.meta.ptr, t->call.meta.len }, 0, 0 };
    micro_slice name, value;
    while (micro_meta_next(&walk, &name, &value)) {
        if (slice_is(name, what) && slice_compare(value, of) == 0) {
            return true;
        }
    }
    return false;
}

/* Goes on with the layers from `from` on, and with the handler last. */
static micro_error *go_on(turn *t, size_t from) {
    if (from == t->of->layers) {
        return act_on_plan(t);
    }
    micro_slice mine = slice_in(&t->of->layer[from]);
    micro_bytes headers = { 0 };
    micro_error *error = NULL;
    if (micro_meta_add(&headers, slice_of("layer"), mine, &error) == MICRO_OK) {
        micro_call_headers(house.runtime, t->call.id, (micro_slice){ headers.ptr, headers.len });
    }
    micro_bytes_release(headers);
    if (error) {
        return error;
    }
    if (asked(t, "refuse", mine)) {
        text why = { 0 };
        text_say(&why, "refused by ");
        text_add(&why, mine.ptr, mine.len);
        error = micro_error_new(MICRO_PERMISSION_DENIED, slice_of(""), slice_in(&why));
        text_free(&why);
        return error;
    }
    if (asked(t, "answer", mine)) {
        text_set(&t->payload, mine);
        return NULL;
    }
    error = go_on(t, from + 1);
    micro_meta_add(&t->trailers, slice_of("layer-end"), mine, NULL);
    return error;
}

micro_error *layers_around(turn *t) {
    return go_on(t, 0);
}
