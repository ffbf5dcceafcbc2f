/* What is asked and what is followed, by the names that all languages give it. */
#ifndef QUESTION_H
#define QUESTION_H

#include "text.h"

/* MICRO_<AREA>_<VERB> of a name such as `registry.get`; 0 for none. */
uint32_t question_number(micro_slice name);

#endif
