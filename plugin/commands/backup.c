/* SPDX-License-Identifier: BSD-3-Clause */
/* backup: the copy is made on a thread of its own; the answer comes when it is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../broker.h"
#include "commands.h"

#define OTA_LOOK_EVERY_MS 20
#define OTA_SAME_SECOND   9 /* backups without a name that end within one */

struct job {
    struct ota_surroundings *around;
    struct ota_backup *backup;
    int64_t began; /* monotonic ms */
    char *user;
    char *request_id; /* NULL: none */
    bool told;        /* somebody knows of the copy; else it goes */
};

static void free_job(void *state)
{
    struct job *job = state;
    if (job->told) {
        ota_backup_end(job->backup);
    } else {
        ota_backup_drop(job->backup);
    }
    if (job->around->backup == job) {
        job->around->backup = NULL;
    }
    free(job->user);
    free(job->request_id);
    free(job);
}

static enum ota_err rest(struct ota_call *call)
{
    call->rest_until = ota_now_mono() + OTA_LOOK_EVERY_MS;
    return OTA_AGAIN;
}

/* --- the name --------------------------------------------------------------------------------- */

static enum ota_err check_name(struct ota_call *call, const char *name)
{
    return ota_name_is_backup(name, strlen(name))
               ? OTA_OK
               : ota_error_set(
                     &call->error, OTA_INVALID_REQUEST, "name",
                     "name must be 1 to 64 letters, digits, dots, underscores and dashes, "
                     "not begin with a dot and not end as SQLite's own files do");
}

/* A time of day; where such a file is there, with a number. */
static void choose_name(const char *dir, char *name, size_t size)
{
    char path[4096];
    char stamp[32] = "";
    struct tm tm;
    time_t now = (time_t)(ota_now_unix() / 1000);
    if (gmtime_r(&now, &tm) != NULL) {
        (void)strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    }
    (void)snprintf(name, size, "ota-%s.db", stamp);
    for (int n = 2; n <= OTA_SAME_SECOND; n++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, name);
        if (access(path, F_OK) != 0) {
            return;
        }
        (void)snprintf(name, size, "ota-%s-%d.db", stamp, n);
    }
}

/* --- the job ---------------------------------------------------------------------------------- */

static struct job *new_job(struct ota_call *call)
{
    const char *request_id = ota_field_text_or_null(call->fields, "requestId");
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    job->around = call->around;
    job->began = ota_now_mono();
    job->user = strdup(call->user);
    job->request_id = request_id != NULL ? strdup(request_id) : NULL;
    if (job->user == NULL || (request_id != NULL && job->request_id == NULL)) {
        free_job(job);
        return NULL;
    }
    return job;
}

static enum ota_err start(struct ota_call *call, const char *dir, const char *name)
{
    struct job *job = new_job(call);
    if (job == NULL) {
        return ota_error_no_memory(&call->error);
    }
    enum ota_err err = ota_backup_start(call->core->store, dir, name, &job->backup, &call->error);
    if (err != OTA_OK) {
        free_job(job);
        return err;
    }
    *call->progress = (struct ota_progress){job, free_job};
    call->around->backup = job;
    return rest(call);
}

static enum ota_err begin(struct ota_call *call)
{
    char name[OTA_BACKUP_MAX + 1];
    const char *given = ota_field_text_or_null(call->fields, "name");
    const char *dir = call->around->backup_dir;
    enum ota_err err = given != NULL ? check_name(call, given) : OTA_OK;
    if (err != OTA_OK) {
        return err;
    }
    if (dir == NULL || dir[0] == '\0') {
        return ota_error_set(&call->error, OTA_UNAVAILABLE, NULL,
                             "set the option backup_dir to a directory that the broker's user may "
                             "write: without it there are no backups");
    }
    if (given == NULL) {
        choose_name(dir, name, sizeof name);
        given = name;
    }
    return start(call, dir, given);
}

/* The message came twice, as MQTT may deliver it: its stored answer will be found. */
static bool is_same_request(const struct ota_call *call, const struct job *job)
{
    const char *request_id = ota_field_text_or_null(call->fields, "requestId");
    return request_id != NULL && job->request_id != NULL &&
           strcmp(request_id, job->request_id) == 0 && strcmp(call->user, job->user) == 0;
}

static void run_told(struct ota_core *core, struct ota_effect *effect)
{
    struct job *job = effect->item;
    (void)core;
    job->told = true;
}

static enum ota_err answer(struct ota_call *call, struct job *job)
{
    const char *path = ota_backup_path(job->backup);
    int64_t bytes = ota_backup_bytes(job->backup);
    struct ota_effect *effect = ota_core_after(call->core, run_told, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(&call->error);
    }
    effect->item = job;
    ota_log(OTA_LOG_NOTICE, "backup %s: %lld bytes in %lld ms", path, (long long)bytes,
            (long long)(ota_now_mono() - job->began));
    enum ota_err err = ota_call_answer(call, "path", json_string(path));
    return err == OTA_OK ? ota_call_answer(call, "bytes", json_integer((json_int_t)bytes)) : err;
}

enum ota_err ota_cmd_backup(struct ota_call *call)
{
    struct job *mine = call->progress->state;
    const struct job *other = call->around->backup;
    if (mine == NULL && other == NULL) {
        return begin(call);
    }
    if (mine == NULL) {
        return is_same_request(call, other)
                   ? rest(call)
                   : ota_error_set(&call->error, OTA_CONFLICT, NULL,
                                   "a backup is running: wait for its end");
    }
    enum ota_err err = ota_backup_poll(mine->backup, &call->error);
    if (err == OTA_AGAIN) {
        return rest(call);
    }
    return err == OTA_OK ? answer(call, mine) : err;
}
