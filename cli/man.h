/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the man page otactl(1), made from the tables of commands and settings.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_MAN_H
#define OTA_CLI_MAN_H

#include <stdio.h>

void ota_man_print(FILE *out);

#endif
