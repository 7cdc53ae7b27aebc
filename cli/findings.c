/* SPDX-License-Identifier: BSD-3-Clause */
#include "findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format.h"

static const struct {
    const char *name;
    enum ota_colour colour;
} levels[] = {
    [OTA_LEVEL_ERROR] = {"error", OTA_RED},
    [OTA_LEVEL_WARNING] = {"warning", OTA_YELLOW},
    [OTA_LEVEL_NOTE] = {"note", OTA_CYAN},
};

void ota_findings_init(struct ota_findings *findings)
{
    *findings = (struct ota_findings){.rows = json_array()};
}

void ota_findings_free(struct ota_findings *findings)
{
    json_decref(findings->rows);
    findings->rows = NULL;
}

/* What a file held may not be UTF-8, and JSON is. */
static json_t *text_of(const char *text)
{
    json_t *string = json_string(text);
    return string != NULL ? string : json_string("(unreadable text)");
}

void ota_findings_add(struct ota_findings *findings, const struct ota_finding *finding,
                      const char *format, ...)
{
    char text[768];
    char where[512] = "";
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (finding->file != NULL && finding->line > 0) {
        (void)snprintf(where, sizeof where, "%s:%d", finding->file, finding->line);
    } else if (finding->file != NULL) {
        (void)snprintf(where, sizeof where, "%s", finding->file);
    }
    findings->counts[finding->level]++;
    (void)json_array_append_new(
        findings->rows, json_pack("{s:s, s:s, s:o, s:o, s:o}", "level", levels[finding->level].name,
                                  "rule", finding->rule, "where", text_of(where), "finding",
                                  text_of(text), "remedy", text_of(finding->remedy)));
}

static enum ota_colour colour_of(const char *level)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(levels[i].name, level) == 0) {
            return levels[i].colour;
        }
    }
    return OTA_PLAIN;
}

static void print_row(const json_t *row)
{
    char clean[1024];
    const char *level = json_string_value(json_object_get(row, "level"));
    enum ota_colour colour = colour_of(level);
    const char *where = json_string_value(json_object_get(row, "where"));
    ota_format_clean(where, clean, sizeof clean);
    (void)printf("%s%s%s %s%s%s\n", ota_format_on(colour), level, ota_format_off(colour),
                 json_string_value(json_object_get(row, "rule")), clean[0] != '\0' ? "  " : "",
                 clean);
    ota_format_clean(json_string_value(json_object_get(row, "finding")), clean, sizeof clean);
    (void)printf("  %s\n", clean);
    ota_format_clean(json_string_value(json_object_get(row, "remedy")), clean, sizeof clean);
    (void)printf("  %s→ %s%s\n", ota_format_on(OTA_BOLD), clean, ota_format_off(OTA_BOLD));
}

/* The worst first; else as they were found. */
static json_t *sorted(const json_t *rows)
{
    json_t *all = json_array();
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        size_t i;
        json_t *row;
        json_array_foreach((json_t *)rows, i, row)
        {
            const char *name = json_string_value(json_object_get(row, "level"));
            if (strcmp(name, levels[level].name) == 0) {
                (void)json_array_append(all, row);
            }
        }
    }
    return all;
}

static void print_rows(const json_t *data)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(data, "findings"), i, row)
    {
        (void)fputs(i > 0 ? "\n" : "", stdout);
        print_row(row);
    }
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

enum ota_exit ota_findings_show(const struct ota_findings *findings,
                                const struct ota_session *session, const char *all_well,
                                bool strict, struct ota_failure *failure)
{
    size_t errors = findings->counts[OTA_LEVEL_ERROR];
    size_t warnings = findings->counts[OTA_LEVEL_WARNING];
    json_t *data = json_pack("{s:o}", "findings", sorted(findings->rows));
    ota_session_show(session, data, print_rows);
    json_decref(data);
    if (errors == 0 && (warnings == 0 || !strict)) {
        if (errors + warnings == 0 && session->settings->output == OTA_OUTPUT_TABLE) {
            (void)printf("%s%s%s\n", ota_format_on(OTA_GREEN), all_well, ota_format_off(OTA_GREEN));
        }
        return OTA_EXIT_OK;
    }
    return ota_fail(failure, OTA_EXIT_FOUND, NULL, NULL, "%zu error%s, %zu warning%s", errors,
                    plural(errors), warnings, plural(warnings));
}
