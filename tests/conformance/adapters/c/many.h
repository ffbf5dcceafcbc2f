/* Many calls of one kind, some of them at a time. All of it is used under the lock of the house. */
#ifndef MANY_H
#define MANY_H

#include "house.h"

typedef struct many many;

many *many_new(const line *request);
void many_free(many *of);
/* Begins as many calls as may be under way, with this token; true when all have ended. */
bool many_go_on(many *of, micro_client *client, uint64_t token);
/* Counts how a call ended. */
void many_count(many *of, const micro_event *reply);
void many_cancel(many *of);
/* No call is under way. */
bool many_idle(const many *of);
/* What was counted. */
void many_tell(const many *of, text *line);

#endif
