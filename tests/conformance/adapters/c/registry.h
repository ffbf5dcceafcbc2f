/*
 * A registry of the program's own, in memory: what micro_provide asks of it, complete.
 *
 * It keeps records by service and version, forgets nodes that are not registered again within their time to live, and tells
 * watches of every change. It passes the contract that registries of the library itself do.
 */
#ifndef REGISTRY_H
#define REGISTRY_H

#include "text.h"

/*
 * From now on "host://<name>" is a new registry, until micro_cancel of `id`, which may be NULL. Fails as micro_provide does, and
 * with MICRO_RESOURCE_EXHAUSTED when there is no thread for it.
 */
micro_status registry_provide(micro_runtime *runtime, micro_slice name, micro_id *id, micro_error **err);

#endif
