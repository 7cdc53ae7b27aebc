/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: opening a listening TCP socket, with errors that say what to do.
 * Thread: any.
 * Frees: the caller closes the socket.
 */
#ifndef OTA_LISTEN_H
#define OTA_LISTEN_H

#include "util/error.h"

/*
 * Listens on address ("0.0.0.0:8080", "[::]:8080" for IPv4 too, port 0 picks one), without
 * blocking and closed on exec. Errors name `option`, the one that the address came from.
 */
OTA_CHECKED enum ota_err ota_listen(const char *address, const char *option, int *fd, int *port,
                                    struct ota_error *error);

#endif
