/* SPDX-License-Identifier: BSD-3-Clause */
#include "failure.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "format.h"

static const char *usual_code(enum ota_exit exit)
{
    static const struct {
        enum ota_exit exit;
        const char *code;
    } codes[] = {{OTA_EXIT_USAGE, "usage"},
                 {OTA_EXIT_CONNECTION, "connection"},
                 {OTA_EXIT_TASK, "task"},
                 {OTA_EXIT_FOUND, "found"},
                 {OTA_EXIT_INTERRUPTED, "interrupted"}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].exit == exit) {
            return codes[i].code;
        }
    }
    return "internal";
}

enum ota_exit ota_fail(struct ota_failure *failure, enum ota_exit exit, const char *code,
                       const char *field, const char *format, ...)
{
    struct ota_failure made = {.exit = exit};
    (void)snprintf(made.code, sizeof made.code, "%s", code != NULL ? code : usual_code(exit));
    (void)snprintf(made.field, sizeof made.field, "%s", field != NULL ? field : "");
    va_list args;
    va_start(args, format);
    (void)vsnprintf(made.text, sizeof made.text, format, args);
    va_end(args);
    *failure = made;
    return exit;
}

static void print_json(const struct ota_failure *failure)
{
    json_t *field = failure->field[0] != '\0' ? json_string(failure->field) : json_null();
    json_t *all =
        json_pack("{s:s, s:s, s:o}", "error", failure->text, "code", failure->code, "field", field);
    if (all != NULL) {
        (void)json_dumpf(all, stderr, 0);
        (void)fputc('\n', stderr);
    }
    json_decref(all);
}

static void print_sentence(const struct ota_failure *failure)
{
    char text[sizeof failure->text];
    ota_format_clean(failure->text, text, sizeof text);
    (void)fprintf(stderr, "otactl: %s", text);
    if (failure->exit == OTA_EXIT_REFUSED) {
        (void)fprintf(stderr, " (%s%s%s)", failure->code, failure->field[0] != '\0' ? ": " : "",
                      failure->field);
    }
    (void)fputc('\n', stderr);
}

void ota_failure_print(const struct ota_failure *failure, bool json)
{
    if (failure->text[0] == '\0') {
        return;
    }
    if (json) {
        print_json(failure);
    } else {
        print_sentence(failure);
    }
}

const char *ota_exit_help(size_t index)
{
    static const char *const lines[] = {
        "0    done; what was watched succeeded",
        "1    the server refused; the sentence says what to do",
        "2    wrong usage; nothing was sent",
        "3    no connection, no login, or no answer",
        "4    what was watched failed, was cancelled, or its success was contradicted",
        "5    doctor or check-config found errors, with --strict also warnings",
        "130  interrupted; an upload goes on where it stopped when it is started again",
    };
    return index < sizeof lines / sizeof lines[0] ? lines[index] : NULL;
}
