/* SPDX-License-Identifier: BSD-3-Clause */
#include "upload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "progress.h"
#include "render.h"
#include "sign.h"
#include "util/hex.h"
#include "util/names.h"

/* Blocks on their way at once: the server works while the next ones travel. */
#define WINDOW     4
#define CHUNK      65536
#define BLOCK_MAX  65536
#define SHA256_HEX 64

/* Announcements in a row that brought the upload no further. */
#define STUCK_MAX 5

struct flight {
    uint64_t ticket;
    int64_t end; /* the offset that its answer must name */
};

struct upload {
    struct ota_session *session;
    const char *path;
    int fd;
    int64_t size;
    int64_t id;
    int64_t block_size;
    int64_t stored; /* acknowledged by the server */
    int64_t sent;
    struct flight flights[WINDOW];
    size_t flying;
    struct ota_progress progress;
    bool stale; /* the server's offset is not ours: announce again */
};

static enum ota_exit fail_file(const char *path, const char *why, struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, "file", "%s: %s", path, why);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static enum ota_exit open_file(struct upload *upload, struct ota_failure *failure)
{
    const char *name = base_name(upload->path);
    struct stat stat = {0};
    upload->fd = open(upload->path, O_RDONLY | O_CLOEXEC);
    if (upload->fd < 0 || fstat(upload->fd, &stat) != 0) {
        return fail_file(upload->path, strerror(errno), failure);
    }
    if (!S_ISREG(stat.st_mode)) {
        return fail_file(upload->path, "is not a file", failure);
    }
    if (stat.st_size == 0) {
        return fail_file(upload->path, "is empty", failure);
    }
    if (!ota_name_is_filename(name, strlen(name))) {
        return fail_file(upload->path,
                         "firmware is a .bin file or a .tar, .gz or .zip package, with a name of "
                         "at most 128 bytes",
                         failure);
    }
    upload->size = stat.st_size;
    return OTA_EXIT_OK;
}

static int digest_file(const struct upload *upload, EVP_MD_CTX *context, unsigned char *buffer)
{
    for (int64_t offset = 0; offset < upload->size;) {
        ssize_t n = pread(upload->fd, buffer, CHUNK, offset);
        if (n <= 0 || EVP_DigestUpdate(context, buffer, (size_t)n) != 1) {
            return -1;
        }
        offset += n;
    }
    return 0;
}

static enum ota_exit hash_file(const struct upload *upload, char hex[SHA256_HEX + 1],
                               struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *buffer = malloc(CHUNK);
    if (context == NULL || buffer == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
        digest_file(upload, context, buffer) != 0 ||
        EVP_DigestFinal_ex(context, digest, &len) != 1) {
        rc = fail_file(upload->path, "cannot be read to its end", failure);
        goto out;
    }
    ota_hex(digest, len, hex);
out:
    free(buffer);
    EVP_MD_CTX_free(context);
    return rc;
}

static enum ota_exit describe(const struct upload *upload, const struct ota_job *job,
                              json_t **announcement, struct ota_failure *failure)
{
    char sha256[SHA256_HEX + 1];
    enum ota_exit rc = hash_file(upload, sha256, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    json_t *made = json_pack("{s:s, s:I, s:s}", "filename", base_name(upload->path), "size",
                             (json_int_t)upload->size, "sha256", sha256);
    if (made == NULL || json_object_update(made, job->fields) != 0) {
        json_decref(made);
        return fail_file(upload->path, "its name is not UTF-8", failure);
    }
    *announcement = made;
    return OTA_EXIT_OK;
}

static enum ota_exit fail_answer(const char *what, struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_REFUSED, "internal", NULL,
                    "the server's answer makes no sense: %s", what);
}

/* Every announcement has a requestId of its own: asked again after a cut, the server must tell
 * the offset of now and not what it answered then. */
static enum ota_exit announce(struct upload *upload, const json_t *announcement,
                              struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc =
        ota_session_call(upload->session, OTA_CMD_ADD_FIRMWARE, announcement, &data, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    upload->id = json_integer_value(json_object_get(data, "upload"));
    upload->block_size = json_integer_value(json_object_get(data, "blockSize"));
    upload->stored = json_integer_value(json_object_get(data, "offset"));
    upload->sent = upload->stored;
    upload->flying = 0;
    upload->stale = false;
    json_decref(data);
    if (upload->block_size < 1 || upload->block_size > BLOCK_MAX) {
        return fail_answer("blockSize", failure);
    }
    if (upload->stored < 0 || upload->stored > upload->size) {
        return fail_answer("offset", failure);
    }
    return OTA_EXIT_OK;
}

/* The block as base64 in a command's fields, or NULL. */
static json_t *block_fields(const struct upload *upload, int64_t len)
{
    json_t *fields = NULL;
    unsigned char *raw = malloc((size_t)len);
    size_t room = ((size_t)len + 2) / 3 * 4 + 1;
    unsigned char *text = malloc(room);
    if (raw != NULL && text != NULL && pread(upload->fd, raw, (size_t)len, upload->sent) == len) {
        (void)EVP_EncodeBlock(text, raw, (int)len);
        fields = json_pack("{s:I, s:I, s:s}", "upload", (json_int_t)upload->id, "offset",
                           (json_int_t)upload->sent, "data", (char *)text);
    }
    free(text);
    free(raw);
    return fields;
}

static enum ota_exit send_block(struct upload *upload, struct ota_failure *failure)
{
    int64_t left = upload->size - upload->sent;
    int64_t len = left < upload->block_size ? left : upload->block_size;
    json_t *fields = block_fields(upload, len);
    if (fields == NULL) {
        return fail_file(upload->path, "became shorter while it was uploaded", failure);
    }
    json_t *request = ota_session_request(upload->session, OTA_CMD_UPLOAD_FIRMWARE_BLOCK, fields);
    struct flight *flight = &upload->flights[upload->flying];
    enum ota_exit rc =
        request == NULL ? fail_file(upload->path, "out of memory", failure)
                        : ota_link_send(upload->session->link, request, &flight->ticket, failure);
    if (rc == OTA_EXIT_OK) {
        upload->sent += len;
        flight->end = upload->sent;
        upload->flying++;
    }
    json_decref(request);
    json_decref(fields);
    return rc;
}

static enum ota_exit receive_block(struct upload *upload, struct ota_failure *failure)
{
    json_t *answer = NULL;
    json_t *data = NULL;
    struct flight flight = upload->flights[0];
    enum ota_exit rc = ota_link_receive(upload->session->link, flight.ticket, &answer, failure);
    if (rc == OTA_EXIT_OK) {
        rc = ota_session_read(answer, &data, failure);
        upload->stale = rc != OTA_EXIT_OK && strcmp(failure->field, "offset") == 0;
    }
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    upload->flying--;
    memmove(upload->flights, upload->flights + 1, upload->flying * sizeof upload->flights[0]);
    int64_t offset = json_integer_value(json_object_get(data, "offset"));
    json_decref(data);
    if (offset != flight.end) {
        upload->stale = true;
        return fail_answer("offset", failure);
    }
    upload->stored = offset;
    ota_progress_update(&upload->progress, upload->stored);
    return OTA_EXIT_OK;
}

static enum ota_exit transfer(struct upload *upload, struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    while (rc == OTA_EXIT_OK && upload->stored < upload->size) {
        while (rc == OTA_EXIT_OK && upload->flying < WINDOW && upload->sent < upload->size) {
            rc = send_block(upload, failure);
        }
        if (rc == OTA_EXIT_OK) {
            rc = receive_block(upload, failure);
        }
    }
    return rc;
}

static bool may_go_on(const struct upload *upload, enum ota_exit rc)
{
    bool lost = rc == OTA_EXIT_CONNECTION && ota_link_is_lost(upload->session->link);
    return lost || (rc != OTA_EXIT_OK && upload->stale);
}

static enum ota_exit send_all(struct upload *upload, const json_t *announcement,
                              struct ota_failure *failure)
{
    int stuck = 0;
    enum ota_exit rc = announce(upload, announcement, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    if (upload->stored > 0) {
        (void)fprintf(stderr, "resuming at %" PRId64 " %%\n", upload->stored * 100 / upload->size);
    }
    ota_progress_begin(&upload->progress, NULL, upload->size, upload->stored);
    int64_t reached = upload->stored;
    rc = transfer(upload, failure);
    while (may_go_on(upload, rc) && stuck < STUCK_MAX) {
        stuck = upload->stored > reached ? 0 : stuck + 1;
        reached = upload->stored;
        rc = announce(upload, announcement, failure);
        if (rc == OTA_EXIT_OK) {
            rc = transfer(upload, failure);
        }
    }
    ota_progress_end(&upload->progress, upload->stored);
    return rc;
}

static enum ota_exit commit(const struct upload *upload, struct ota_failure *failure)
{
    json_t *data = NULL;
    json_t *fields = json_pack("{s:I}", "upload", (json_int_t)upload->id);
    enum ota_exit rc =
        ota_session_call(upload->session, OTA_CMD_COMMIT_FIRMWARE, fields, &data, failure);
    json_decref(fields);
    if (rc == OTA_EXIT_OK && ota_settings_json(upload->session->settings)) {
        ota_render_json(data);
    } else if (rc == OTA_EXIT_OK) {
        ota_render_data(data);
    }
    json_decref(data);
    return rc;
}

static void tell_how_to_go_on(const struct upload *upload, struct ota_failure *failure)
{
    struct ota_failure inner = *failure;
    (void)ota_fail(failure, inner.exit, inner.code, inner.field,
                   "%s at %" PRId64 " %%; the same command within an hour goes on from there",
                   inner.text, upload->stored * 100 / upload->size);
}

enum ota_exit ota_upload_run(struct ota_session *session, const struct ota_job *job,
                             struct ota_failure *failure)
{
    json_t *announcement = NULL;
    struct upload upload = {.session = session, .fd = -1};
    upload.path = json_string_value(json_object_get(job->local, "file"));
    ota_link_catch_interrupts(session->link);
    enum ota_exit rc = open_file(&upload, failure);
    if (rc == OTA_EXIT_OK) {
        rc = describe(&upload, job, &announcement, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = ota_sign_announcement(session, job, announcement, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = send_all(&upload, announcement, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = commit(&upload, failure);
    }
    if ((rc == OTA_EXIT_INTERRUPTED || rc == OTA_EXIT_CONNECTION) && upload.stored > 0) {
        tell_how_to_go_on(&upload, failure);
    }
    json_decref(announcement);
    if (upload.fd >= 0) {
        (void)close(upload.fd);
    }
    return rc;
}
