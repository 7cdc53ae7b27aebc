/* SPDX-License-Identifier: BSD-3-Clause */
#include "roff.h"

#include <stdbool.h>
#include <string.h>

static const char *escape_of(char c)
{
    switch (c) {
    case '\\':
        return "\\e";
    case '-':
        return "\\-"; /* a bare one may become a hyphen that no shell takes */
    case '\'':
        return "\\(aq";
    case '`':
        return "\\(ga";
    case '^':
        return "\\(ha";
    case '~':
        return "\\(ti";
    default:
        return NULL;
    }
}

/* One or more whole lines; a dot at a line's start would be a request. */
static void put(FILE *out, const char *text)
{
    bool at_start = true;
    for (; *text != '\0'; text++) {
        const char *escaped = escape_of(*text);
        if (at_start && *text == '.') {
            (void)fputs("\\&", out);
        }
        at_start = *text == '\n';
        if (escaped != NULL) {
            (void)fputs(escaped, out);
        } else {
            (void)fputc(*text, out);
        }
    }
    if (!at_start) {
        (void)fputc('\n', out);
    }
}

static void put_quoted(FILE *out, const char *request, const char *text)
{
    (void)fprintf(out, "%s \"", request);
    for (; *text != '\0'; text++) {
        const char *escaped = *text == '"' ? "\\(dq" : escape_of(*text);
        if (escaped != NULL) {
            (void)fputs(escaped, out);
        } else {
            (void)fputc(*text, out);
        }
    }
    (void)fputs("\"\n", out);
}

void ota_roff_title(FILE *out, const char *name, const char *version)
{
    (void)fprintf(out, ".\\\" Generated from the program's own tables.\n");
    (void)fprintf(out, ".TH %s 1 \"\" \"mosquitto\\-ota %s\" \"User Commands\"\n", name, version);
}

void ota_roff_section(FILE *out, const char *title)
{
    put_quoted(out, ".SH", title);
}

void ota_roff_subsection(FILE *out, const char *title)
{
    put_quoted(out, ".SS", title);
}

void ota_roff_paragraph(FILE *out, const char *text)
{
    (void)fputs(".PP\n", out);
    put(out, text);
}

void ota_roff_entry(FILE *out, const char *term, const char *text)
{
    (void)fputs(".TP\n", out);
    put_quoted(out, ".B", term);
    put(out, text);
}

void ota_roff_verbatim(FILE *out, const char *lines)
{
    (void)fputs(".PP\n.RS 4\n.nf\n", out);
    put(out, lines);
    (void)fputs(".fi\n.RE\n", out);
}
