/* The watches of a registry: questions that are answered by messages for as long as they are asked. */
#ifndef WATCHES_H
#define WATCHES_H

#include "text.h"

/* Begins as `{ runtime, NULL }` and ends with watches_free. */
typedef struct {
    micro_runtime *runtime;
    struct watch *first;
} watches;

/* A watch of one service, or of all when that is empty. */
void watches_begin(watches *of, micro_id call, micro_slice service);
/* Tells of a change of a service to the watches that it is for. */
void watches_tell(watches *of, micro_slice service, micro_slice change);
/* The library takes messages of a watch again. */
void watches_writable(watches *of, micro_id call);
void watches_end(watches *of, micro_id call);
void watches_free(watches *of);

#endif
