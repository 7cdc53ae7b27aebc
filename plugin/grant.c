/* SPDX-License-Identifier: BSD-3-Clause */
#include "grant.h"

enum ota_err ota_grant_check(struct ota_reader *reader, const unsigned char *key,
                             const struct ota_claim *claim, struct ota_grant *grant,
                             struct ota_error *error)
{
    /* A MAC is computed whatever the database says: the time of the answer tells nobody which
     * tasks there are. */
    struct ota_grant read = {
        .sha256 = "0000000000000000000000000000000000000000000000000000000000000000",
    };
    char mac[OTA_MAC_HEX + 1];

    enum ota_err found = ota_reader_grant(reader, claim->task_id, claim->firmware_id, &read, error);
    if (found != OTA_OK && found != OTA_NOT_FOUND) {
        return found;
    }
    if (ota_download_mac(key, claim, read.sha256, mac) != OTA_OK) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "a download's MAC can't be computed");
    }
    if (!ota_download_mac_equal(mac, claim->mac) || found != OTA_OK || !read.unfinished ||
        read.device_id != claim->device_id || read.attempt != claim->attempt) {
        return OTA_FORBIDDEN;
    }
    *grant = read;
    return OTA_OK;
}
