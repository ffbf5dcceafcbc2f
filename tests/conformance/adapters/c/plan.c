#include "plan.h"

#include <stdlib.h>

#include "line.h"

bool plan_read(plan *out, micro_slice words) {
    plan_free(out);
    out->actions = grab((words.len + 1) * sizeof *out->actions);
    while (words.len) {
        micro_slice value = slice_cut(&words, ';');
        micro_slice name = slice_cut(&value, '=');
        if (name.len) {
            struct action *next = out->actions + out->count++;
            next->name = name;
            if (!decode(value, &next->value)) {
                return false;
            }
        }
    }
    return true;
}

void plan_free(plan *of) {
    for (size_t n = 0; n < of->count; n++) {
        text_free(&of->actions[n].value);
    }
    free(of->actions);
    *of = (plan){ 0 };
}

micro_slice plan_before(const plan *of, size_t at, const char *name) {
    while (at-- > 0) {
        if (slice_is(of->actions[at].name, name)) {
            return slice_in(&of->actions[at].value);
        }
    }
    return slice_of("");
}
