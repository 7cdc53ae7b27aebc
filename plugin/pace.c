/* SPDX-License-Identifier: BSD-3-Clause */
#include "pace.h"

/* What was taken, had the slot lasted as long as it should. */
static int64_t share(const struct ota_pace_rules *rules, uint64_t bytes, int64_t lasted)
{
    return (int64_t)((double)bytes * (double)rules->slot_ms / (double)lasted);
}

static enum ota_pace_verdict judge(const struct ota_pace *pace, const struct ota_pace_rules *rules)
{
    int64_t least = rules->floor * rules->slot_ms / 1000;
    int64_t sum = 0;

    for (unsigned i = 0; i < OTA_PACE_SLOTS; i++) {
        sum += pace->slots[i];
    }
    if (pace->filled >= OTA_PACE_SLOTS && sum < least * OTA_PACE_SLOTS) {
        return OTA_PACE_DEAD;
    }
    return pace->slots[(pace->filled - 1) % OTA_PACE_SLOTS] < least ? OTA_PACE_SLOW : OTA_PACE_FAIR;
}

enum ota_pace_verdict ota_pace_look(struct ota_pace *pace, const struct ota_pace_rules *rules,
                                    uint64_t taken, int64_t now)
{
    if (!pace->counting) {
        *pace = (struct ota_pace){.counting = true, .slot_began = now, .taken_then = taken};
        return pace->verdict;
    }
    if (now - pace->slot_began < rules->slot_ms) {
        return pace->verdict;
    }
    pace->slots[pace->filled % OTA_PACE_SLOTS] =
        share(rules, taken - pace->taken_then, now - pace->slot_began);
    pace->filled++;
    pace->slot_began = now;
    pace->taken_then = taken;
    pace->verdict = judge(pace, rules);
    return pace->verdict;
}

void ota_pace_rest(struct ota_pace *pace)
{
    *pace = (struct ota_pace){0};
}
