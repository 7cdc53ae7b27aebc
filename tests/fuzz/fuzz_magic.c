/* SPDX-License-Identifier: BSD-3-Clause */
/* The first line is a firmware's file name, the rest how the file begins: what the name promises
 * is there, and nothing behind the first bytes changes that. */
#include "fuzz.h"

#include <strings.h>

#include "../../plugin/firmware.h"

static bool ends_in(const char *name, const char *suffix)
{
    size_t len = strlen(name);
    return len > strlen(suffix) && strcasecmp(name + len - strlen(suffix), suffix) == 0;
}

static void check_promise(const char *name, const unsigned char *bytes, size_t len)
{
    if (ends_in(name, ".gz")) {
        FUZZ_CHECK(len >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b);
    } else if (ends_in(name, ".zip")) {
        FUZZ_CHECK(len >= 4 && bytes[0] == 'P' && bytes[1] == 'K');
    } else if (ends_in(name, ".tar")) {
        FUZZ_CHECK(len >= 262 && memcmp(bytes + 257, "ustar", 5) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    size_t at = end != NULL ? (size_t)(end - data) : size;
    char *name = fuzz_text(data, at);
    size_t len = end != NULL ? size - at - 1 : 0;
    unsigned char *bytes = malloc(len + (len == 0)); /* reading past the end is found */
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, data + size - len, len);
    bool fits = ota_firmware_magic_fits(name, bytes, len);
    if (fits) {
        check_promise(name, bytes, len);
    }
    FUZZ_CHECK(fits || ends_in(name, ".gz") || ends_in(name, ".zip") || ends_in(name, ".tar"));
    if (len > OTA_MAGIC_BYTES) {
        FUZZ_CHECK(ota_firmware_magic_fits(name, bytes, OTA_MAGIC_BYTES) == fits);
    }
    free(bytes);
    free(name);
    return 0;
}
