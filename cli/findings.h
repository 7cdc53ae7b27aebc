/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a check found: how bad, where, what, and what to do about it.
 * Thread: main.
 * Frees: ota_findings_free.
 */
#ifndef OTA_CLI_FINDINGS_H
#define OTA_CLI_FINDINGS_H

#include <jansson.h>
#include <stddef.h>

#include "session.h"

enum ota_level {
    OTA_LEVEL_ERROR,   /* it doesn't work, or lets in whom it shouldn't */
    OTA_LEVEL_WARNING, /* it works, but worse than it could */
    OTA_LEVEL_NOTE     /* worth a look; it may well be meant so */
};

struct ota_findings {
    json_t *rows; /* [{level, rule, where, finding, remedy}] */
    size_t counts[OTA_LEVEL_NOTE + 1];
};

/* What is found, and where: a file and its line, or a line of 0, or no file at all. */
struct ota_finding {
    enum ota_level level;
    const char *rule;
    const char *file;
    int line;
    const char *remedy;
};

void ota_findings_init(struct ota_findings *findings);
void ota_findings_add(struct ota_findings *findings, const struct ota_finding *finding,
                      const char *format, ...) __attribute__((format(printf, 3, 4)));
void ota_findings_free(struct ota_findings *findings);

/* Shows them; all_well is said to people where there is none. Fails where one is an error, or,
 * strictly, a warning. */
enum ota_exit ota_findings_show(const struct ota_findings *findings,
                                const struct ota_session *session, const char *all_well,
                                bool strict, struct ota_failure *failure);

#endif
