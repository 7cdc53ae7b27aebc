/* SPDX-License-Identifier: BSD-3-Clause */
#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void ota_random_hex(char *out, size_t bytes)
{
    unsigned char raw[32];
    if (bytes > sizeof raw) {
        bytes = sizeof raw;
    }
    /* getrandom never gives less than it is asked for, up to 256 bytes. */
    if (getrandom(raw, bytes, 0) != (ssize_t)bytes) {
        abort();
    }
    for (size_t i = 0; i < bytes; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", raw[i]);
    }
}
