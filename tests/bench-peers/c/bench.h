/* What the programs under measurement share: options, text, the time, and the way out. */
#ifndef BENCH_H
#define BENCH_H

#include <micro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Events drained at a time. */
#define BATCH 256

static inline micro_slice text(const char *text)
{
    return (micro_slice){(const uint8_t *)text, strlen(text)};
}

/* The value behind an option of the command line, or NULL. */
static inline const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

static inline int number(int argc, char **argv, const char *name, int otherwise)
{
    const char *value = option(argc, argv, name);
    return value ? atoi(value) : otherwise;
}

static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Ends the program, saying why, unless all is well. */
static inline void expect(micro_status status, micro_error *error, const char *what)
{
    if (status == MICRO_OK)
        return;
    micro_slice message = micro_error_message(error), name = micro_status_name(status);
    fprintf(stderr, "%s: %.*s %.*s\n", what, (int)name.len, (const char *)name.ptr, (int)message.len,
            (const char *)message.ptr);
    exit(1);
}

/* A runtime with as many workers as the command line says, and its queue. */
static inline micro_runtime *begin(int argc, char **argv, micro_queue **queue)
{
    char json[64];
    snprintf(json, sizeof json, "{\"workers\":%d}", number(argc, argv, "--workers", 1));
    micro_options options = {.size = sizeof options, .json = text(json)};
    micro_runtime *runtime = NULL;
    micro_error *error = NULL;
    expect(micro_runtime_new(&options, &runtime, &error), error, "runtime");
    expect(micro_queue_new(runtime, 0, queue, &error), error, "queue");
    return runtime;
}

#endif
