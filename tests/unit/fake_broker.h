/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what stands behind plugin/broker.h in unit tests: recorded log lines and messages, clocks
 *       that a test sets, clients that are plain structs.
 * Thread: logs and clocks any; messages and clients belong to the test's thread.
 * Frees: fake_broker_reset frees the recorded messages; call it in setup and teardown.
 */
#ifndef OTA_TEST_FAKE_BROKER_H
#define OTA_TEST_FAKE_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../plugin/broker.h"

struct mosquitto {
    const char *id;
    const char *username;
    bool bridge;
    const char *address;
    char given[96]; /* the user name that it was given */
};

struct fake_message {
    char *client_id; /* NULL: to all subscribers */
    char *topic;
    char *payload; /* len bytes and a terminator */
    size_t len;
    int qos;
};

#define FAKE_LOG_LINES 64

struct fake_log_line {
    enum ota_log_level level;
    char text[512];
};

/* Forgets messages and log lines, sets both clocks to their start, lets publishing succeed. */
void fake_broker_reset(void);

/* How often a client was disconnected since the last reset, and which one the last time. */
int fake_broker_kicks(const struct mosquitto **last);
/* While true no client gets another user name. */
void fake_broker_fail_naming(bool fail);

/* The messages published since the last reset or clear, oldest first. */
size_t fake_broker_message_count(void);
const struct fake_message *fake_broker_message(size_t index);
/* The newest one on this topic, or NULL. */
const struct fake_message *fake_broker_last_on(const char *topic);
void fake_broker_clear_messages(void);
/* While true ota_broker_publish returns false and records nothing. */
void fake_broker_fail_publish(bool fail);

/* Lines logged since the last reset or clear; only the last FAKE_LOG_LINES are kept. */
size_t fake_broker_log_count(void);
/* Copies the line that is `back` lines before the newest; false where there is none. */
bool fake_broker_log_line(size_t back, struct fake_log_line *line);
/* Whether a kept line contains the text. */
bool fake_broker_logged(const char *text);
void fake_broker_clear_log(void);

#define FAKE_MONO_START 1000000
#define FAKE_UNIX_START 1700000000000

/* The clocks stand still until they are set or moved. */
void fake_broker_set_mono(int64_t ms);
void fake_broker_set_unix(int64_t ms);
/* Moves both. */
void fake_broker_advance(int64_t ms);

#endif
