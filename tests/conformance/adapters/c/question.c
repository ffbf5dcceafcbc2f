#include "question.h"

uint32_t question_number(micro_slice name) {
    static const struct {
        const char *name;
        uint32_t number;
    } known[] = {
        { "client.health", MICRO_CLIENT_HEALTH },
        { "client.nodes", MICRO_CLIENT_NODES },
        { "client.stats", MICRO_CLIENT_STATS },
        { "registry.get", MICRO_REGISTRY_GET },
        { "registry.list", MICRO_REGISTRY_LIST },
        { "registry.watch", MICRO_REGISTRY_WATCH },
        { "registry.register", MICRO_REGISTRY_REGISTER },
        { "registry.deregister", MICRO_REGISTRY_DEREGISTER },
        { "service.stats", MICRO_SERVICE_STATS },
        { "service.jobs", MICRO_SERVICE_JOBS },
        { "task.result", MICRO_TASK_RESULT },
        { "task.state", MICRO_TASK_STATE },
    };
    for (size_t n = 0; n < sizeof known / sizeof *known; n++) {
        if (slice_is(name, known[n].name)) {
            return known[n].number;
        }
    }
    return 0;
}
