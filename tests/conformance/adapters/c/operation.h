/* What a client has under way. All of it is used under the lock of the house. */
#ifndef OPERATION_H
#define OPERATION_H

#include "house.h"

struct many;

/* Streams have the numbers of the library. */
typedef enum {
    CALL = MICRO_UNARY,
    CLIENT_STREAM = MICRO_CLIENT_STREAM,
    SERVER_STREAM = MICRO_SERVER_STREAM,
    BIDI_STREAM = MICRO_BIDI_STREAM,
    MANY,
    QUESTION,
    WATCH,
    PUBLISH,
    /* A task that is sent, and one whose answer is asked for. */
    TASK,
    ANSWER
} operation_kind;

/* What a stream is to send, or that it is to send no more. */
typedef struct sending {
    text message;
    uint64_t left;
    bool close;
    struct sending *next;
} sending;

typedef struct operation {
    /* Of the request that began it, and the token of its events. */
    uint64_t id;
    operation_kind kind;
    micro_id micro;
    uint64_t begun;
    bool cancelled;
    /* The headers of a stream, and whether they are to be told. */
    bool has_headers, wants_headers;
    text headers;
    /* Of calls and client streams. */
    bool has_reply;
    text reply;
    sending *sends;
    struct many *many;
    struct operation *next;
} operation;

extern operation *operations;

operation *operation_new(uint64_t id, operation_kind kind);
operation *operation_of(uint64_t id);
void operation_free(operation *of);
void operation_cancel(operation *of);
/* Sends what a request says once everything before it was taken. */
void operation_send(operation *of, const line *request);
/* Sends as much as is taken. */
void operation_pump(operation *of);
/* Says of everything that was not taken that it never will be. */
void operation_unsent(operation *of);

#endif
