/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: writing man pages (man(7)): every text is escaped here and nowhere else.
 * Thread: any.
 * Frees: nothing.
 */
#ifndef OTA_ROFF_H
#define OTA_ROFF_H

#include <stdio.h>

/* ".TH"; name in capitals. No date: the same source makes the same page. */
void ota_roff_title(FILE *out, const char *name, const char *version);
void ota_roff_section(FILE *out, const char *title);
void ota_roff_subsection(FILE *out, const char *title);

/* A paragraph, or more text in it. */
void ota_roff_paragraph(FILE *out, const char *text);

/* What is said in bold, and below it, indented, the explanation. */
void ota_roff_entry(FILE *out, const char *term, const char *text);

/* Lines as they are. */
void ota_roff_verbatim(FILE *out, const char *lines);

#endif
