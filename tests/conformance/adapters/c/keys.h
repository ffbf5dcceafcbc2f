/* What happened to the calls of each key, and the gates that some of them wait at. The caller holds the lock of the house. */
#ifndef KEYS_H
#define KEYS_H

#include "text.h"

typedef struct key {
    text name;
    uint64_t calls, received, sent, cancelled;
    bool open;
    struct key *next;
} key;

/* Keys live as long as the process. */
key *key_of(micro_slice name);

#endif
