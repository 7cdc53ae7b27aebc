/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how otactl ends: its exit status and what it says about a failure.
 * Thread: main; otactl has no other.
 * Frees: nothing; an ota_failure is a plain value that the caller owns.
 */
#ifndef OTA_CLI_FAILURE_H
#define OTA_CLI_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

enum ota_exit {
    OTA_EXIT_OK = 0,
    OTA_EXIT_REFUSED = 1,
    OTA_EXIT_USAGE = 2,
    OTA_EXIT_CONNECTION = 3,
    OTA_EXIT_TASK = 4,  /* the task or batch that was watched did not succeed */
    OTA_EXIT_FOUND = 5, /* a check found errors */
    OTA_EXIT_INTERRUPTED = 130
};

struct ota_failure {
    enum ota_exit exit;
    char code[32];  /* the server's, or "usage", "connection" */
    char field[64]; /* what it is about, or "" */
    char text[768];
};

/* Fills failure, replacing what it held; code NULL means the usual one of that exit status;
 * field may be NULL. Returns exit. */
enum ota_exit ota_fail(struct ota_failure *failure, enum ota_exit exit, const char *code,
                       const char *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* To stderr: a sentence, or {"error","code","field"}. */
void ota_failure_print(const struct ota_failure *failure, bool json);

/* "2  wrong usage": one line of the help's list; NULL past the last. */
const char *ota_exit_help(size_t index);

#endif
