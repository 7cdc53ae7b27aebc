/* SPDX-License-Identifier: BSD-3-Clause */
#include "token.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "render.h"

static bool is_lost(const json_t *data)
{
    return json_object_get(data, "token") != NULL && json_object_get(data, "secret") == NULL;
}

/* It was made, but its answer was lost: the server knows no more than a digest. */
static enum ota_exit fail_lost(const json_t *data, struct ota_failure *failure)
{
    const json_t *token = json_object_get(json_object_get(data, "token"), "token");
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                    "token %" PRId64 " was made, but the answer with it was lost: otactl token "
                    "revoke %" PRId64 ", and make another",
                    (int64_t)json_integer_value(token), (int64_t)json_integer_value(token));
}

enum ota_exit ota_token_create_run(struct ota_session *session, const struct ota_job *job,
                                   struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc = ota_session_call(session, OTA_CMD_CREATE_TOKEN, job->fields, &data, failure);
    if (rc == OTA_EXIT_OK && is_lost(data)) {
        rc = fail_lost(data, failure);
    } else if (rc == OTA_EXIT_OK) {
        ota_session_show(session, data, ota_render_data);
        (void)fprintf(stderr, "The secret is shown this once: keep it where only the build server "
                              "can read it.\n");
    }
    json_decref(data);
    return rc;
}
