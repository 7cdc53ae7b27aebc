/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what passes on our topics (device-protocol.md "Who may touch what"): the broker asks before
 *       each message, and we look again when it comes, since another plugin may have let it in.
 *       Wills, which leave when nobody is there to be asked, and blocks that a session still has.
 * Thread: the broker's.
 * Frees: nothing; a message and its topic are the caller's, and are good for the call.
 */
#ifndef OTA_TRAFFIC_H
#define OTA_TRAFFIC_H

#include "control.h"

struct ota_traffic {
    struct ota_surroundings *around;
    struct ota_control *control;
    const struct mosquitto *let_in; /* whose publish was let in just now: its message comes next */
    const struct mosquitto *gone;   /* who disconnected in this loop: what follows is a will */
    int left_over;                  /* blocks of sessions that came back, in this loop */
    int64_t warned_at;              /* monotonic ms: of shadowing; 0: never */
};

/* One that is published, or about to be received; of a subscription only the client counts. */
struct ota_message {
    const struct mosquitto *client;
    const void *payload;
    size_t len;
    int qos;
    bool retain;
};

/* Whether the client may do it. The topic, here and below, is what ota_topic_parse made of the
 * broker's text, and isn't foreign. What is refused is counted; who subscribes is present. */
bool ota_traffic_may(struct ota_traffic *traffic, enum ota_access_op op,
                     const struct ota_topic *topic, const struct ota_message *message);

/* A message that the broker let in, on any topic of ours but the commands': a report is taken, all
 * else is refused. */
enum ota_intake_verdict ota_traffic_take(struct ota_traffic *traffic, const struct ota_topic *topic,
                                         const struct ota_message *message);

/* A message with commands: queued. False: of somebody without a role, or retained. */
bool ota_traffic_command(struct ota_traffic *traffic, const struct ota_message *message);

/* The client's connection is over. */
void ota_traffic_gone(struct ota_traffic *traffic, const struct mosquitto *client);

/* In each loop of the broker, which foreign traffic pays for. */
static inline void ota_traffic_turn(struct ota_traffic *traffic)
{
    traffic->let_in = NULL;
    traffic->gone = NULL;
    traffic->left_over = 0;
}

#endif
