/* Lists and runs the tests of the other files. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micro.h"

typedef struct {
    char name[120];
    test_fn run;
} test;

static test tests[256];
static size_t count;

void test_add(const char *file, const char *name, test_fn run) {
    const char *base = strrchr(file, '/');
    base = base ? base + 1 : file;
    if (count < sizeof tests / sizeof *tests) {
        snprintf(tests[count].name, sizeof tests[count].name, "%.*s::%s", (int)strcspn(base, "."), base, name);
        tests[count++].run = run;
    }
}

void test_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    /* Without cleaning up: threads of the library may be at work. */
    fflush(stderr);
    _Exit(1);
}

void test_equal(const char *file, int line, const char *what, long long got, long long wanted) {
    if (got != wanted) {
        char text[256];
        snprintf(text, sizeof text, "%.200s is %lld, not %lld", what, got, wanted);
        test_fail(file, line, text);
    }
}

void test_text(const char *file, int line, const char *what, const void *got, size_t length, const char *wanted) {
    if (length != strlen(wanted) || (length && memcmp(got, wanted, length) != 0)) {
        char text[1024];
        int shown = length < 400 ? (int)length : 400;
        snprintf(text, sizeof text, "%.100s is \"%.*s\", not \"%.300s\"", what, shown, got ? (const char *)got : "", wanted);
        test_fail(file, line, text);
    }
}

void test_holds(const char *file, int line, const char *what, const void *got, size_t length, const char *part) {
    if (!got || !memmem(got, length, part, strlen(part))) {
        char text[2048];
        int shown = length < 1200 ? (int)length : 1200;
        snprintf(text, sizeof text, "%.100s is \"%.*s\", without \"%.300s\"", what, shown, got ? (const char *)got : "", part);
        test_fail(file, line, text);
    }
}

static void nothing_is_left(void) {
    static const char *const kinds[] = { "things", "runtimes", "queues", "clients", "servers", "operations", "calls", "bytes", "errors" };
    for (uint32_t kind = MICRO_LIVE_ERROR; micro_debug_live(MICRO_LIVE_ALL) != 0 && kind > 0; kind--) {
        if (micro_debug_live(kind) != 0) {
            fprintf(stderr, "%llu %s are left\n", (unsigned long long)micro_debug_live(kind), kinds[kind]);
        }
    }
    EQUAL(micro_debug_live(MICRO_LIVE_ALL), 0);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t n = 0; n < count; n++) {
            puts(tests[n].name);
        }
        return 0;
    }
    for (size_t n = 0; argc == 2 && n < count; n++) {
        if (strcmp(argv[1], tests[n].name) == 0) {
            EQUAL(micro_abi_check(MICRO_ABI_MAJOR << 16 | MICRO_ABI_MINOR, sizeof(micro_event), sizeof(micro_request)), MICRO_OK);
            /* One that hangs is killed. */
            alarm(SLOW ? 900 : 300);
            tests[n].run();
            nothing_is_left();
            return 0;
        }
    }
    fprintf(stderr, "usage: %s --list | TEST\n", argv[0]);
    return 2;
}
