/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what clang-tidy is told before each file (scripts/tidy-one): which code ota_error_set
 *       and its kin return. It can't look into error.c, and would follow paths on which an error is
 *       OTA_OK.
 */
#ifndef OTA_TESTS_TIDY_H
#define OTA_TESTS_TIDY_H

#include "../plugin/util/error.h"

#define ota_error_set(error, code, ...) ((void)ota_error_set(error, code, __VA_ARGS__), (code))
#define ota_error_no_memory(error)      ((void)ota_error_no_memory(error), OTA_UNAVAILABLE)

#endif
