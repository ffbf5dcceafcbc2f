#include "watches.h"

#include <stdlib.h>

/* Changes that one watch may be behind. */
enum { FURTHEST_BEHIND = 1024 };

typedef struct change {
    text document;
    struct change *next;
} change;

typedef struct watch {
    micro_id call;
    text service;
    /* What the library did not take yet. */
    change *waiting, **last;
    size_t behind;
    struct watch *next;
} watch;

static watch **place_of(watches *of, micro_id call) {
    watch **place = &of->first;
    while (*place && (*place)->call != call) {
        place = &(*place)->next;
    }
    return place;
}

static void shift(watch *w) {
    change *gone = w->waiting;
    w->waiting = gone->next;
    w->last = w->waiting ? w->last : &w->waiting;
    w->behind--;
    text_free(&gone->document);
    free(gone);
}

static void end(watch **place) {
    watch *gone = *place;
    *place = gone->next;
    while (gone->waiting) {
        shift(gone);
    }
    text_free(&gone->service);
    free(gone);
}

/* Sends what waits for as long as it is taken. */
static void pump(const watches *of, watch *w) {
    while (w->waiting &&
           micro_stream_send(of->runtime, w->call, lent(slice_in(&w->waiting->document)), 0) != MICRO_FULL) {
        shift(w);
    }
}

void watches_begin(watches *of, micro_id call, micro_slice service) {
    watch *made = grab(sizeof *made);
    made->call = call;
    made->last = &made->waiting;
    text_set(&made->service, service);
    made->next = of->first;
    of->first = made;
    /* Says that every change from now on is told. */
    micro_stream_send(of->runtime, call, lent(slice_of("")), 0);
}

void watches_tell(watches *of, micro_slice service, micro_slice document) {
    for (watch **place = &of->first; *place;) {
        watch *w = *place;
        if (w->service.len && !text_is(&w->service, service)) {
            place = &w->next;
            continue;
        }
        change *made = grab(sizeof *made);
        text_set(&made->document, document);
        *w->last = made;
        w->last = &made->next;
        w->behind++;
        pump(of, w);
        if (w->behind <= FURTHEST_BEHIND) {
            place = &w->next;
            continue;
        }
        /* Its reader begins anew. */
        micro_error *error = micro_error_new(MICRO_ABORTED, slice_of(""), slice_of("this watch fell too far behind: watch again"));
        micro_reply_error(of->runtime, w->call, error, slice_of(""));
        micro_error_free(error);
        end(place);
    }
}

void watches_writable(watches *of, micro_id call) {
    watch *w = *place_of(of, call);
    if (w) {
        pump(of, w);
    }
}

void watches_end(watches *of, micro_id call) {
    watch **place = place_of(of, call);
    if (*place) {
        end(place);
    }
}

void watches_free(watches *of) {
    while (of->first) {
        end(&of->first);
    }
}
