/* Text that grows, and slices of it. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "micro.h"

/* Bytes that grow; begins as `{ 0 }` and ends with text_free. */
typedef struct {
    uint8_t *ptr;
    size_t len, room;
} text;

/* Memory of zeros; the program ends when there is none. */
void *grab(size_t size);

void text_add(text *to, const void *bytes, size_t len);
void text_say(text *to, const char *words);
void text_number(text *to, uint64_t number);
/* In place of what it holds. */
void text_set(text *to, micro_slice bytes);
void text_free(text *of);

micro_slice slice_of(const char *words);
micro_slice slice_in(const text *of);
/* As strcmp does. */
int slice_compare(micro_slice a, micro_slice b);
bool text_is(const text *of, micro_slice bytes);
bool slice_is(micro_slice slice, const char *words);
bool slice_begins(micro_slice slice, const char *words);
/* Cuts off what comes before `mark`, all of it where there is none. */
micro_slice slice_cut(micro_slice *rest, char mark);
/* False for what is no number. */
bool slice_number(micro_slice slice, uint64_t *number);
/* Bytes that are lent to the library for a call. */
micro_bytes lent(micro_slice slice);

#endif
