/* Functions around handlers, which the adapter's own loop calls. */
#ifndef LAYERS_H
#define LAYERS_H

#include "act.h"

/* Does what the plan of the call says, within all layers of the service. The error it ends with, or NULL. */
micro_error *layers_around(turn *t);

#endif
