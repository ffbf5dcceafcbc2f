#include "operation.h"

#include <stdlib.h>

#include "many.h"

operation *operations;

operation *operation_new(uint64_t id, operation_kind kind) {
    operation *made = grab(sizeof *made);
    made->id = id;
    made->kind = kind;
    made->begun = house_now();
    made->next = operations;
    operations = made;
    return made;
}

operation *operation_of(uint64_t id) {
    operation *found = operations;
    while (found && found->id != id) {
        found = found->next;
    }
    return found;
}

void operation_free(operation *of) {
    operation **place = &operations;
    while (*place != of) {
        place = &(*place)->next;
    }
    *place = of->next;
    many_free(of->many);
    text_free(&of->reply);
    text_free(&of->headers);
    free(of);
}

void operation_cancel(operation *of) {
    of->cancelled = true;
    if (of->many) {
        many_cancel(of->many);
    } else {
        micro_cancel(house.runtime, of->micro);
    }
}

static void taken(operation *of, const char *verb) {
    sending *first = of->sends;
    of->sends = first->next;
    if (!first->close) {
        text line = answer_to(verb, of->id);
        tell(&line);
    }
    text_free(&first->message);
    free(first);
}

void operation_pump(operation *of) {
    while (of->sends) {
        sending *first = of->sends;
        micro_status status = MICRO_OK;
        if (first->close) {
            micro_stream_close(house.runtime, of->micro);
        }
        for (; first->left && status == MICRO_OK; first->left -= status == MICRO_OK) {
            status = micro_stream_send(house.runtime, of->micro, lent(slice_in(&first->message)), 0);
        }
        if (status == MICRO_FULL) {
            return; /* until there is room */
        }
        taken(of, status == MICRO_OK ? "sent" : "unsent");
    }
}

void operation_send(operation *of, const line *request) {
    sending *made = grab(sizeof *made), **last = &of->sends;
    made->close = slice_is(request->verb, "close");
    if (!made->close) {
        made->message = line_payload(request);
        made->left = line_number(request, "count", 1);
    }
    while (*last) {
        last = &(*last)->next;
    }
    *last = made;
    if (of->sends == made) {
        operation_pump(of);
    }
}

void operation_unsent(operation *of) {
    while (of->sends) {
        taken(of, "unsent");
    }
}
