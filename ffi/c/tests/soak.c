/* Very many calls, some of them cancelled: neither memory nor threads grow. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fleet.h"

/* A line of /proc/self/status, in its own unit. */
static long status_of(const char *name) {
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    char line[256];
    long value = -1;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            value = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    fclose(file);
    CHECK(value > 0);
    return value;
}

static size_t descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    size_t count = 0;
    while (readdir(folder)) {
        count++;
    }
    closedir(folder);
    return count;
}

/* Makes calls, 64 at a time; every eighth is cancelled, every eighth refused by its handler. */
static void make(fleet *f, micro_client *client, size_t calls) {
    size_t begun = 0, ended = 0, well = 0, failed = 0;
    while (ended < calls) {
        for (; begun < calls && begun - ended < 64; begun++) {
            micro_id id = fleet_call(f, client, "Ada Lovelace", begun);
            if (begun % 8 == 3) {
                micro_status status = micro_cancel(f->runtime, id);
                CHECK(status == MICRO_OK || status == MICRO_STALE);
            }
        }
        micro_event events[64];
        size_t got = micro_queue_wait(f->queue, events, sizeof *events, 64, PATIENCE);
        CHECK(got > 0);
        for (size_t n = 0; n < got; n++) {
            micro_event *event = &events[n];
            if (event->kind == MICRO_EVENT_CALL) {
                bool fails = event->id / 16 % 8 == 5;
                micro_bytes answer = fails ? lent("not today") : event->payload;
                if (!fails) {
                    event->payload = nothing();
                }
                micro_status status = micro_reply(f->runtime, event->id, fails ? MICRO_ABORTED : MICRO_OK, answer, S(""));
                CHECK(status == MICRO_OK || status == MICRO_STALE);
            } else if (event->kind == MICRO_EVENT_REPLY) {
                ended++;
                well += event->status == MICRO_OK;
                failed += event->status == MICRO_ABORTED;
            }
            micro_event_release(event);
        }
    }
    CHECK(well > calls / 2 && failed > 0);
}

TEST(a_million_calls_leave_nothing_behind) {
    const char *wanted = getenv("MICRO_C_CALLS");
    size_t calls = wanted ? strtoul(wanted, NULL, 10) : 50000;
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "\"retries\": 0, \"timeout\": \"60s\"");
    make(&f, client, calls / 10);
    long memory = status_of("VmRSS"), threads = status_of("Threads");
    size_t open = descriptors();
    uint64_t begun = now();
    make(&f, client, calls);
    long grown = status_of("VmRSS") - memory;
    fprintf(stderr, "%zu calls in %.1f s; %ld KiB, %+ld KiB since the first tenth; %ld threads\n", calls,
            (double)(now() - begun) / 1e9, memory, grown, threads);
    /* Sanitizers keep freed memory aside. */
    CHECK(SLOW || grown < 8 * 1024);
    EQUAL(status_of("Threads"), threads);
    EQUAL(descriptors(), open);
    EQUAL(micro_debug_live(MICRO_LIVE_OPERATION), 1); /* the service */
    EQUAL(micro_debug_live(MICRO_LIVE_BYTES), 0);
    EQUAL(micro_debug_live(MICRO_LIVE_ERROR), 0);
    micro_client_free(client);
    fleet_end(&f);
}
