/* A process that forks with live clients and services on both sides: the child is told, never hangs, and can begin anew. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fleet.h"

/* The allocator of AddressSanitizer does not survive every fork of many threads: a child may wait for a lock of it that a thread
 * of its parent had. That says nothing of the library, which the build without it forks ten times as often. */
#ifdef __SANITIZE_ADDRESS__
enum { IN_FLIGHT = 8, LONGEST_CHILD = 60, MOST_STUCK = 1 };
#else
enum { IN_FLIGHT = 8, LONGEST_CHILD = SLOW ? 240 : 20, MOST_STUCK = 0 };
#endif

typedef struct {
    fleet *f;
    micro_client *client;
    atomic_bool stop;
} traffic;

/* Keeps calls of the process to itself under way. */
static void *keep_calling(void *data) {
    traffic *t = data;
    fleet *f = t->f;
    size_t under_way = 0;
    while (!atomic_load(&t->stop) || under_way > 0) {
        for (; under_way < IN_FLIGHT && !atomic_load(&t->stop); under_way++) {
            fleet_call(f, t->client, "Ada", 1);
        }
        micro_event event = fleet_any(f);
        if (event.kind == MICRO_EVENT_CALL) {
            EQUAL(micro_reply(f->runtime, event.id, MICRO_OK, event.payload, S("")), MICRO_OK);
            event.payload = nothing();
        } else {
            EQUAL(event.kind, MICRO_EVENT_REPLY);
            EQUAL(event.status, MICRO_OK);
            under_way--;
        }
        micro_event_release(&event);
    }
    return NULL;
}

static void given_back(void *ctx) {
    ++*(int *)ctx;
}

static void never(void *ctx, micro_event *event) {
    (void)ctx;
    (void)event;
    test_fail(__FILE__, __LINE__, "no event of the parent is the child's");
}

/* Every function says so, and frees do nothing. */
static void is_refused(fleet *f, micro_client *client, micro_server *server, micro_error *error) {
    micro_event event;
    micro_queue *queue = NULL;
    micro_client *made = NULL;
    micro_server *served = NULL;
    micro_bytes out = nothing();
    micro_request request = hello("Ada");
    micro_error *err = NULL;
    int drops = 0;
    EQUAL(micro_queue_new(f->runtime, 0, &queue, &err), MICRO_FORKED);
    HOLDS(micro_error_message(err), "forked");
    micro_error_free(err);
    EQUAL(micro_client_new(f->runtime, NULL, &made, NULL), MICRO_FORKED);
    EQUAL(micro_server_new(f->runtime, S("x"), NULL, &served, NULL), MICRO_FORKED);
    CHECK(!queue && !made && !served);
    EQUAL(micro_client_call(client, f->queue, &request, 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_client_open(client, f->queue, &request, MICRO_SERVER_STREAM, 1, NULL, NULL), MICRO_FORKED);
    micro_question question = question_of(MICRO_CLIENT_STATS, "");
    EQUAL(micro_ask(client, f->queue, &question, 1, NULL, NULL), MICRO_FORKED);
    question.operation = MICRO_REGISTRY_WATCH;
    EQUAL(micro_follow(client, f->queue, &question, 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_provide(f->runtime, MICRO_AREA_REGISTRY, S("mine"), f->queue, 1, NULL, NULL), MICRO_FORKED);
    EQUAL(micro_server_method(server, S("X.Y"), MICRO_UNARY, S(""), NULL, NULL), MICRO_FORKED);
    EQUAL(micro_server_start(server, f->queue, 1, NULL), MICRO_FORKED);
    EQUAL(micro_server_stop(server), MICRO_FORKED);
    EQUAL(micro_server_health(server, S(""), true), MICRO_FORKED);
    EQUAL(micro_server_client(server, &made, NULL), MICRO_FORKED);
    EQUAL(micro_cancel(f->runtime, 1), MICRO_FORKED);
    EQUAL(micro_reply(f->runtime, 1, MICRO_OK, nothing(), S("")), MICRO_FORKED);
    EQUAL(micro_reply_error(f->runtime, 1, error, S("")), MICRO_FORKED);
    EQUAL(micro_call_headers(f->runtime, 1, S("")), MICRO_FORKED);
    EQUAL(micro_call_send_headers(f->runtime, 1), MICRO_FORKED);
    EQUAL(micro_call_describe(f->runtime, 1, &out), MICRO_FORKED);
    EQUAL(micro_stream_send(f->runtime, 1, nothing(), 0), MICRO_FORKED);
    EQUAL(micro_stream_close(f->runtime, 1), MICRO_FORKED);
    EQUAL(micro_stream_grant(f->runtime, 1, 1), MICRO_FORKED);
    EQUAL(micro_debug_panic(f->runtime, f->queue, 1), MICRO_FORKED);
    EQUAL(micro_runtime_shutdown(f->runtime, 0), MICRO_FORKED);
    EQUAL(micro_queue_fd(f->queue), -1);
    EQUAL(micro_queue_length(f->queue), 0);
    EQUAL(micro_queue_age(f->queue), 0);
    EQUAL(micro_queue_drain(f->queue, &event, sizeof event, 1), 0);
    EQUAL(micro_queue_wait(f->queue, &event, sizeof event, 1, MICRO_NO_TIMEOUT), 0);
    EQUAL(micro_queue_set_wake(f->queue, given_back, &drops, given_back), MICRO_FORKED);
    EQUAL(drops, 1);
    EQUAL(micro_queue_run(f->queue, 2, never, &drops, given_back, NULL), MICRO_FORKED);
    EQUAL(drops, 2);
    EQUAL(micro_queue_close(f->queue), MICRO_FORKED);
    CHECK(out.own == NULL && made == NULL);
    /* Twice, because they are still there. */
    for (int n = 0; n < 2; n++) {
        micro_client_free(client);
        micro_server_free(server);
        micro_queue_free(f->queue);
        micro_runtime_free(f->runtime);
    }
}

static void begins_anew(void) {
    uint64_t before = micro_debug_live(MICRO_LIVE_ALL);
    fleet f = fleet_new();
    fleet_greeter(&f);
    micro_client *client = fleet_client(&f, "");
    fleet_call(&f, client, "Ada", 1);
    micro_event call = fleet_next(&f, MICRO_EVENT_CALL);
    EQUAL(micro_reply(f.runtime, call.id, MICRO_OK, lent("Hello"), S("")), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_REPLY, MICRO_OK);
    micro_event_release(&call);
    micro_client_free(client);
    fleet_end(&f);
    EQUAL(micro_debug_live(MICRO_LIVE_ALL), before);
}

/* Waits for a child, and fails when it did not end well; one that hangs kills itself by its alarm. */
static void ends_well(pid_t child, int round) {
    static int stuck = 0;
    int status = 0;
    EQUAL(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM && stuck < MOST_STUCK) {
        fprintf(stderr, "round %d: the child was stuck, number %d\n", round, ++stuck);
        return;
    }
    if (status != 0) {
        fprintf(stderr, "round %d: the child ended with %s %d\n", round, WIFSIGNALED(status) ? "signal" : "code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        test_fail(__FILE__, __LINE__, "the child failed");
    }
}

TEST(a_thousand_forks_under_traffic) {
    const int rounds = SLOW ? 100 : 1000;
    fleet f = fleet_new();
    micro_server *server = fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_UNARY, NULL);
    micro_client *client = fleet_client(&f, "");
    micro_error *error = micro_error_new(MICRO_NOT_FOUND, S(""), S("no"));
    traffic t = { &f, client, false };
    pthread_t thread;
    EQUAL(pthread_create(&thread, NULL, keep_calling, &t), 0);
    uint64_t begun = now();
    for (int round = 0; round < rounds; round++) {
        fflush(stderr);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            /* One that hangs is killed, which the parent sees. */
            alarm(LONGEST_CHILD);
            is_refused(&f, client, server, error);
            /* The allocators of sanitizers need not outlive a fork of many threads. */
            if (!SLOW && round % 4 == 0) {
                begins_anew();
                is_refused(&f, client, server, error);
            }
            _exit(0);
        }
        ends_well(child, round);
    }
    fprintf(stderr, "%d forks in %.1f s\n", rounds, (double)(now() - begun) / 1e9);
    atomic_store(&t.stop, true);
    pthread_join(thread, NULL);
    /* The parent's are as they were. */
    EQUAL(micro_server_stop(server), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_error_free(error);
    micro_client_free(client);
    micro_server_free(server);
    fleet_end(&f);
}

static atomic_int begun;

static void *use_for_the_first_time(void *data) {
    (void)data;
    atomic_store(&begun, 1);
    begins_anew();
    return NULL;
}

TEST(a_fork_while_another_thread_uses_the_library_for_the_first_time) {
    const int rounds = SLOW ? 10 : 300;
    for (int round = 0; round < rounds; round++) {
        fflush(stderr);
        /* A process that has not used it. */
        pid_t fresh = fork();
        CHECK(fresh >= 0);
        if (fresh == 0) {
            alarm(2 * LONGEST_CHILD);
            pthread_t thread;
            EQUAL(pthread_create(&thread, NULL, use_for_the_first_time, NULL), 0);
            while (!atomic_load(&begun)) {
            }
            /* Another moment of the first use each time. */
            for (uint64_t until = now() + (uint64_t)round * 10000; now() < until;) {
            }
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                alarm(LONGEST_CHILD);
                if (!SLOW) begins_anew();
                _exit(0);
            }
            ends_well(child, round);
            pthread_join(thread, NULL);
            _exit(0);
        }
        ends_well(fresh, round);
    }
}

TEST(a_fork_while_another_thread_logs) {
    const int rounds = SLOW ? 20 : 300;
    micro_options loud = options_of("{\"log\":\"trace\"}");
    micro_runtime *runtime = NULL;
    EQUAL(micro_runtime_new(&loud, &runtime, NULL), MICRO_OK);
    fleet f = fleet_new();
    micro_queue *logs = NULL;
    EQUAL(micro_queue_new(f.runtime, MICRO_QUEUE_LOGS, &logs, NULL), MICRO_OK);
    micro_server *server = fleet_serve(&f, "greeter", "", "Greeter.Hello", MICRO_UNARY, NULL);
    micro_client *client = fleet_client(&f, "");
    traffic t = { &f, client, false };
    pthread_t thread;
    EQUAL(pthread_create(&thread, NULL, keep_calling, &t), 0);
    for (int round = 0; round < rounds; round++) {
        fflush(stderr);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(LONGEST_CHILD);
            /* What the child has to say goes to its own queue. */
            micro_runtime *own = NULL;
            micro_queue *said = NULL;
            EQUAL(micro_runtime_new(NULL, &own, NULL), MICRO_OK);
            EQUAL(micro_queue_new(own, MICRO_QUEUE_LOGS, &said, NULL), MICRO_OK);
            if (!SLOW) begins_anew();
            _exit(0);
        }
        ends_well(child, round);
    }
    atomic_store(&t.stop, true);
    pthread_join(thread, NULL);
    EQUAL(micro_server_stop(server), MICRO_OK);
    fleet_ends(&f, MICRO_EVENT_END, MICRO_OK);
    micro_client_free(client);
    micro_server_free(server);
    micro_queue_free(logs);
    micro_runtime_free(runtime);
    fleet_end(&f);
}

/* What the parent of a test's child tells of itself. */
typedef struct {
    pid_t child;
    int port;
} told;

/* The port in a registry record, which has "address":"127.0.0.1:PORT". */
static int port_of(micro_slice record) {
    char text[4096] = "";
    CHECK(record.len < sizeof text);
    memcpy(text, record.ptr, record.len);
    const char *at = strstr(text, "\"127.0.0.1:");
    CHECK(at != NULL);
    return atoi(at + strlen("\"127.0.0.1:"));
}

/* Serves over TCP, registered in `folder`, and forks a child that outlives it. */
static void serve_and_fork(const char *folder, int tell, int go) {
    char options[512];
    snprintf(options, sizeof options, "{\"address\":\"127.0.0.1:0\",\"registry\":\"local://%s\"}", folder);
    micro_options settings = options_of(options);
    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    micro_server *server = NULL;
    EQUAL(micro_runtime_new(NULL, &runtime, NULL), MICRO_OK);
    EQUAL(micro_queue_new(runtime, 0, &queue, NULL), MICRO_OK);
    EQUAL(micro_server_new(runtime, S("mortal"), &settings, &server, NULL), MICRO_OK);
    EQUAL(micro_server_method(server, S("Greeter.Hello"), MICRO_UNARY, S(""), NULL, NULL), MICRO_OK);
    EQUAL(micro_server_start(server, queue, 1, NULL), MICRO_OK);
    micro_event event;
    EQUAL(micro_queue_wait(queue, &event, sizeof event, 1, PATIENCE), 1);
    EQUAL(event.kind, MICRO_EVENT_OPENED);
    told what = { 0, port_of(view(event.payload)) };
    EQUAL(write(tell, &what, sizeof what), sizeof what);
    /* Until there is a connection to inherit. */
    char byte;
    EQUAL(read(go, &byte, 1), 1);
    if (fork() == 0) {
        alarm(LONGEST_CHILD);
        /* Told by the child, which has let go of everything before it gets here. */
        what.child = getpid();
        EQUAL(write(tell, &what, sizeof what), sizeof what);
    }
    for (;;) pause();
}

static int dial(int port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

/* Whether a process holds a lock in the folder. */
static bool is_locked(const char *folder) {
    DIR *files = opendir(folder);
    CHECK(files != NULL);
    bool locked = false;
    for (struct dirent *entry; (entry = readdir(files)) != NULL;) {
        if (entry->d_type != DT_REG) continue;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        locked |= fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
        if (fd >= 0) close(fd);
    }
    closedir(files);
    return locked;
}

/* Removes a folder of files. */
static void remove_folder(const char *folder) {
    DIR *files = opendir(folder);
    CHECK(files != NULL);
    for (struct dirent *entry; (entry = readdir(files)) != NULL;) {
        if (entry->d_type == DT_REG) EQUAL(unlinkat(dirfd(files), entry->d_name, 0), 0);
    }
    closedir(files);
    EQUAL(rmdir(folder), 0);
}

TEST(a_child_does_not_keep_its_dead_parents_address_connections_or_lock) {
    char folder[] = "/tmp/micro-fork-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    int tell[2], go[2];
    EQUAL(pipe(tell), 0);
    EQUAL(pipe(go), 0);
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        alarm(2 * LONGEST_CHILD);
        serve_and_fork(folder, tell[1], go[0]);
    }
    told what;
    EQUAL(read(tell[0], &what, sizeof what), sizeof what);
    int connection = dial(what.port);
    CHECK(connection >= 0 && is_locked(folder));
    /* The server's settings are the first thing it sends: it has accepted the connection. */
    char byte;
    const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    EQUAL(write(connection, preface, sizeof preface), sizeof preface);
    EQUAL(read(connection, &byte, 1), 1);
    EQUAL(write(go[1], "", 1), 1);
    EQUAL(read(tell[0], &what, sizeof what), sizeof what);
    EQUAL(kill(parent, SIGKILL), 0);
    EQUAL(waitpid(parent, NULL, 0), parent);
    EQUAL(kill(what.child, 0), 0);
    EQUAL(dial(what.port), -1);
    EQUAL(errno, ECONNREFUSED);
    CHECK(!is_locked(folder));
    struct timeval patience = { .tv_sec = LONGEST_CHILD };
    EQUAL(setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    ssize_t got = 1;
    char rest[256];
    while (got > 0) got = read(connection, rest, sizeof rest);
    /* Its end, or that it was cut off; not silence. */
    CHECK(got == 0 || errno == ECONNRESET);
    EQUAL(kill(what.child, SIGKILL), 0);
    close(connection);
    remove_folder(folder);
}
