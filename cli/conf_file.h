/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the lines of a mosquitto.conf and of the files that it includes, in the order in which
 *       Mosquitto 2.0 reads them, with their places.
 * Thread: main.
 * Frees: ota_conf_free.
 */
#ifndef OTA_CLI_CONF_FILE_H
#define OTA_CLI_CONF_FILE_H

#include "failure.h"
#include "findings.h"

struct ota_conf_line {
    const char *file;
    int number;
    int part; /* which file in order: a plugin's options must stand in that of its plugin line */
    char *key;
    char *value; /* "": none */
};

struct ota_conf {
    struct ota_conf_line *lines;
    size_t count;
    size_t room;
    char *files[256];
    size_t file_count;
};

/* Reads a file and what it includes. Fails where the file itself can't be read; what else is
 * wrong with lines and folders are findings. */
enum ota_exit ota_conf_load(const char *path, struct ota_conf *conf, struct ota_findings *findings,
                            struct ota_failure *failure) OTA_CHECKED;
void ota_conf_free(struct ota_conf *conf);

/* The last line of that key, which is the one that counts; or NULL. */
const struct ota_conf_line *ota_conf_last(const struct ota_conf *conf, const char *key);

/* Whether that line, or none, says true. */
bool ota_conf_is_true(const struct ota_conf_line *line);

/* A finding about a line. */
struct ota_finding ota_conf_at(const struct ota_conf_line *line, enum ota_level level,
                               const char *rule, const char *remedy);

#endif
