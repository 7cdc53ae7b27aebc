/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: whether a download URL may be served now.
 * Thread: any that may use the reader.
 * Frees: nothing.
 */
#ifndef OTA_GRANT_H
#define OTA_GRANT_H

#include "download.h"
#include "store/store.h"

/*
 * OTA_FORBIDDEN, without filling error, where the claim is forged, or its task, firmware or
 * attempt is over or another device's: nothing tells these apart. Other errors are the database's.
 */
OTA_CHECKED enum ota_err ota_grant_check(struct ota_reader *reader, const unsigned char *key,
                                         const struct ota_claim *claim, struct ota_grant *grant,
                                         struct ota_error *error);

#endif
