/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the codes of a failed upgrade (device-protocol.md, "fail"), and which status means which.
 * Thread: any; pure.
 * Frees: nothing.
 */
#ifndef OTA_SIM_CODES_H
#define OTA_SIM_CODES_H

enum ota_code {
    OTA_CODE_TIMED_OUT = -1,
    OTA_CODE_MISSING = -2,
    OTA_CODE_FORBIDDEN = -3,
    OTA_CODE_MISMATCH = -4,
    OTA_CODE_FAILED = -5
};

/* Of an answer's status, in both dialects; 0: it has none of its own. */
static inline int ota_code_of_status(long status)
{
    return status == 403 ? OTA_CODE_FORBIDDEN : status == 404 ? OTA_CODE_MISSING : 0;
}

#endif
