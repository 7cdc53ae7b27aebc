/* SPDX-License-Identifier: BSD-3-Clause */
#include "block_check.h"

#include <stdlib.h>
#include <string.h>

#include "inband.h"

/* Reads "/N", moves *text behind it. */
static bool take_number(const char **text, int64_t *number)
{
    char *end;
    if ((*text)[0] != '/' || strspn(*text + 1, "0123456789") == 0) {
        return false;
    }
    *number = strtoll(*text + 1, &end, 10);
    *text = end;
    return *number < INT64_MAX / 2;
}

static bool matches(struct ota_core *core, int64_t image, int64_t offset,
                    const unsigned char *bytes, size_t len)
{
    unsigned char *row = malloc(OTA_BLOCK_SIZE);
    bool same = row != NULL;
    while (same && len > 0) {
        size_t have = 0;
        size_t from = (size_t)(offset % OTA_BLOCK_SIZE);
        same = ota_image_block(core->store, image, offset / OTA_BLOCK_SIZE, row, &have, NULL) ==
                   OTA_OK &&
               have > from;
        size_t part = same && len < have - from ? len : have - from;
        same = same && memcmp(row + from, bytes, part) == 0;
        bytes += same ? part : 0;
        offset += same ? (int64_t)part : 0;
        len -= same ? part : 0;
    }
    free(row);
    return same;
}

bool ota_block_is_genuine(struct ota_core *core, const struct ota_device *device, const char *rest,
                          const void *bytes, size_t len)
{
    int64_t task;
    int64_t offset;
    struct ota_task_row row;
    if (!take_number(&rest, &task) || !take_number(&rest, &offset) || rest[0] != '\0' || len == 0 ||
        len > OTA_BLOCK_LENGTH_MAX || ota_task_get(core->store, task, &row, NULL) != OTA_OK ||
        row.device_id != device->id) {
        return false;
    }
    const struct ota_firmware *firmware = ota_fleet_firmware(&core->fleet, row.firmware_id);
    return firmware != NULL && matches(core, firmware->row.image, offset, bytes, len);
}
