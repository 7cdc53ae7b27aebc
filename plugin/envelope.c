/* SPDX-License-Identifier: BSD-3-Clause */
#include "envelope.h"

#include <string.h>

#include "command_table.h"
#include "util/json_text.h"

/* A key beside `commands`, or NULL. */
static const char *stray_key(json_t *root)
{
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (strcmp(key, "commands") != 0) {
            return key;
        }
    }
    return NULL;
}

/* jansson quotes up to the byte that it stumbled over, which may be half a character: a response
 * with that is no JSON and could not be sent. */
static const char *plain(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    }
    return text;
}

static enum ota_err check(json_t *root, json_error_t *where, struct ota_error *error)
{
    const json_t *commands = json_object_get(root, "commands");
    const char *stray = stray_key(root);
    if (root == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL, "the message isn't JSON: %s",
                             plain(where->text));
    }
    if (stray != NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, stray,
                             "the message must be {\"commands\":[…]}: it takes no %.40s", stray);
    }
    if (!json_is_array(commands)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "commands",
                             "the message must be {\"commands\":[…]} and nothing else");
    }
    if (json_array_size(commands) < 1 || json_array_size(commands) > OTA_COMMANDS_A_MESSAGE) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "commands",
                             "a message has 1 to %d commands", OTA_COMMANDS_A_MESSAGE);
    }
    return OTA_OK;
}

enum ota_err ota_envelope_read(const char *text, size_t len, json_t **root, struct ota_error *error)
{
    bool no_memory;
    json_error_t where;
    json_t *read = ota_json_read(text, len, JSON_REJECT_DUPLICATES, &where, &no_memory);
    if (no_memory) {
        return ota_error_no_memory(error);
    }
    enum ota_err err = check(read, &where, error);
    if (err != OTA_OK) {
        json_decref(read);
        return err;
    }
    *root = read;
    return OTA_OK;
}
