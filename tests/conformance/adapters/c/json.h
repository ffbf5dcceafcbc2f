/* A reader for documents the library makes, which are well formed. */
#ifndef JSON_H
#define JSON_H

#include "text.h"

/* A member of an object as it stands there; empty where there is none. */
micro_slice json_member(micro_slice object, const char *name);
/* The next item of an array, which begins as the whole array; false after the last. */
bool json_item(micro_slice *array, micro_slice *item);
/* The characters of a string; empty for everything else. */
text json_text(micro_slice value);

#endif
