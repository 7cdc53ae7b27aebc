/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what every admin command is called, who may run it, what it takes. One row a command:
 *       from it come validation, the role check, otactl's words and help, and the documentation.
 * Thread: any; constant tables.
 * Frees: nothing.
 */
#ifndef OTA_COMMAND_TABLE_H
#define OTA_COMMAND_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/words.h"

/* X(ENUM, c_name, "wireName", role, writes, "words of otactl", "one line of help") */
#define OTA_COMMANDS(X)                                                                            \
    X(CREATE_PRODUCT, create_product, "createProduct", ADMIN, true, "product create",              \
      "add a product")                                                                             \
    X(UPDATE_PRODUCT, update_product, "updateProduct", ADMIN, true, "product update",              \
      "change a product's description")                                                            \
    X(DELETE_PRODUCT, delete_product, "deleteProduct", ADMIN, true, "product delete",              \
      "remove a product; with force also its devices, firmware and finished tasks")                \
    X(LIST_PRODUCTS, list_products, "listProducts", VIEWER, false, "product list",                 \
      "all products with their devices, firmware and how many are online")                         \
    X(ADD_FIRMWARE, add_firmware, "addFirmware", ADMIN, true, "firmware announce",                 \
      "announce a firmware file; answers where the upload goes on")                                \
    X(UPLOAD_FIRMWARE_BLOCK, upload_firmware_block, "uploadFirmwareBlock", ADMIN, true,            \
      "firmware block", "send the next piece of an announced file")                                \
    X(COMMIT_FIRMWARE, commit_firmware, "commitFirmware", ADMIN, true, "firmware commit",          \
      "check an uploaded file and put it into the list")                                           \
    X(ABORT_FIRMWARE, abort_firmware, "abortFirmware", ADMIN, true, "firmware abort",              \
      "give up an unfinished upload")                                                              \
    X(LIST_FIRMWARE, list_firmware, "listFirmware", VIEWER, false, "firmware list",                \
      "a product's firmware")                                                                      \
    X(GET_FIRMWARE, get_firmware, "getFirmware", VIEWER, false, "firmware show", "one firmware")   \
    X(DELETE_FIRMWARE, delete_firmware, "deleteFirmware", ADMIN, true, "firmware delete",          \
      "remove a firmware that no unfinished task needs")                                           \
    X(CREATE_DEVICE, create_device, "createDevice", ADMIN, true, "device create",                  \
      "make a device known before it reports")                                                     \
    X(UPDATE_DEVICE, update_device, "updateDevice", OPERATOR, true, "device update",               \
      "change a device's description, tags or hold")                                               \
    X(DELETE_DEVICE, delete_device, "deleteDevice", ADMIN, true, "device delete",                  \
      "forget a device; with auto_register its next report brings it back")                        \
    X(SET_DEVICE_SECRET, set_device_secret, "setDeviceSecret", ADMIN, true, "device set-secret",   \
      "give a device the secret that it logs in with; a drawn one is shown this once")             \
    X(DELETE_DEVICE_SECRET, delete_device_secret, "deleteDeviceSecret", ADMIN, true,               \
      "device delete-secret", "take a device's secret away: it can't log in with it any more")     \
    X(GET_DEVICE, get_device, "getDevice", VIEWER, false, "device show",                           \
      "one device with its last task")                                                             \
    X(LIST_DEVICES, list_devices, "listDevices", VIEWER, false, "device list",                     \
      "a product's devices, by version, tag, name, presence or gateway")                           \
    X(LIST_DEVICE_HISTORY, list_device_history, "listDeviceHistory", VIEWER, false,                \
      "device history", "every version that a device reported, newest first")                      \
    X(EXPLAIN_DEVICE, explain_device, "explainDevice", VIEWER, false, "device explain",            \
      "why a device is where it is, in a sentence")                                                \
    X(BIND_DEVICE, bind_device, "bindDevice", ADMIN, true, "device bind",                          \
      "let a gateway speak for a device")                                                          \
    X(UNBIND_DEVICE, unbind_device, "unbindDevice", ADMIN, true, "device unbind",                  \
      "take a device from its gateway")                                                            \
    X(LIST_VERSIONS, list_versions, "listVersions", VIEWER, false, "version list",                 \
      "all versions of a product, uploaded or reported")                                           \
    X(UPGRADE_DEVICE, upgrade_device, "upgradeDevice", OPERATOR, true, "upgrade",                  \
      "upgrade one device to a firmware version")                                                  \
    X(LIST_TASKS, list_tasks, "listTasks", VIEWER, false, "task list",                             \
      "the upgrade status list, newest first")                                                     \
    X(GET_TASK, get_task, "getTask", VIEWER, false, "task show", "one task with its history")      \
    X(CANCEL_TASK, cancel_task, "cancelTask", OPERATOR, true, "task cancel",                       \
      "end a task now; its download stops")                                                        \
    X(RETRY_TASK, retry_task, "retryTask", OPERATOR, true, "task retry",                           \
      "start a new attempt of a failed or cancelled task")                                         \
    X(CREATE_BATCH, create_batch, "createBatch", OPERATOR, true, "batch create",                   \
      "upgrade many devices: by version, name, tag; in stages, at a pace")                         \
    X(ADD_BATCH_DEVICES, add_batch_devices, "addBatchDevices", OPERATOR, true, "batch add",        \
      "add devices by name to a draft")                                                            \
    X(START_BATCH, start_batch, "startBatch", OPERATOR, true, "batch start", "start a draft")      \
    X(UPDATE_BATCH, update_batch, "updateBatch", OPERATOR, true, "batch update",                   \
      "change a batch's name, pace, limits or expiry")                                             \
    X(LIST_BATCHES, list_batches, "listBatches", VIEWER, false, "batch list",                      \
      "batches with their progress, newest first")                                                 \
    X(GET_BATCH, get_batch, "getBatch", VIEWER, false, "batch show",                               \
      "one batch with its stages and counts")                                                      \
    X(PAUSE_BATCH, pause_batch, "pauseBatch", OPERATOR, true, "batch pause",                       \
      "send no further notices; devices under way go on")                                          \
    X(RESUME_BATCH, resume_batch, "resumeBatch", OPERATOR, true, "batch resume",                   \
      "go on with a paused batch; known failures count as known")                                  \
    X(ADVANCE_BATCH, advance_batch, "advanceBatch", OPERATOR, true, "batch advance",               \
      "open the next stage now, also out of a pause")                                              \
    X(CANCEL_BATCH, cancel_batch, "cancelBatch", OPERATOR, true, "batch cancel",                   \
      "end a batch: no device gets a notice any more")                                             \
    X(RETRY_BATCH, retry_batch, "retryBatch", OPERATOR, true, "batch retry",                       \
      "let the failed tasks of a batch wait again")                                                \
    X(GET_STATS, get_stats, "getStats", VIEWER, false, "stats",                                    \
      "versions, statuses and failures of a product or a batch")                                   \
    X(LIST_AUDIT, list_audit, "listAudit", ADMIN, false, "audit",                                  \
      "who asked for which change, and what came of it; newest first")                             \
    X(CREATE_TOKEN, create_token, "createToken", ADMIN, true, "token create",                      \
      "make a token, with which a build server gets in over HTTP")                                 \
    X(LIST_TOKENS, list_tokens, "listTokens", ADMIN, false, "token list",                          \
      "the tokens that there are: what they may, who made them, when they were used last")         \
    X(REVOKE_TOKEN, revoke_token, "revokeToken", ADMIN, true, "token revoke",                      \
      "end a token at once, with the event streams that it has open")                              \
    X(BACKUP, backup, "backup", ADMIN, true, "backup",                                             \
      "copy the database to backup_dir, while all goes on")                                        \
    X(GET_INFO, get_info, "getInfo", VIEWER, false, "info",                                        \
      "versions, sizes, counts and warnings of the running service")

enum ota_command_id {
#define OTA_X(id, c_name, name, role, writes, words, help) OTA_CMD_##id,
    OTA_COMMANDS(OTA_X)
#undef OTA_X
        OTA_COMMAND_COUNT
};

enum ota_param_type {
    OTA_PARAM_PRODUCT,  /* a product's name */
    OTA_PARAM_DEVICE,   /* a device's name, or the start of one */
    OTA_PARAM_VERSION,  /* a firmware version */
    OTA_PARAM_FILENAME, /* .bin, .tar, .gz, .zip */
    OTA_PARAM_TEXT,     /* description */
    OTA_PARAM_TAG,
    OTA_PARAM_TAGS, /* array of tags */
    OTA_PARAM_BOOL,
    OTA_PARAM_INT,    /* min..max */
    OTA_PARAM_SHA256, /* 64 lower-case hex digits */
    OTA_PARAM_BASE64, /* min..max characters */
    OTA_PARAM_STATUS, /* a task status as shown */
    OTA_PARAM_CURSOR,
    OTA_PARAM_RETRY,     /* {max, delaySeconds, on?} */
    OTA_PARAM_TIME,      /* Unix ms */
    OTA_PARAM_DEVICES,   /* array of names */
    OTA_PARAM_TARGET,    /* {all} or {fromVersions?, notVersions?, devices?, tags?, online?} */
    OTA_PARAM_STAGES,    /* [{percent | count, minSuccessPercent?, soakSeconds?, advance?}] */
    OTA_PARAM_THRESHOLD, /* {percent, minFinished} */
    OTA_PARAM_GATE,
    OTA_PARAM_MODE,
    OTA_PARAM_RUNNING, /* finish, cancel */
    OTA_PARAM_BATCH_STATE,
    OTA_PARAM_NAME, /* of a token */
    OTA_PARAM_ROLE  /* viewer, operator, admin */
};

struct ota_param {
    const char *key; /* NULL ends a list */
    enum ota_param_type type;
    bool required;
    int64_t min; /* of OTA_PARAM_INT and the length of OTA_PARAM_BASE64 */
    int64_t max;
    const char *help;
};

struct ota_command {
    enum ota_command_id id;
    const char *name;
    enum ota_role role;
    bool writes; /* takes requestId */
    const char *words;
    const char *help;
    const struct ota_param *params; /* without command, correlationData and requestId */
};

/* Row of an id below OTA_COMMAND_COUNT. */
const struct ota_command *ota_command(enum ota_command_id id);

/* Row by wire name, or NULL. */
const struct ota_command *ota_command_find(const char *name);

/* Parameter of that key, or NULL. */
const struct ota_param *ota_command_param(const struct ota_command *command, const char *key);

/* The longest requestId, in characters. */
#define OTA_REQUEST_ID_MAX     64
#define OTA_COMMANDS_A_MESSAGE 100
/* Names in one command, and versions of a target. */
#define OTA_DEVICES_A_COMMAND  1000
#define OTA_TARGET_VERSIONS    100
#define OTA_LIST_DEFAULT       100
#define OTA_LIST_MAX           200

#endif
