/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what is taken out of a report's JSON before it is judged; filled by two readers, which
 *       must agree: jansson (report.c), and the quick scan for the shapes that devices send.
 * Thread: any; pure.
 * Frees: nothing; texts point into the payload or the parsed document.
 */
#ifndef OTA_REPORT_PARTS_H
#define OTA_REPORT_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ota_part_kind { OTA_PART_ABSENT, OTA_PART_TEXT, OTA_PART_INTEGER, OTA_PART_OTHER };

struct ota_part {
    enum ota_part_kind kind;
    const char *text; /* unterminated */
    size_t len;
    int64_t integer;
};

struct ota_report_parts {
    struct ota_part type;
    struct ota_part version;
    struct ota_part state;
    struct ota_part percent;
    struct ota_part result_code;
    struct ota_part result_msg;
    struct ota_part task; /* these four: of request_block */
    struct ota_part offset;
    struct ota_part length;
    struct ota_part count;
};

/*
 * Reads a report that has no member but the known ones, each at most once, no escapes and only
 * printable ASCII in its strings, and short integers: what every device really sends. False for
 * all else, which is no judgement: jansson decides then.
 */
bool ota_report_scan(const char *text, size_t len, struct ota_report_parts *parts);

#endif
