/* SPDX-License-Identifier: BSD-3-Clause */
#include "sign.h"

#include <openssl/evp.h>

#include "secret.h"

static const char *text_of(const json_t *fields, const char *key)
{
    return json_string_value(json_object_get(fields, key));
}

static enum ota_exit fail_memory(struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "out of memory");
}

/* --- the order ------------------------------------------------------------------------------ */

/* One page; leaves in fields what asks for the next one, *more: whether there is one. */
static enum ota_exit look_at_page(struct ota_session *session, json_t *fields, int64_t *highest,
                                  bool *more, struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc = ota_session_call(session, OTA_CMD_LIST_FIRMWARE, fields, &data, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(data, "firmware"), i, row)
    {
        int64_t order = json_integer_value(json_object_get(row, "order"));
        *highest = order > *highest ? order : *highest;
    }
    json_t *cursor = json_object_get(data, "nextCursor");
    *more = cursor != NULL;
    if (*more && json_object_set(fields, "cursor", cursor) != 0) {
        rc = fail_memory(failure);
    }
    json_decref(data);
    return rc;
}

/* The server would choose the same, but only after it was signed. */
static enum ota_exit ask_order(struct ota_session *session, const char *product, int64_t *order,
                               struct ota_failure *failure)
{
    json_t *fields = json_pack("{s:s, s:i}", "product", product, "limit", OTA_LIST_MAX);
    int64_t highest = INT64_MIN;
    bool more = true;
    enum ota_exit rc = fields != NULL ? OTA_EXIT_OK : fail_memory(failure);
    while (rc == OTA_EXIT_OK && more) {
        rc = look_at_page(session, fields, &highest, &more, failure);
    }
    json_decref(fields);
    if (rc == OTA_EXIT_OK) {
        *order = highest == INT64_MIN ? 1 : highest + 1;
    }
    return rc;
}

static enum ota_exit find_order(struct ota_session *session, const json_t *announcement,
                                int64_t *order, struct ota_failure *failure)
{
    const json_t *given = json_object_get(announcement, "order");
    if (given != NULL) {
        *order = json_integer_value(given);
        return OTA_EXIT_OK;
    }
    return ask_order(session, text_of(announcement, "product"), order, failure);
}

/* --- the signature -------------------------------------------------------------------------- */

static enum ota_exit sign_with(EVP_PKEY *key, int64_t order, json_t *announcement,
                               struct ota_failure *failure)
{
    char text[OTA_SIGNATURE_TEXT + 1];
    struct ota_manifest manifest = {
        .product = text_of(announcement, "product"),
        .version = text_of(announcement, "version"),
        .order = order,
        .size = json_integer_value(json_object_get(announcement, "size")),
        .sha256 = text_of(announcement, "sha256"),
    };
    enum ota_exit rc = ota_secret_sign(key, &manifest, text, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    bool kept = json_object_set_new(announcement, "order", json_integer(order)) == 0 &&
                json_object_set_new(announcement, "signature", json_string(text)) == 0;
    return kept ? OTA_EXIT_OK : fail_memory(failure);
}

enum ota_exit ota_sign_announcement(struct ota_session *session, const struct ota_job *job,
                                    json_t *announcement, struct ota_failure *failure)
{
    EVP_PKEY *key = NULL;
    int64_t order;
    const char *path = text_of(job->local, "signKey");
    if (path == NULL) {
        return OTA_EXIT_OK;
    }
    if (json_object_get(announcement, "signature") != NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "signKey",
                        "--signature or --sign-key, not both");
    }
    enum ota_exit rc = ota_secret_read(path, &key, failure);
    if (rc == OTA_EXIT_OK) {
        rc = find_order(session, announcement, &order, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = sign_with(key, order, announcement, failure);
    }
    EVP_PKEY_free(key);
    return rc;
}
