/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a message from the server says to the vendor's SDK, which unescapes no text and takes
 * the first of two equal keys.
 * Thread: any; pure functions.
 * Frees: nothing; a message is a plain value.
 */
#ifndef OTA_SIM_VENDOR_MESSAGE_H
#define OTA_SIM_VENDOR_MESSAGE_H

#include "notice.h"

/* As ota_message_parse(). A notice's size may be 0 here: a device finds out what that does. */
bool ota_vendor_message_parse(const void *payload, size_t len, struct ota_message *message);

#endif
