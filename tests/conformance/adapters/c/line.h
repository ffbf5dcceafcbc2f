/* Lines of the conversation with the runner. */
#ifndef LINE_H
#define LINE_H

#include "text.h"

/* A request. Its slices are in memory of its own. */
typedef struct {
    text words;
    micro_slice verb;
    struct field {
        micro_slice name, value;
    } *fields;
    size_t count;
} line;

/* False for what is no line; to be freed all the same. */
bool line_read(line *out, const char *words, size_t len);
void line_free(line *of);
/* The first value of a name; empty where there is none. */
micro_slice line_get(const line *of, const char *name);
bool line_has(const line *of, const char *name);
uint64_t line_number(const line *of, const char *name, uint64_t otherwise);
/* The message a request carries or describes. */
text line_payload(const line *of);
/* The bytes behind percent signs, added to `to`; false where one is followed by no number. */
bool decode(micro_slice from, text *to);

/* An answer: begun, filled, and told at once. */
text answer(const char *verb);
text answer_to(const char *verb, uint64_t id);
void with(text *to, const char *name, micro_slice value);
void with_number(text *to, const char *name, uint64_t number);
/* As `with`, under two words that are one name. */
void with_part(text *to, const char *prefix, micro_slice name, micro_slice value);
void with_payload(text *to, micro_slice message);
/* What a failure says; of `error`, when there is one. */
void with_failure(text *to, micro_status status, const micro_error *error);
/* Headers, then trailers. */
void with_metadata(text *to, micro_slice blocks);
/* Writes it and frees it; from any thread. */
void tell(text *line);
void tell_ok(uint64_t id);
/* `failed`; frees the error. */
void tell_failed(uint64_t id, micro_status status, micro_error *error);

#endif
