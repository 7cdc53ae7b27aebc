/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the grammar of --fault and --mix, and who in a fleet gets which fault.
 * Thread: any; what is parsed is a plain value.
 * Frees: ota_mix_deal()'s array is the caller's.
 */
#ifndef OTA_SIM_FAULT_H
#define OTA_SIM_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../plugin/util/error.h"
#include "../plugin/util/names.h"

enum ota_fault_kind {
    OTA_FAULT_OK, /* none */
    OTA_FAULT_FAIL,
    OTA_FAULT_SILENT,
    OTA_FAULT_IGNORE,
    OTA_FAULT_STALL,
    OTA_FAULT_REBOOT,
    OTA_FAULT_WRONG_VERSION,
    OTA_FAULT_DISCONNECT,
    OTA_FAULT_SLOW,
    OTA_FAULT_NO_DONE,
    OTA_FAULT_LATE,
    OTA_FAULT_ROLLBACK,
    OTA_FAULT_CORRUPT,
    OTA_FAULT_COUNT
};

struct ota_fault {
    enum ota_fault_kind kind;
    int64_t number; /* a code, a count, milliseconds or bytes a second */
    char version[OTA_VERSION_MAX + 1];
    int percent; /* when it strikes, or -1: this kind has no such moment */
};

/* "fail:-4@40" */
enum ota_err ota_fault_parse(const char *text, struct ota_fault *fault,
                             struct ota_error *error) OTA_CHECKED;

const char *ota_fault_name(enum ota_fault_kind kind);

/* Deals "ok=95,fail:-4@100=2" out to count devices: exact shares, places drawn from the seed. */
enum ota_err ota_mix_deal(const char *mix, size_t count, uint64_t seed, struct ota_fault **faults,
                          struct ota_error *error) OTA_CHECKED;

/* For --help. */
void ota_fault_print(FILE *out);

#endif
