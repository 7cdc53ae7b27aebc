/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: answers as comma-separated values (RFC 4180): for spreadsheets and scripts.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_CSV_H
#define OTA_CLI_CSV_H

#include <jansson.h>

/* The keys of a row, which are the columns of all that follow it. */
void ota_csv_header(const json_t *row);

/* The values of those keys; what a row doesn't have is empty. */
void ota_csv_row(const json_t *columns, const json_t *row);

/* A whole answer: the object as one row, then each list, an empty line between. */
void ota_csv_data(const json_t *data);

#endif
