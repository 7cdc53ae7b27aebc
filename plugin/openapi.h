/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the description of the HTTP interface for machines (OpenAPI 3.1): openapi.json, and the
 *       commands of the table.
 * Thread: any; constant.
 * Frees: the text is the caller's.
 */
#ifndef OTA_OPENAPI_H
#define OTA_OPENAPI_H

/* NULL: no memory. */
char *ota_openapi_text(void);

#endif
