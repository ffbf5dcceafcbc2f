/* What a handler is told to do: `action=value;action;action=value`. */
#ifndef PLAN_H
#define PLAN_H

#include "text.h"

typedef struct {
    struct action {
        /* In the metadata of the call. */
        micro_slice name;
        text value;
    } *actions;
    size_t count;
} plan;

/* False when a value cannot be read; to be freed all the same. */
bool plan_read(plan *out, micro_slice words);
void plan_free(plan *of);
/* The value of the last action of this name before number `at`; empty where there is none. */
micro_slice plan_before(const plan *of, size_t at, const char *name);

#endif
