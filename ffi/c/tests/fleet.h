/* A runtime, a queue, and clients and services that meet in memory only. */
#ifndef FLEET_H
#define FLEET_H

#include <string.h>

#include "micro.h"
#include "test.h"

#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)
/* Longest wait for anything; tests that wait that long have failed. */
#define PATIENCE ((SLOW ? 120 : 30) * SECOND)

typedef struct {
    micro_runtime *runtime;
    micro_queue *queue;
    /* Members of JSON options by which clients and services meet. */
    char meet[120];
    /* Events that came while others were waited for. */
    micro_event *aside;
    size_t held, room;
} fleet;

static inline micro_slice S(const char *text) {
    return (micro_slice){ (const uint8_t *)text, strlen(text) };
}

/* Text lent to a function that takes bytes. */
static inline micro_bytes lent(const char *text) {
    return (micro_bytes){ (const uint8_t *)text, strlen(text), NULL };
}

static inline micro_bytes nothing(void) {
    return (micro_bytes){ NULL, 0, NULL };
}

/* Of a micro_bytes: what it holds, borrowed. */
static inline micro_slice view(micro_bytes bytes) {
    return (micro_slice){ bytes.ptr, bytes.len };
}

static inline micro_options options_of(const char *json) {
    return (micro_options){ .size = sizeof(micro_options), .json = S(json) };
}

/* A question; its arguments are JSON. */
static inline micro_question question_of(uint32_t operation, const char *args) {
    return (micro_question){ .size = sizeof(micro_question), .operation = operation, .args = S(args) };
}

fleet fleet_new(void);
/* Another queue on the same runtime, whose clients and services meet those of the other. */
fleet fleet_beside(const fleet *other);
/* Another runtime, whose clients and services meet those of the other. */
fleet fleet_apart(const fleet *other);
/* `more` are further members of the options, or "". */
micro_client *fleet_client(const fleet *f, const char *more);
/* Starts a service with token 100 and waits until it has. Endpoints are pairs of a name and a kind; NULL ends them. */
micro_server *fleet_serve(fleet *f, const char *service, const char *more, ...);
/* A greeter with the unary Greeter.Hello, freed but running. */
void fleet_greeter(fleet *f);

/* A call of Greeter.Hello. */
micro_request hello(const char *payload);
micro_id fleet_call(const fleet *f, micro_client *client, const char *payload, uint64_t token);
micro_id fleet_submit(const fleet *f, micro_client *client, const micro_request *request, uint64_t token);

/* Asks a question with no more than arguments, which is accepted. */
void fleet_ask(const fleet *f, micro_client *client, uint32_t operation, const char *args, uint64_t token);

micro_event fleet_any(fleet *f);
/* The next event of the kind; others are for later. */
micro_event fleet_next(fleet *f, uint16_t kind);
/* As fleet_next; the event is released, and has this status. */
void fleet_ends(fleet *f, uint16_t kind, micro_status status);
/* Nothing comes for a moment. */
bool fleet_quiet(fleet *f);
/* Waits until something is in the queue, without taking it. */
void fleet_wait_for_something(const fleet *f);

/* Frees the runtime, the queue and all events. */
void fleet_end(fleet *f);
/* Only the queue and its events, of fleet_beside. */
void fleet_end_beside(fleet *f);

uint64_t now(void);

#endif
