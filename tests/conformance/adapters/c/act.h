/* A call that is handled, and what its plan makes it do. */
#ifndef ACT_H
#define ACT_H

#include "plan.h"
#include "turn.h"

typedef struct message {
    micro_bytes bytes;
    struct message *next;
} message;

/* One call being handled. */
typedef struct turn {
    micro_event call;
    service *of;
    uint64_t begun;
    plan todo;
    key *key;
    text payload;
    micro_bytes trailers;
    uint64_t received;
    /* The rest is what the queue said; under the lock. */
    message *first, **last;
    /* Why its requests ended, if not well. */
    micro_error *broken;
    bool ended, cancelled, writable;
    struct turn *next;
} turn;

/* Does what the plan of the call says, then receives the messages that are left; the error it ends with, or NULL. */
micro_error *act_on_plan(turn *t);
/* Tells the runner that something has happened to the call. */
void act_event(const turn *t, const char *name);
bool act_streams_replies(const turn *t);

#endif
