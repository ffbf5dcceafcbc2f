/* Messages that are made and summed up, and bytes in metadata. */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "text.h"

/* `size` bytes, the one at index i being (fill + i) modulo 256, in place of what `to` holds. */
void payload_make(text *to, uint64_t size, uint64_t fill);
/* Adler-32. */
uint32_t payload_sum(micro_slice message);

/* A value of metadata in a line: base64 of what is bytes. */
text metadata_shown(micro_slice name, micro_slice value);
/* Adds an entry to a block, its value as it is in a line. */
micro_status metadata_add(micro_bytes *block, micro_slice name, micro_slice shown, micro_error **err);

#endif
