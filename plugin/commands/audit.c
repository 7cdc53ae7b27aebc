/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"

static bool list_entry(void *data, const struct ota_audit_row *row)
{
    struct ota_page *page = data;
    (void)ota_page_add(page, json_pack("{s:I, s:o, s:o, s:s, s:o, s:s, s:I}", "at",
                                       (json_int_t)row->at, "user", ota_show_user(row->user),
                                       "client", ota_show_user(row->client), "command",
                                       row->command, "target", ota_json_text(row->target), "code",
                                       row->code, "count", (json_int_t)row->count));
    return !ota_page_is_full(page);
}

/* The key of a page is "<at>.<id>". */
static struct ota_audit_place place_of(const struct ota_page *page)
{
    char *rest = NULL;
    struct ota_audit_place place = {.at = strtoll(page->key, &rest, 10)};
    place.id = *rest == '.' ? strtoll(rest + 1, NULL, 10) : 0;
    return place;
}

static enum ota_err close_page(struct ota_call *call, struct ota_page *page,
                               const struct ota_audit_place *last, bool more)
{
    char key[OTA_DEVICE_MAX + 1];
    (void)snprintf(key, sizeof key, "%lld.%lld", (long long)last->at, (long long)last->id);
    return ota_page_close(call, page, "entries", more ? key : NULL);
}

enum ota_err ota_cmd_list_audit(struct ota_call *call)
{
    struct ota_page page = {0};
    struct ota_audit_filter filter = {.since = ota_field_int(call->fields, "since", 0),
                                      .user = ota_field_text_or_null(call->fields, "user"),
                                      .command = ota_field_text_or_null(call->fields, "action")};
    struct ota_audit_place last = {0};
    bool more = false;
    enum ota_err err = ota_page_open(call, &page);
    if (err == OTA_OK) {
        struct ota_audit_place after = place_of(&page);
        err = ota_audit_list(call->core->store, &filter, &after, list_entry, &page, &last, &more,
                             &call->error);
    }
    if (err == OTA_OK) {
        err = close_page(call, &page, &last, more);
    }
    json_decref(page.rows);
    return err;
}
