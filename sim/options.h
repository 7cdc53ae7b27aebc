/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the command line: one table gives parsing, ranges and --help.
 * Thread: any; read once at start, constant afterwards.
 * Frees: nothing; texts point into argv.
 */
#ifndef OTA_SIM_OPTIONS_H
#define OTA_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../plugin/util/error.h"

#define OTA_DEVICES_MAX 10000

struct ota_options {
    const char *host, *username, *password, *client_id;
    int64_t port, keepalive;
    const char *cafile, *cert, *key;
    bool insecure;
    const char *secret, *hmac;
    bool psk;

    const char *prefix, *product, *device, *version, *gateway;
    int64_t count, first, seed, connect_rate;

    bool vendor, burning, report_on_reconnect, allow_port;
    int64_t reboot_ms, burn_ms, progress_ms, speed;
    int64_t haste;
    bool stays;
    const char *connect_to;
    bool inband;
    int64_t block_length, block_count, block_qos;
    const char *fault, *mix;
    bool fault_always, offline_at_start;
    int64_t return_after;
    const char *save, *verify_key;

    int64_t duration;
    bool exit_when_done, json, quiet, verbose, help, man_page;
};

enum ota_err ota_options_parse(int argc, char **argv, struct ota_options *options,
                               struct ota_error *error) OTA_CHECKED;

void ota_options_print(FILE *out);

/* otasim(1), as man reads it. */
void ota_options_print_man(FILE *out);

#endif
