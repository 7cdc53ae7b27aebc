/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_create.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "batch_show.h"
#include "batch_watch.h"
#include "batch_words.h"
#include "progress.h"
#include "render.h"
#include "roster.h"
#include "util/stage.h"

struct making {
    struct ota_session *session;
    const struct ota_job *job;
    json_t *fields; /* for createBatch, without the target */
    json_t *target; /* without names; NULL: none was given */
    struct ota_roster roster;
    int64_t batch; /* of a draft that names are added to; 0: none yet */
    size_t added;  /* names that are in it */
};

static bool is_wanted(const struct making *making, const char *key)
{
    return json_is_true(json_object_get(making->job->fields, key));
}

static size_t name_count(const struct making *making)
{
    return json_array_size(making->roster.names);
}

/* --- the fields ------------------------------------------------------------------------------- */

static const struct {
    const char *option;
    const char *member;
} members[] = {{"fromVersion", "fromVersions"},
               {"notVersion", "notVersions"},
               {"tag", "tags"},
               {"online", "online"},
               {"all", "all"}};

static json_t *target_of_options(const json_t *local)
{
    json_t *target = json_object();
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_t *value = json_object_get(local, members[i].option);
        /* --no-all is no wish. */
        if (value != NULL && !(strcmp(members[i].member, "all") == 0 && json_is_false(value))) {
            (void)json_object_set(target, members[i].member, value);
        }
    }
    if (json_object_size(target) > 0) {
        return target;
    }
    json_decref(target);
    return NULL;
}

static enum ota_exit choose_target(struct making *making, struct ota_failure *failure)
{
    json_t *given = json_object_get(making->fields, "target");
    making->target = target_of_options(making->job->local);
    if (given != NULL && (making->target != NULL || name_count(making) > 0)) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "target",
                        "--target says all by itself: leave --all, --from-version, --device and "
                        "the like away, or it");
    }
    if (given != NULL) {
        making->target = json_incref(given);
        (void)json_object_del(making->fields, "target");
    }
    if (making->target == NULL && name_count(making) == 0 && !is_wanted(making, "draft")) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "target",
                        "which devices? Say --all, or any of --from-version, --not-version, "
                        "--device, --devices-from, --tag, --online, --offline; otactl help batch "
                        "create");
    }
    return OTA_EXIT_OK;
}

/* The last stage is everybody: nobody need say so. */
static void complete_stages(json_t *stages)
{
    const json_t *last = json_array_get(stages, json_array_size(stages) - 1);
    double share = json_number_value(json_object_get(last, "percent"));
    if (stages != NULL && share < 100.0) {
        (void)json_array_append_new(stages, json_pack("{s:i}", "percent", 100));
    }
}

static enum ota_exit begin(struct making *making, struct ota_failure *failure)
{
    const json_t *local = making->job->local;
    making->fields = json_deep_copy(making->job->fields);
    if (is_wanted(making, "draft") && json_is_true(json_object_get(local, "watch"))) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "draft",
                        "there is nothing to watch in a draft: otactl batch start N --watch");
    }
    complete_stages(json_object_get(making->fields, "stages"));
    enum ota_exit rc = ota_roster_read(json_object_get(local, "device"),
                                       json_string_value(json_object_get(local, "devicesFrom")),
                                       &making->roster, failure);
    return rc == OTA_EXIT_OK ? choose_target(making, failure) : rc;
}

/* createBatch's fields with these names (stolen, or NULL). */
static json_t *fields_with(const struct making *making, json_t *names)
{
    json_t *fields = json_copy(making->fields);
    json_t *target = making->target != NULL ? json_copy(making->target) : json_object();
    if (names != NULL) {
        (void)json_object_set_new(target, "devices", names);
    }
    if (json_object_size(target) > 0) {
        (void)json_object_set(fields, "target", target);
    }
    json_decref(target);
    return fields;
}

static enum ota_exit call(struct making *making, enum ota_command_id id, json_t *fields,
                          json_t **data, struct ota_failure *failure)
{
    enum ota_exit rc = ota_session_call(making->session, id, fields, data, failure);
    json_decref(fields);
    if (rc != OTA_EXIT_OK) {
        ota_roster_locate(&making->roster, failure);
    }
    return rc;
}

/* --- dry runs --------------------------------------------------------------------------------- */

/* Adds every number in more to that of the same name in sum. */
static void add_up(json_t *sum, const json_t *more)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)more, key, value)
    {
        if (json_is_integer(value)) {
            (void)json_object_set_new(
                sum, key, json_integer(ota_batch_number(sum, key) + json_integer_value(value)));
        } else if (json_is_object(value)) {
            if (json_object_get(sum, key) == NULL) {
                (void)json_object_set_new(sum, key, json_object());
            }
            add_up(json_object_get(sum, key), value);
        }
    }
}

/* For the server saw the pieces only. */
static json_t *stage_sizes(const json_t *given, int64_t total)
{
    struct ota_stage stages[OTA_STAGES_MAX] = {{.percent = 100.0}};
    uint32_t ends[OTA_STAGES_MAX];
    size_t count = 0;
    for (; count < json_array_size(given) && count < OTA_STAGES_MAX; count++) {
        const json_t *stage = json_array_get(given, count);
        stages[count].percent = json_number_value(json_object_get(stage, "percent"));
        stages[count].count = ota_batch_number(stage, "count");
    }
    count = count > 0 ? count : 1;
    ota_stage_ends(stages, count, (uint32_t)total, ends);
    json_t *sizes = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(sizes, json_integer(ends[i] - (i > 0 ? ends[i - 1] : 0)));
    }
    return sizes;
}

/* Asks about a piece of the names. The soak times come once: with the first one. */
static enum ota_exit try_piece(struct making *making, size_t first, json_t *sum,
                               struct ota_failure *failure)
{
    json_t *data = NULL;
    json_t *fields =
        fields_with(making, ota_roster_piece(&making->roster, first, OTA_DEVICES_A_COMMAND));
    (void)json_object_set_new(fields, "dryRun", json_true());
    if (first > 0) {
        (void)json_object_del(fields, "stages");
    }
    enum ota_exit rc = call(making, OTA_CMD_CREATE_BATCH, fields, &data, failure);
    if (rc == OTA_EXIT_OK) {
        add_up(sum, data);
    }
    json_decref(data);
    return rc;
}

/* Does something with each piece of the names, and shows how far it is. */
static enum ota_exit walk(struct making *making, const char *unit, json_t *sum,
                          enum ota_exit (*act)(struct making *making, size_t first, json_t *sum,
                                               struct ota_failure *failure),
                          struct ota_failure *failure)
{
    struct ota_progress progress;
    enum ota_exit rc = OTA_EXIT_OK;
    size_t count = name_count(making);
    size_t done = 0;
    ota_progress_begin(&progress, unit, (int64_t)count, 0);
    while (rc == OTA_EXIT_OK && done < count) {
        rc = act(making, done, sum, failure);
        if (rc == OTA_EXIT_OK) {
            done = done + OTA_DEVICES_A_COMMAND < count ? done + OTA_DEVICES_A_COMMAND : count;
            ota_progress_update(&progress, (int64_t)done);
        }
    }
    ota_progress_end(&progress, (int64_t)done);
    return rc;
}

static void show_trial(const struct making *making, const json_t *data)
{
    if (ota_settings_json(making->session->settings)) {
        ota_render_json(data);
    } else {
        ota_batch_show_trial(making->fields, data);
    }
}

/* --- more names than a command takes ---------------------------------------------------------- */

static enum ota_exit add_piece(struct making *making, size_t first, json_t *data,
                               struct ota_failure *failure)
{
    json_t *answer = NULL;
    json_t *names = ota_roster_piece(&making->roster, first, OTA_DEVICES_A_COMMAND);
    size_t count = json_array_size(names);
    json_t *fields = json_pack("{s:I, s:o}", "batch", (json_int_t)making->batch, "devices", names);
    enum ota_exit rc = call(making, OTA_CMD_ADD_BATCH_DEVICES, fields, &answer, failure);
    if (rc == OTA_EXIT_OK) {
        (void)json_object_update(data, answer);
        making->added += count;
    }
    json_decref(answer);
    return rc;
}

static enum ota_exit make_draft(struct making *making, struct ota_failure *failure)
{
    json_t *data = NULL;
    json_t *fields = fields_with(making, NULL);
    (void)json_object_set_new(fields, "draft", json_true());
    enum ota_exit rc = call(making, OTA_CMD_CREATE_BATCH, fields, &data, failure);
    if (rc == OTA_EXIT_OK) {
        making->batch = ota_batch_number(json_object_get(data, "batch"), "batch");
    }
    json_decref(data);
    return rc;
}

/* A draft that can't be filled is of no use: it goes where the server still hears us. */
static void give_up(struct making *making, struct ota_failure *failure)
{
    struct ota_failure inner = *failure;
    struct ota_failure ignored = {0};
    json_t *data = NULL;
    json_t *fields = json_pack("{s:I}", "batch", (json_int_t)making->batch);
    if (inner.exit != OTA_EXIT_REFUSED ||
        ota_session_call(making->session, OTA_CMD_CANCEL_BATCH, fields, &data, &ignored) !=
            OTA_EXIT_OK) {
        (void)ota_fail(failure, inner.exit, inner.code, inner.field,
                       "%s; batch %" PRId64 " is an unfinished draft: otactl batch cancel %" PRId64
                       ", and begin again",
                       inner.text, making->batch, making->batch);
    }
    json_decref(data);
    json_decref(fields);
}

static enum ota_exit fill_draft(struct making *making, json_t *data, struct ota_failure *failure)
{
    json_t *started = NULL;
    enum ota_exit rc = walk(making, "names added", data, add_piece, failure);
    if (rc == OTA_EXIT_OK && !is_wanted(making, "draft")) {
        json_t *fields = json_pack("{s:I}", "batch", (json_int_t)making->batch);
        rc = call(making, OTA_CMD_START_BATCH, fields, &started, failure);
    }
    if (rc == OTA_EXIT_OK) {
        (void)json_object_update(data, started);
    } else {
        give_up(making, failure);
    }
    json_decref(started);
    return rc;
}

/* The names are looked at before anything is made of them: an unknown one leaves nothing behind. */
static enum ota_exit create_long(struct making *making, json_t **data, struct ota_failure *failure)
{
    json_t *sum = json_object();
    enum ota_exit rc = walk(making, "names looked at", sum, try_piece, failure);
    if (rc == OTA_EXIT_OK && is_wanted(making, "dryRun")) {
        const json_t *stages = json_object_get(making->fields, "stages");
        (void)json_object_set_new(sum, "stages",
                                  stage_sizes(stages, ota_batch_number(sum, "total")));
        *data = json_incref(sum);
        goto out;
    }
    if (rc == OTA_EXIT_OK) {
        rc = make_draft(making, failure);
    }
    if (rc == OTA_EXIT_OK) {
        *data = json_object();
        rc = fill_draft(making, *data, failure);
    }
out:
    json_decref(sum);
    return rc;
}

static enum ota_exit create_short(struct making *making, json_t **data, struct ota_failure *failure)
{
    json_t *names = name_count(making) > 0 ? json_incref(making->roster.names) : NULL;
    return call(making, OTA_CMD_CREATE_BATCH, fields_with(making, names), data, failure);
}

static void end(struct making *making)
{
    ota_roster_free(&making->roster);
    json_decref(making->target);
    json_decref(making->fields);
}

enum ota_exit ota_batch_create_run(struct ota_session *session, const struct ota_job *job,
                                   struct ota_failure *failure)
{
    struct making making = {.session = session, .job = job};
    json_t *data = NULL;
    enum ota_exit rc = begin(&making, failure);
    if (rc == OTA_EXIT_OK) {
        /* From here on a half-made draft must be told about. */
        ota_link_catch_interrupts(session->link);
        rc = name_count(&making) > OTA_DEVICES_A_COMMAND ? create_long(&making, &data, failure)
                                                         : create_short(&making, &data, failure);
    }
    if (rc == OTA_EXIT_OK && is_wanted(&making, "dryRun")) {
        show_trial(&making, data);
    } else if (rc == OTA_EXIT_OK) {
        rc = ota_batch_watch_answer(session, job, data, failure);
    }
    json_decref(data);
    end(&making);
    return rc;
}

/* --- batch add -------------------------------------------------------------------------------- */

static json_t *all_given(const struct ota_job *job)
{
    json_t *given = json_array();
    (void)json_array_extend(given, json_object_get(job->fields, "devices"));
    (void)json_array_extend(given, json_object_get(job->local, "device"));
    return given;
}

static void tell_what_is_in(const struct making *making, struct ota_failure *failure)
{
    struct ota_failure inner = *failure;
    if (making->added > 0) {
        (void)ota_fail(failure, inner.exit, inner.code, inner.field,
                       "%s; the %zu names before are in the draft, and may be given again",
                       inner.text, making->added);
    }
}

enum ota_exit ota_batch_add_run(struct ota_session *session, const struct ota_job *job,
                                struct ota_failure *failure)
{
    struct making making = {.session = session, .job = job};
    json_t *data = json_object();
    json_t *given = all_given(job);
    making.batch = ota_batch_number(job->fields, "batch");
    enum ota_exit rc =
        ota_roster_read(given, json_string_value(json_object_get(job->local, "devicesFrom")),
                        &making.roster, failure);
    if (rc == OTA_EXIT_OK && name_count(&making) <= OTA_DEVICES_A_COMMAND) {
        rc = add_piece(&making, 0, data, failure);
    } else if (rc == OTA_EXIT_OK) {
        rc = walk(&making, "names added", data, add_piece, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = ota_batch_watch_answer(session, job, data, failure);
    } else {
        tell_what_is_in(&making, failure);
    }
    json_decref(given);
    json_decref(data);
    end(&making);
    return rc;
}
