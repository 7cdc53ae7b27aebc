/* SPDX-License-Identifier: BSD-3-Clause */
#include "command_table.h"

#include <string.h>

#define END                                                                                        \
    {                                                                                              \
        .key = NULL                                                                                \
    }
#define PRODUCT                                                                                    \
    {                                                                                              \
        "product", OTA_PARAM_PRODUCT, true, 0, 0, "the product's name"                             \
    }
#define DEVICE                                                                                     \
    {                                                                                              \
        "device", OTA_PARAM_DEVICE, true, 0, 0, "the device's name"                                \
    }
#define VERSION                                                                                    \
    {                                                                                              \
        "version", OTA_PARAM_VERSION, true, 0, 0, "the firmware version"                           \
    }
#define TASK                                                                                       \
    {                                                                                              \
        "task", OTA_PARAM_INT, true, 1, INT64_MAX, "the task's number"                             \
    }
#define BATCH                                                                                      \
    {                                                                                              \
        "batch", OTA_PARAM_INT, true, 1, INT64_MAX, "the batch's number"                           \
    }
#define NAME                                                                                       \
    {                                                                                              \
        "name", OTA_PARAM_TEXT, false, 0, 0, "what people call it, at most 256 bytes"              \
    }
/* What can be changed while a batch goes on. */
#define LIMITS                                                                                     \
    {"ratePerMinute", OTA_PARAM_INT, false, 1, 6000000, "at most so many first notices a minute"}, \
        {"maxInFlight", OTA_PARAM_INT,                                                             \
         false,         1,                                                                         \
         10000000,      "at most so many devices at it at the same time (500)"},                   \
        {"failureThreshold",                                                                       \
         OTA_PARAM_THRESHOLD,                                                                      \
         false,                                                                                    \
         0,                                                                                        \
         0,                                                                                        \
         "pause at so many percent failures of at least minFinished outcomes"},                    \
    {                                                                                              \
        "expireAt", OTA_PARAM_TIME, false, 0, 0, "what was never noticed by then is cancelled"     \
    }
#define UPLOAD                                                                                     \
    {                                                                                              \
        "upload", OTA_PARAM_INT, true, 1, INT64_MAX, "the upload's number"                         \
    }
#define DESCRIPTION                                                                                \
    {                                                                                              \
        "description", OTA_PARAM_TEXT, false, 0, 0, "free text, at most 256 bytes"                 \
    }
#define PAGE                                                                                       \
    {"limit", OTA_PARAM_INT, false, 1, OTA_LIST_MAX, "rows a page"},                               \
    {                                                                                              \
        "cursor", OTA_PARAM_CURSOR, false, 0, 0, "nextCursor of the page before"                   \
    }

static const struct ota_param create_product_params[] = {PRODUCT, DESCRIPTION, END};

static const struct ota_param update_product_params[] = {
    PRODUCT, {"description", OTA_PARAM_TEXT, true, 0, 0, "free text, at most 256 bytes"}, END};

static const struct ota_param delete_product_params[] = {
    PRODUCT,
    {"force", OTA_PARAM_BOOL, false, 0, 0, "also its devices, firmware and finished tasks"},
    END};

static const struct ota_param list_products_params[] = {PAGE, END};

static const struct ota_param add_firmware_params[] = {
    PRODUCT,
    VERSION,
    {"filename", OTA_PARAM_FILENAME, true, 0, 0, "its name: a .bin, .tar, .gz or .zip"},
    {"size", OTA_PARAM_INT, true, 1, INT64_MAX, "bytes"},
    {"sha256", OTA_PARAM_SHA256, true, 0, 0, "of the whole file, 64 lower-case hex digits"},
    DESCRIPTION,
    {"order", OTA_PARAM_INT, false, -1000000000000, 1000000000000,
     "what is newer has a higher one (default: one more than the highest)"},
    {"signature", OTA_PARAM_BASE64, false, 88, 88, "Ed25519 over the manifest, base64"},
    END};

static const struct ota_param upload_firmware_block_params[] = {
    UPLOAD,
    {"offset", OTA_PARAM_INT, true, 0, INT64_MAX, "bytes sent so far"},
    {"data", OTA_PARAM_BASE64, true, 4, 87384, "at most blockSize bytes, base64"},
    END};

static const struct ota_param commit_firmware_params[] = {UPLOAD, END};
static const struct ota_param abort_firmware_params[] = {UPLOAD, END};
static const struct ota_param list_firmware_params[] = {PRODUCT, PAGE, END};
static const struct ota_param get_firmware_params[] = {PRODUCT, VERSION, END};
static const struct ota_param delete_firmware_params[] = {PRODUCT, VERSION, END};

static const struct ota_param create_device_params[] = {
    PRODUCT,
    DEVICE,
    DESCRIPTION,
    {"tags", OTA_PARAM_TAGS, false, 0, 0, "at most 16, each 1-32 of A-Z a-z 0-9 _ . : = -"},
    END};

static const struct ota_param update_device_params[] = {
    PRODUCT,
    DEVICE,
    DESCRIPTION,
    {"tags", OTA_PARAM_TAGS, false, 0, 0, "replaces the device's tags"},
    {"hold", OTA_PARAM_BOOL, false, 0, 0, "keep the device out of upgrades"},
    END};

static const struct ota_param delete_device_params[] = {PRODUCT, DEVICE, END};

static const struct ota_param set_device_secret_params[] = {
    PRODUCT,
    DEVICE,
    {"secret", OTA_PARAM_BASE64, false, 24, 64, "16 to 48 bytes, base64 (one of 32 is drawn)"},
    END};

static const struct ota_param delete_device_secret_params[] = {PRODUCT, DEVICE, END};
static const struct ota_param get_device_params[] = {PRODUCT, DEVICE, END};

static const struct ota_param list_devices_params[] = {
    PRODUCT,
    {"version", OTA_PARAM_VERSION, false, 0, 0, "those that run this version"},
    {"online", OTA_PARAM_BOOL, false, 0, 0, "those that are connected, or are not"},
    {"tag", OTA_PARAM_TAG, false, 0, 0, "those that have this tag"},
    {"prefix", OTA_PARAM_DEVICE, false, 0, 0, "those whose name starts so"},
    {"gateway", OTA_PARAM_DEVICE, false, 0, 0, "those bound to this gateway"},
    PAGE,
    END};

static const struct ota_param list_device_history_params[] = {PRODUCT, DEVICE, PAGE, END};
static const struct ota_param explain_device_params[] = {PRODUCT, DEVICE, END};
#define GATEWAY                                                                                    \
    {"gatewayProduct", OTA_PARAM_PRODUCT, true, 0, 0, "the gateway's product"},                    \
    {                                                                                              \
        "gateway", OTA_PARAM_DEVICE, true, 0, 0, "the gateway, a device"                           \
    }
static const struct ota_param bind_device_params[] = {PRODUCT, DEVICE, GATEWAY, END};
static const struct ota_param unbind_device_params[] = {PRODUCT, DEVICE, GATEWAY, END};
static const struct ota_param list_versions_params[] = {PRODUCT, PAGE, END};

static const struct ota_param upgrade_device_params[] = {
    PRODUCT,
    DEVICE,
    VERSION,
    {"timeoutSeconds", OTA_PARAM_INT, false, 10, 604800,
     "time from the notice to success (default: option upgrade_timeout)"},
    {"retry", OTA_PARAM_RETRY, false, 0, 0, "new attempts after failures"},
    {"override", OTA_PARAM_BOOL, false, 0, 0, "cancel the device's unfinished task first"},
    {"reinstall", OTA_PARAM_BOOL, false, 0, 0, "also where it runs that version already"},
    {"allowDowngrade", OTA_PARAM_BOOL, false, 0, 0, "also to an older version"},
    END};

static const struct ota_param create_batch_params[] = {
    PRODUCT,
    VERSION,
    {"target", OTA_PARAM_TARGET, false, 0, 0, "which devices; only a draft may go without"},
    NAME,
    {"stages", OTA_PARAM_STAGES, false, 0, 0, "parts of the fleet, one after the other"},
    LIMITS,
    {"gate", OTA_PARAM_GATE, false, 0, 0, "success is: confirmed (by a version report) or done"},
    {"retry", OTA_PARAM_RETRY, false, 0, 0, "new attempts after failures"},
    {"timeoutSeconds", OTA_PARAM_INT, false, 10, 604800,
     "time from a device's notice to success (default: option upgrade_timeout)"},
    {"startAt", OTA_PARAM_TIME, false, 0, 0, "start then, not now"},
    {"mode", OTA_PARAM_MODE, false, 0, 0,
     "snapshot, or continuous: also devices that come to match later"},
    {"override", OTA_PARAM_BOOL, false, 0, 0, "cancel unfinished tasks of its devices first"},
    {"reinstall", OTA_PARAM_BOOL, false, 0, 0, "also where devices run that version already"},
    {"allowDowngrade", OTA_PARAM_BOOL, false, 0, 0, "also to an older version"},
    {"draft", OTA_PARAM_BOOL, false, 0, 0, "don't start: devices are added before"},
    {"dryRun", OTA_PARAM_BOOL, false, 0, 0, "store nothing, tell what would be"},
    END};

static const struct ota_param add_batch_devices_params[] = {
    BATCH, {"devices", OTA_PARAM_DEVICES, true, 0, 0, "up to 1000 names"}, END};

static const struct ota_param start_batch_params[] = {BATCH, END};
static const struct ota_param update_batch_params[] = {BATCH, NAME, LIMITS, END};

static const struct ota_param list_batches_params[] = {
    {"product", OTA_PARAM_PRODUCT, false, 0, 0, "batches of this product"},
    {"state", OTA_PARAM_BATCH_STATE, false, 0, 0, "batches in this state"},
    PAGE,
    END};

static const struct ota_param get_batch_params[] = {BATCH, END};
static const struct ota_param pause_batch_params[] = {BATCH, END};
static const struct ota_param resume_batch_params[] = {BATCH, END};
static const struct ota_param advance_batch_params[] = {BATCH, END};

static const struct ota_param cancel_batch_params[] = {
    BATCH,
    {"running", OTA_PARAM_RUNNING, false, 0, 0,
     "devices under way: finish (they go on) or cancel them too"},
    END};

static const struct ota_param retry_batch_params[] = {BATCH, END};

static const struct ota_param get_stats_params[] = {
    {"product", OTA_PARAM_PRODUCT, false, 0, 0, "of this product, or"},
    {"batch", OTA_PARAM_INT, false, 1, INT64_MAX, "of this batch"},
    END};

static const struct ota_param list_tasks_params[] = {
    {"product", OTA_PARAM_PRODUCT, false, 0, 0, "tasks of this product"},
    {"batch", OTA_PARAM_INT, false, 1, INT64_MAX, "tasks of this batch"},
    {"device", OTA_PARAM_DEVICE, false, 0, 0, "tasks of this device; needs product"},
    {"version", OTA_PARAM_VERSION, false, 0, 0, "tasks with this target"},
    {"status", OTA_PARAM_STATUS, false, 0, 0, "tasks in this status"},
    PAGE,
    END};

static const struct ota_param get_task_params[] = {TASK, END};
static const struct ota_param cancel_task_params[] = {TASK, END};
static const struct ota_param retry_task_params[] = {TASK, END};
static const struct ota_param list_audit_params[] = {
    {"since", OTA_PARAM_TIME, false, 0, 0, "not what is older"},
    {"user", OTA_PARAM_TEXT, false, 0, 0, "what this user asked for"},
    {"action", OTA_PARAM_TEXT, false, 0, 0,
     "requests of this command, such as deleteDevice; also identity, deviceLogin, shadowing, "
     "other"},
    PAGE,
    END};

static const struct ota_param create_token_params[] = {
    {"name", OTA_PARAM_NAME, true, 0, 0, "what it is called, such as the build server's name"},
    {"role", OTA_PARAM_ROLE, true, 0, 0,
     "what it may; never more than the user who makes it, now and later"},
    {"expireAt", OTA_PARAM_TIME, false, 0, 0, "it is of no use from then on (default: never)"},
    END};

static const struct ota_param list_tokens_params[] = {PAGE, END};

static const struct ota_param revoke_token_params[] = {
    {"token", OTA_PARAM_INT, true, 1, INT64_MAX, "the token's number"}, END};

static const struct ota_param backup_params[] = {
    {"name", OTA_PARAM_TEXT, false, 0, 0,
     "of the file: 1-64 of A-Z a-z 0-9 . _ - (ota-YYYYMMDD-HHMMSS.db)"},
    END};

static const struct ota_param get_info_params[] = {END};

static const struct ota_command commands[OTA_COMMAND_COUNT] = {
#define OTA_X(id, c_name, name, role, writes, words, help)                                         \
    [OTA_CMD_##id] = {OTA_CMD_##id, name, OTA_ROLE_##role, writes, words, help, c_name##_params},
    OTA_COMMANDS(OTA_X)
#undef OTA_X
};

const struct ota_command *ota_command(enum ota_command_id id)
{
    return &commands[id];
}

const struct ota_command *ota_command_find(const char *name)
{
    for (size_t i = 0; i < OTA_COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

const struct ota_param *ota_command_param(const struct ota_command *command, const char *key)
{
    for (const struct ota_param *p = command->params; p->key != NULL; p++) {
        if (strcmp(p->key, key) == 0) {
            return p;
        }
    }
    return NULL;
}
