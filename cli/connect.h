/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the MQTT connection: commands out, answers in, and why it doesn't work.
 * Thread: main; libmosquitto's loop is turned by whoever waits for an answer.
 * Frees: ota_link_free(); answers belong to the caller.
 */
#ifndef OTA_CLI_CONNECT_H
#define OTA_CLI_CONNECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "settings.h"

struct ota_link;

struct mosquitto;

/* Gives a client what the settings say about TLS; a code of libmosquitto. */
int ota_link_prepare_tls(struct mosquitto *mosq, const struct ota_settings *settings) OTA_CHECKED;

/* Keeps settings; connects at the first command. */
enum ota_exit ota_link_new(const struct ota_settings *settings, struct ota_link **link,
                           struct ota_failure *failure) OTA_CHECKED;
void ota_link_free(struct ota_link *link);

/* Connects, if it isn't connected. After a lost connection it tries for as long as an answer
 * may take; answers to what was sent before are gone. */
enum ota_exit ota_link_open(struct ota_link *link, struct ota_failure *failure) OTA_CHECKED;

/* Sends one command (borrowed); ticket stands for its answer. */
enum ota_exit ota_link_send(struct ota_link *link, const json_t *command, uint64_t *ticket,
                            struct ota_failure *failure) OTA_CHECKED;

/* Waits for that answer: {"data":…} or {"error":…}. */
enum ota_exit ota_link_receive(struct ota_link *link, uint64_t ticket, json_t **answer,
                               struct ota_failure *failure) OTA_CHECKED;

/* Hears that topic too, from now on and after every reconnection; a broker that refuses it is no
 * failure. topic is borrowed; NULL: no longer. */
void ota_link_listen(struct ota_link *link, const char *topic);

/* Waits until something was said there, but not longer. A lost connection is the next command's
 * to find. */
enum ota_exit ota_link_wait(struct ota_link *link, int64_t ms,
                            struct ota_failure *failure) OTA_CHECKED;

/* Whether the last failure was a connection that was there and went away. */
bool ota_link_is_lost(const struct ota_link *link);

/* From now on SIGINT and SIGTERM end a wait with OTA_EXIT_INTERRUPTED, not the process. */
void ota_link_catch_interrupts(struct ota_link *link);

#endif
