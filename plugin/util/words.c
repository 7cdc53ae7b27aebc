/* SPDX-License-Identifier: BSD-3-Clause */
#include "words.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    const char *words;
} shown_table[OTA_SHOWN_COUNT] = {
    [OTA_SHOWN_DEVICE_OFFLINE] = {"device_offline", "device offline"},
    [OTA_SHOWN_TASK_WAITING] = {"task_waiting", "task waiting"},
    [OTA_SHOWN_MESSAGE_SENT] = {"message_sent", "message successfully sent"},
    [OTA_SHOWN_DOWNLOADING] = {"downloading", "downloading"},
    [OTA_SHOWN_DOWNLOADED] = {"downloaded", "downloaded"},
    [OTA_SHOWN_UPGRADING] = {"upgrading", "upgrading"},
    [OTA_SHOWN_FAILED] = {"failed", "upgrade failed"},
    [OTA_SHOWN_SUCCEEDED] = {"succeeded", "upgraded successfully"},
    [OTA_SHOWN_CANCELLED] = {"cancelled", "cancelled"},
};

static const char *const confirmations[OTA_CONFIRMATION_COUNT] = {
    [OTA_PENDING] = "pending",
    [OTA_CONFIRMED] = "confirmed",
    [OTA_CONTRADICTED] = "contradicted",
};

static const char *const waits[OTA_WAIT_COUNT] = {
    [OTA_WAIT_PACED] = "paced",         [OTA_WAIT_IN_FLIGHT] = "in_flight",
    [OTA_WAIT_SCHEDULED] = "scheduled", [OTA_WAIT_PAUSED] = "paused",
    [OTA_WAIT_STAGE] = "stage",         [OTA_WAIT_RETRY] = "retry",
    [OTA_WAIT_HELD] = "held",           [OTA_WAIT_GATEWAY] = "gateway",
};

static const char *const batch_states[OTA_BATCH_STATE_COUNT] = {
    [OTA_BATCH_DRAFT] = "draft",         [OTA_BATCH_SCHEDULED] = "scheduled",
    [OTA_BATCH_PREPARING] = "preparing", [OTA_BATCH_RUNNING] = "running",
    [OTA_BATCH_PAUSED] = "paused",       [OTA_BATCH_CANCELLED] = "cancelled",
    [OTA_BATCH_FINISHED] = "finished",
};

static const char *const batch_reasons[OTA_REASON_COUNT] = {
    [OTA_REASON_ADMIN] = "admin",
    [OTA_REASON_FAILURE_THRESHOLD] = "failure_threshold",
    [OTA_REASON_STAGE_GATE] = "stage_gate",
    [OTA_REASON_EXPIRED] = "expired",
};

static const char *const modes[OTA_MODE_COUNT] = {
    [OTA_MODE_SNAPSHOT] = "snapshot",
    [OTA_MODE_CONTINUOUS] = "continuous",
};

static const char *const gates[OTA_GATE_COUNT] = {
    [OTA_GATE_CONFIRMED] = "confirmed",
    [OTA_GATE_DONE] = "done",
};

static const char *const stage_states[OTA_STAGE_STATE_COUNT] = {
    [OTA_STAGE_WAITING] = "waiting",
    [OTA_STAGE_OPEN] = "open",
    [OTA_STAGE_PASSED] = "passed",
};

static const char *const exclusions[OTA_EXCLUSION_COUNT] = {
    [OTA_EXCLUDED_ON_VERSION] = "on_version",
    [OTA_EXCLUDED_BUSY] = "busy",
    [OTA_EXCLUDED_HELD] = "held",
    [OTA_EXCLUDED_DOWNGRADE] = "downgrade",
};

static const char *const roles[] = {
    [OTA_ROLE_NONE] = "none",
    [OTA_ROLE_VIEWER] = "viewer",
    [OTA_ROLE_OPERATOR] = "operator",
    [OTA_ROLE_ADMIN] = "admin",
};

static const struct {
    int code;
    const char *text;
} results[] = {
    {-1, "download timed out"}, {-2, "file missing"},   {-3, "not authorised"},
    {-4, "checksum mismatch"},  {-5, "upgrade failed"},
};

enum ota_shown ota_shown_of(enum ota_status status, bool online)
{
    if (status == OTA_WAITING) {
        return online ? OTA_SHOWN_TASK_WAITING : OTA_SHOWN_DEVICE_OFFLINE;
    }
    return (enum ota_shown)(OTA_SHOWN_MESSAGE_SENT + (int)status - (int)OTA_MESSAGE_SENT);
}

const char *ota_shown_name(enum ota_shown shown)
{
    return shown_table[shown].name;
}

const char *ota_shown_words(enum ota_shown shown)
{
    return shown_table[shown].words;
}

enum ota_shown ota_shown_parse(const char *name)
{
    unsigned i = 0;
    while (i < OTA_SHOWN_COUNT && strcmp(shown_table[i].name, name) != 0) {
        i++;
    }
    return (enum ota_shown)i;
}

/* The place of name among count words, or count. */
static unsigned place_of(const char *const *words, unsigned count, const char *name)
{
    unsigned i = 0;
    while (i < count && strcmp(words[i], name) != 0) {
        i++;
    }
    return i;
}

const char *ota_batch_state_name(enum ota_batch_state state)
{
    return batch_states[state];
}

enum ota_batch_state ota_batch_state_parse(const char *name)
{
    return (enum ota_batch_state)place_of(batch_states, OTA_BATCH_STATE_COUNT, name);
}

const char *ota_batch_reason_name(enum ota_batch_reason reason)
{
    return batch_reasons[reason];
}

const char *ota_batch_mode_name(enum ota_batch_mode mode)
{
    return modes[mode];
}

enum ota_batch_mode ota_batch_mode_parse(const char *name)
{
    return (enum ota_batch_mode)place_of(modes, OTA_MODE_COUNT, name);
}

const char *ota_gate_name(enum ota_gate gate)
{
    return gates[gate];
}

enum ota_gate ota_gate_parse(const char *name)
{
    return (enum ota_gate)place_of(gates, OTA_GATE_COUNT, name);
}

const char *ota_stage_state_name(enum ota_stage_state state)
{
    return stage_states[state];
}

const char *ota_exclusion_name(enum ota_exclusion exclusion)
{
    return exclusions[exclusion];
}

const char *ota_confirmation_name(enum ota_confirmation confirmation)
{
    return confirmations[confirmation];
}

const char *ota_wait_name(enum ota_wait wait)
{
    return waits[wait];
}

const char *ota_role_name(enum ota_role role)
{
    return roles[role];
}

enum ota_role ota_role_parse(const char *name)
{
    for (int i = OTA_ROLE_VIEWER; i <= OTA_ROLE_ADMIN; i++) {
        if (strcmp(roles[i], name) == 0) {
            return (enum ota_role)i;
        }
    }
    return OTA_ROLE_NONE;
}

const char *ota_result_text(int code)
{
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        if (results[i].code == code) {
            return results[i].text;
        }
    }
    return "the device reported a failure of its own";
}
