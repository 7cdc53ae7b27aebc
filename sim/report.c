/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "../plugin/util/words.h"

struct row {
    const char *name;
    int qos; /* the vendor's */
    /* The vendor's line is head, number, middle, version, tail. */
    const char *head, *middle, *tail;
};

/*
 * The vendor's spaces are part of what a server must cope with, and no JSON library writes them:
 * hence these pieces. Nothing in them needs escaping: a version is letters, digits and "._-".
 */
static const struct row rows[OTA_SAID_COUNT] = {
    [OTA_SAID_DOWNLOADING] = {"downloading", 0,
                              "{\"type\": \"report_progress\", \"report\": {\"progress\": "
                              "{\"state\":\"downloading\", \"percent\":\"",
                              "\", \"result_code\":\"0\", \"result_msg\":\"\"}, \"version\": \"",
                              "\"}}"},
    [OTA_SAID_DOWNLOADED] = {.name = "downloaded"},
    [OTA_SAID_BURNING] = {"burning", 1,
                          "{\"type\": \"report_progress\", \"report\":{\"progress\":"
                          "{\"state\":\"burning\"",
                          ", \"result_code\":\"0\", \"result_msg\":\"\"}, \"version\":\"", "\"}}"},
    [OTA_SAID_DONE] = {"done", 1,
                       "{\"type\": \"report_progress\", \"report\":{\"progress\":"
                       "{\"state\":\"done\"",
                       ", \"result_code\":\"0\", \"result_msg\":\"\"}, \"version\":\"", "\"}}"},
    [OTA_SAID_FAIL] = {"fail", 1,
                       "{\"type\": \"report_progress\", \"report\": {\"progress\": "
                       "{\"state\":\"fail\", \"result_code\":\"",
                       "\", \"result_msg\":\"time_out\"}, \"version\": \"", "\"}}"},
};

int ota_report_qos(bool vendor, enum ota_said said)
{
    return vendor ? rows[said].qos : 1;
}

/* Takes the object over. */
static size_t write_json(json_t *object, char text[OTA_REPORT_MAX])
{
    size_t len = json_dumpb(object, text, OTA_REPORT_MAX - 1, JSON_COMPACT);
    json_decref(object);
    if (len >= OTA_REPORT_MAX) {
        len = 0;
    }
    text[len] = '\0';
    return len;
}

size_t ota_report_version(bool vendor, const char *version, char text[OTA_REPORT_MAX])
{
    if (vendor) {
        return (size_t)snprintf(text, OTA_REPORT_MAX,
                                "{\"type\": \"report_version\", \"report\":{\"version\":\"%s\"}}",
                                version);
    }
    return write_json(
        json_pack("{s:s, s:{s:s}}", "type", "report_version", "report", "version", version), text);
}

size_t ota_report_ask(int64_t task, int64_t offset, int64_t length, int64_t count,
                      char text[OTA_REPORT_MAX])
{
    return write_json(json_pack("{s:s, s:I, s:I, s:I, s:I}", "type", "request_block", "task",
                                (json_int_t)task, "offset", (json_int_t)offset, "length",
                                (json_int_t)length, "count", (json_int_t)count),
                      text);
}

static const char *reason_of(const struct ota_progress *progress)
{
    if (progress->said != OTA_SAID_FAIL) {
        return "";
    }
    return progress->reason != NULL ? progress->reason : ota_result_text(progress->code);
}

static size_t write_vendor(const struct ota_progress *progress, char text[OTA_REPORT_MAX])
{
    const struct row *row = &rows[progress->said];
    char number[16] = "";
    if (progress->said == OTA_SAID_DOWNLOADING) {
        snprintf(number, sizeof number, "%u", progress->percent);
    } else if (progress->said == OTA_SAID_FAIL) {
        snprintf(number, sizeof number, "%d", progress->code);
    }
    return (size_t)snprintf(text, OTA_REPORT_MAX, "%s%s%s%s%s", row->head, number, row->middle,
                            progress->version, row->tail);
}

size_t ota_report_progress(bool vendor, const struct ota_progress *progress,
                           char text[OTA_REPORT_MAX])
{
    if (vendor) {
        return write_vendor(progress, text);
    }
    char percent[16], code[16];
    bool downloading = progress->said == OTA_SAID_DOWNLOADING;
    bool failed = progress->said == OTA_SAID_FAIL;
    snprintf(percent, sizeof percent, "%u", progress->percent);
    snprintf(code, sizeof code, "%d", failed ? progress->code : 0);
    return write_json(json_pack("{s:s, s:{s:{s:s, s:s*, s:s, s:s}, s:s}}", "type",
                                "report_progress", "report", "progress", "state",
                                rows[progress->said].name, "percent", downloading ? percent : NULL,
                                "result_code", code, "result_msg", reason_of(progress), "version",
                                progress->version),
                      text);
}
