/* SPDX-License-Identifier: BSD-3-Clause */
/* The first line is a path of a download, the second a body's size, the third a Range header. */
#include "fuzz.h"

#include "../../plugin/download.h"

static void check_path(const char *path)
{
    char written[OTA_PATH_MAX];
    struct ota_claim claim = {.attempt = -1};
    if (!ota_download_parse(path, &claim)) {
        FUZZ_CHECK(claim.attempt == -1);
        return;
    }
    FUZZ_CHECK(claim.firmware_id > 0 && claim.device_id > 0 && claim.task_id > 0);
    FUZZ_CHECK(claim.attempt > 0);
    FUZZ_CHECK(strlen(claim.mac) == OTA_MAC_HEX && ota_download_mac_equal(claim.mac, claim.mac));
    ota_download_path(&claim, written);
    FUZZ_CHECK(strcmp(written, path) == 0);
}

static void check_range(const char *header, int64_t size)
{
    struct ota_range range = ota_range_parse(header, size);
    switch (range.kind) {
    case OTA_RANGE_ALL:
        FUZZ_CHECK(range.first == 0 && range.length == size);
        break;
    case OTA_RANGE_PART:
        FUZZ_CHECK(range.first >= 0 && range.first < size);
        FUZZ_CHECK(range.length > 0 && range.length <= size - range.first);
        FUZZ_CHECK(strncasecmp(header, "bytes=", 6) == 0 && strchr(header, ',') == NULL);
        break;
    case OTA_RANGE_OUTSIDE:
        FUZZ_CHECK(range.first == 0 && range.length == 0);
        break;
    default:
        FUZZ_CHECK(!"a kind of range");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *path = fuzz_text(data, size);
    char *number = fuzz_cut(path, '\n');
    char *header = fuzz_cut(number, '\n');
    int64_t length = strtoll(number, NULL, 10);
    check_path(path);
    check_range(header, length < 0 ? 0 : length);
    check_range(NULL, 1);
    free(path);
    return 0;
}
