/*
 * Named tests, one process each: TEST(name) { ... }. `suite --list` names them, `suite NAME` runs one. After it, whatever the
 * library counts as alive must be gone.
 */
#ifndef TEST_H
#define TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*test_fn)(void);

void test_add(const char *file, const char *name, test_fn run);
void test_fail(const char *file, int line, const char *what);
void test_equal(const char *file, int line, const char *what, long long got, long long wanted);
void test_text(const char *file, int line, const char *what, const void *got, size_t length, const char *wanted);
void test_holds(const char *file, int line, const char *what, const void *got, size_t length, const char *part);

#define TEST(name) \
    static void name(void); \
    __attribute__((constructor)) static void name##_is_a_test(void) { test_add(__FILE__, #name, name); } \
    static void name(void)

/* Each ends the test with a message when it does not hold. */
#define CHECK(what) ((what) ? (void)0 : test_fail(__FILE__, __LINE__, #what))
#define EQUAL(got, wanted) test_equal(__FILE__, __LINE__, #got, (long long)(got), (long long)(wanted))
/* Of a micro_slice or micro_bytes: it is this text; it has this text in it. */
#define SAYS(got, wanted) test_text(__FILE__, __LINE__, #got, (got).ptr, (got).len, wanted)
#define HOLDS(got, part) test_holds(__FILE__, __LINE__, #got, (got).ptr, (got).len, part)

/* True under a sanitizer that makes everything many times slower. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOW 1
#else
#define SLOW 0
#endif

#endif
