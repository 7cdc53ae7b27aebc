/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a message from the server says.
 * Thread: any; pure functions.
 * Frees: nothing; a message is a plain value.
 */
#ifndef OTA_SIM_NOTICE_H
#define OTA_SIM_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../plugin/util/names.h"
#include "../plugin/util/signature.h"

#define OTA_URL_MAX 1999 /* what fits into the largest packet that the vendor's SDK takes */

enum ota_message_type {
    OTA_MESSAGE_UNKNOWN,
    OTA_MESSAGE_NOTICE,
    OTA_MESSAGE_CANCEL,
    OTA_MESSAGE_ANSWER,
    OTA_MESSAGE_BLOCK_ANSWER,
    OTA_MESSAGE_COUNT
};

struct ota_notice {
    char version[OTA_VERSION_MAX + 1];
    char url[OTA_URL_MAX + 1];
    char md5[65], sha256[65]; /* sha256 may be "" */
    int64_t size;
    int64_t task; /* 0: none given */
    bool is_signed;
    char signature[OTA_SIGNATURE_TEXT + 1]; /* "": none that could fit */
    int64_t order;
};

struct ota_message {
    enum ota_message_type type;
    struct ota_notice notice; /* a cancellation fills version and task, an answer task */
    int64_t result_code;      /* of an answer */
    char result_msg[64];
};

/* False where it isn't JSON, or a notice lacks what a device needs. */
bool ota_message_parse(const void *payload, size_t len, struct ota_message *message);

#endif
