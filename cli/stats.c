/* SPDX-License-Identifier: BSD-3-Clause */
#include "stats.h"

#include "batch_words.h"
#include "render.h"

/* {"failed": 3} as rows of a table; what nobody is in is left out. */
static json_t *status_rows(const json_t *statuses)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < OTA_SHOWN_COUNT; i++) {
        const char *name = ota_shown_name((enum ota_shown)i);
        json_int_t count = ota_batch_number(statuses, name);
        if (count > 0) {
            (void)json_array_append_new(rows,
                                        json_pack("{s:s, s:I}", "status", name, "devices", count));
        }
    }
    return rows;
}

static void print_tables(const json_t *data)
{
    json_t *shown = json_copy((json_t *)data);
    if (json_object_get(data, "statuses") != NULL) {
        (void)json_object_set_new(shown, "statuses",
                                  status_rows(json_object_get(data, "statuses")));
    }
    ota_render_block(shown);
    json_decref(shown);
}

enum ota_exit ota_stats_run(struct ota_session *session, const struct ota_job *job,
                            struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc =
        ota_session_call(session, job->verb.command->id, job->fields, &data, failure);
    if (rc == OTA_EXIT_OK) {
        ota_session_show(session, data, print_tables);
    }
    json_decref(data);
    return rc;
}
