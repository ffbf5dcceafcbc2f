/* Calls that came in: one interpreter of plans behind every endpoint. */
#ifndef TURN_H
#define TURN_H

#include "house.h"
#include "keys.h"

/* A service, which lives until it has ended and so have its calls. */
typedef struct service {
    micro_server *server;
    micro_client *client;
    text name, tag;
    /* Names of functions around its handlers, the outermost first. */
    text layer[8];
    size_t layers;
    /* Requests to answer. */
    uint64_t starting, stopping;
    /* The one whose end is the service's own; 0 until it has started. */
    micro_id operation;
    size_t users;
    /* The number of its first job. */
    uint32_t jobs;
} service;

/* Endpoints in the order of their numbers. */
/* Those of subscribers follow. */
enum { ECHO, DO, COUNT, SUM, CHAT, ENDPOINTS };

/* Begins to handle a call, which is taken out of the event. */
void turn_begin(service *of, micro_event *call);
/* Hands what the queue says to the call it is about; false when it is about none that is handled. */
bool turn_told(micro_event *event);
/* The client that calls in its name, which lives as long as it does; NULL with an error. */
micro_client *service_client(service *of, micro_error **err);
/* One user less; under the lock. */
void service_leave(service *of);

#endif
