/* Functions around a handler, on the program's own loop; and flags, and a register check. */
#include <micro.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static micro_slice text(const char *string) {
    return (micro_slice){ (const uint8_t *)string, strlen(string) };
}

/* A reply, or why there is none. */
typedef struct {
    micro_status status;
    char text[200];
} answer;

/* A handler, or a function around those that come after it. */
typedef struct step step;
struct step {
    answer (*run)(const micro_event *call, const step *next);
};

static answer go_on(const micro_event *call, const step *next) {
    return next->run(call, next + 1);
}

/* Sees every call, and how it ended. */
static answer logged(const micro_event *call, const step *next) {
    answer given = go_on(call, next);
    fprintf(stderr, "Shop.Buy: %s\n", given.status == MICRO_OK ? "fine" : "failed");
    return given;
}

/* Goes on for callers that say who they are, and refuses the others. */
static answer for_tenants(const micro_event *call, const step *next) {
    micro_meta headers = { { call->meta.ptr, call->meta.len }, 0, 0 };
    micro_slice name, value;
    while (micro_meta_next(&headers, &name, &value)) {
        if (name.len == 6 && memcmp(name.ptr, "tenant", 6) == 0) {
            return go_on(call, next);
        }
    }
    return (answer){ MICRO_UNAUTHENTICATED, "send the header `tenant`" };
}

static answer buy(const micro_event *call, const step *next) {
    (void)next;
    answer bought = { MICRO_OK, "" };
    snprintf(bought.text, sizeof bought.text, "\"%.*s pieces\"", call->payload.len < 20 ? (int)call->payload.len : 20,
             (const char *)call->payload.ptr);
    return bought;
}

/* The first is outermost, the last is the handler. */
static const step steps[] = { { logged }, { for_tenants }, { buy } };

enum { BUY, FIT };

static void on_event(void *context, micro_event *event) {
    micro_runtime *runtime = context;
    if (event->kind == MICRO_EVENT_CALL && event->method == BUY) {
        answer given = go_on(event, steps);
        micro_reply(runtime, event->id, given.status, (micro_bytes){ (uint8_t *)given.text, strlen(given.text), NULL }, text(""));
    } else if (event->kind == MICRO_EVENT_CALL && event->method == FIT) {
        /* Asked before each registration. An error would keep the node out of the registry. */
        micro_reply(runtime, event->id, MICRO_OK, (micro_bytes){ 0 }, text(""));
    } else if (event->kind == MICRO_EVENT_END && event->status != MICRO_OK) {
        micro_slice why = micro_error_message(event->error);
        fprintf(stderr, "shop: %.*s\n", (int)why.len, (const char *)why.ptr);
        kill(getpid(), SIGTERM);
    }
}

int main(int argc, char **argv) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    micro_server *server = NULL;
    micro_error *error = NULL;
    if (micro_runtime_new(NULL, &runtime, NULL)) {
        return 1;
    }
    /* Flags come before variables, documents and this. */
    micro_options options = { .size = sizeof options,
                              .json = text("{ \"version\": \"1.2\" }"),
                              .argc = argc - 1,
                              .argv = (const char *const *)argv + 1 };
    micro_status status = micro_server_new(runtime, text("shop"), &options, &server, &error);
    if (status != MICRO_OK) {
        /* --help and --version are answered with the text to print, mistakes with what was meant. */
        micro_slice said = micro_error_message(error);
        fprintf(status == MICRO_CANCELLED ? stdout : stderr, "%.*s\n", (int)said.len, (const char *)said.ptr);
        micro_error_free(error);
        micro_runtime_free(runtime);
        return status == MICRO_CANCELLED ? 0 : 2;
    }
    if (micro_queue_new(runtime, 0, &queue, NULL) ||
        micro_server_method(server, text("Shop.Buy"), MICRO_UNARY, text(""), NULL, NULL) ||
        micro_server_method(server, text("fit"), MICRO_UNARY, text("{ \"register_check\": true }"), NULL, NULL) ||
        micro_queue_run(queue, 1, on_event, runtime, NULL, NULL) || micro_server_start(server, queue, 1, NULL)) {
        fputs("shop: cannot start\n", stderr);
        return 1;
    }

    int signal;
    sigwait(&signals, &signal);
    micro_runtime_shutdown(runtime, UINT64_C(10000000000));
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    micro_server_free(server);
    return 0;
}
