/* Signals that the program has not asked for. */
#include "fleet.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __linux__
/* Threads of the library, and how many of them a broken connection would end the program from. */
static size_t threads_of_the_library(size_t *open_to_it) {
    size_t found = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[300], words[128];
        bool ours = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "r");
        while (status && fgets(words, sizeof words, status)) {
            ours |= strncmp(words, "Name:\tmicro-io", 14) == 0;
            if (ours && strncmp(words, "SigBlk:", 7) == 0) {
                found++;
                *open_to_it += (strtoull(words + 7, NULL, 16) >> (SIGPIPE - 1) & 1) == 0;
            }
        }
        if (status) {
            fclose(status);
        }
    }
    closedir(tasks);
    return found;
}

TEST(a_broken_connection_ends_no_program) {
    fleet f = fleet_new();
    fleet_greeter(&f);
    /* A thread has its name a moment after it begins. */
    const time_t patience = time(NULL) + 30;
    size_t found, open_to_it;
    do {
        open_to_it = 0;
        found = threads_of_the_library(&open_to_it);
    } while (found < 2 && time(NULL) < patience && sched_yield() == 0);
    CHECK(found >= 2);
    EQUAL(open_to_it, 0);
    /* The program's own threads are left as they were. */
    sigset_t mine;
    sigemptyset(&mine);
    EQUAL(pthread_sigmask(SIG_BLOCK, NULL, &mine), 0);
    EQUAL(sigismember(&mine, SIGPIPE), 0);
    fleet_end(&f);
}
#endif
