/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "util/others.h"

static void warn(json_t *warnings, const char *path, unsigned what, const char *why)
{
    char text[512];
    unsigned mode;
    if (ota_others_can(path, what, &mode)) {
        (void)snprintf(text, sizeof text,
                       "everybody on the broker's machine can %s %s (mode %04o): %s",
                       ota_others_verb(what, mode), path, mode, why);
        (void)json_array_append_new(warnings, json_string(text));
    }
}

static void warn_folder(json_t *warnings, const char *db_path)
{
    char folder[1024];
    ota_others_folder(db_path, folder, sizeof folder);
    warn(warnings, folder, OTA_OTHERS_WRITE, "who can, can replace the database; chmod 700");
}

/* "a.pub,b.pub" */
static void warn_list(json_t *warnings, const char *paths, unsigned bits, const char *why)
{
    while (*paths != '\0') {
        char path[1024];
        size_t len = strcspn(paths, ",");
        (void)snprintf(path, sizeof path, "%.*s", (int)len, paths);
        warn(warnings, path, bits, why);
        paths += len;
        paths += *paths == ',';
    }
}

json_t *ota_machine_warnings(const struct ota_options *options)
{
    json_t *warnings = json_array();
    warn_folder(warnings, options->db_path);
    warn(warnings, options->db_path, OTA_OTHERS_READ | OTA_OTHERS_WRITE,
         "it holds what download URLs are made with; chmod 600");
    warn(warnings, options->roles_file, OTA_OTHERS_WRITE,
         "who can, can become an admin; chmod 640");
    warn(warnings, options->http_keyfile, OTA_OTHERS_READ | OTA_OTHERS_WRITE,
         "it is a private key; chmod 600");
    warn_list(warnings, options->signing_keys, OTA_OTHERS_WRITE,
              "who can, decides whose firmware is good; chmod 644");
    return warnings;
}

void ota_machine_disk(const char *path, int64_t *free_bytes, int64_t *all_bytes)
{
    struct statvfs disk;
    bool told = path != NULL && statvfs(path, &disk) == 0;
    *free_bytes = told ? (int64_t)(disk.f_bavail * disk.f_frsize) : -1;
    *all_bytes = told ? (int64_t)(disk.f_blocks * disk.f_frsize) : -1;
}
