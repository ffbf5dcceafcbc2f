/* What all parts of the adapter share: a runtime, a queue, and one lock with one condition, since little happens at once. */
#ifndef HOUSE_H
#define HOUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "line.h"
#include "micro.h"

typedef struct {
    micro_runtime *runtime;
    micro_queue *queue;
} house_rooms;

extern house_rooms house;

void house_lock(void);
void house_unlock(void);
/* Waits, without the lock, until something has changed; false when `until` (of house_now) has passed. */
bool house_wait(uint64_t until);
/* Something has changed. */
void house_changed(void);
/* Nanoseconds since some time in the past. */
uint64_t house_now(void);
/* Runs `work(of)` on a thread of its own. */
void house_thread(void *(*work)(void *of), void *of);

/* A role: what it does with a request and with an event. It may keep what an event holds by emptying the field. */
typedef struct {
    void (*request)(const line *request);
    void (*event)(micro_event *event);
} role;

extern const role server_role, client_role;

#endif
