/* SPDX-License-Identifier: BSD-3-Clause */
#include "errands.h"

#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "firmware.h"
#include "metrics.h"

/* Letters taken in a tick; what is left waits for the next one. */
#define OTA_ERRANDS_A_TICK 64

void ota_errands_init(struct ota_errands *errands, struct ota_surroundings *around,
                      struct ota_control *control, struct ota_console *console)
{
    *errands = (struct ota_errands){.around = around, .control = control, .console = console};
    STAILQ_INIT(&errands->uploading);
}

/* --- commands --------------------------------------------------------------------------------- */

static void on_response(void *data, char *text, size_t len, const struct ota_error *error)
{
    struct ota_letter *letter = data;

    letter->text = text;
    letter->text_len = len;
    if (text == NULL) {
        letter->error = *error;
    }
    letter->answered(letter);
}

static void submit(struct ota_errands *errands, struct ota_letter *letter)
{
    const struct ota_asker asker = {.user = letter->user,
                                    .caller = letter->caller,
                                    .role = letter->role,
                                    .token = letter->token,
                                    .answer = on_response,
                                    .data = letter};
    ota_control_submit(errands->control, &asker, letter->body, letter->len);
}

/* The numbers of this tick: written once, however many ask. */
struct numbers {
    char *text; /* NULL: nobody asked yet */
    size_t len;
};

static void measure(struct ota_errands *errands, struct numbers *numbers, struct ota_letter *letter)
{
    if (numbers->text == NULL) {
        (void)ota_metrics_text(errands->around, &numbers->text, &numbers->len);
    }
    letter->text = numbers->text != NULL ? strdup(numbers->text) : NULL;
    letter->text_len = numbers->len;
    if (letter->text == NULL) {
        (void)ota_error_no_memory(&letter->error);
    }
    letter->answered(letter);
}

/* --- uploads ---------------------------------------------------------------------------------- */

/* What doesn't fit is refused as a whole, before its first block is taken. */
static enum ota_err find_upload(struct ota_errands *errands, struct ota_letter *letter,
                                struct ota_upload_row *row)
{
    enum ota_err err = ota_firmware_find_upload(errands->around->core, letter->user, letter->upload,
                                                row, &letter->error);
    letter->next = err == OTA_OK ? row->received : -1;
    if (err == OTA_OK && letter->offset == row->received &&
        (int64_t)letter->len > row->size - row->received) {
        return ota_error_set(&letter->error, OTA_INVALID_REQUEST, NULL,
                             "%zu bytes at offset %lld go past the announced size, %lld",
                             letter->len, (long long)letter->offset, (long long)row->size);
    }
    return err;
}

/* The next block of the letter, in a transaction of its own, by the rules of uploadFirmwareBlock.
 */
static enum ota_err take_block(struct ota_errands *errands, struct ota_letter *letter)
{
    struct ota_core *core = errands->around->core;
    struct ota_upload_row row;
    if (letter->token != 0 &&
        ota_tokens_role(errands->around->tokens, letter->token, ota_now_unix()) != OTA_ROLE_ADMIN) {
        return ota_error_set(&letter->error, OTA_FORBIDDEN, NULL, "the token was revoked");
    }
    size_t len = letter->len < OTA_BLOCK_SIZE ? letter->len : OTA_BLOCK_SIZE;
    unsigned char *bytes = malloc(len);
    if (bytes == NULL) {
        return ota_error_no_memory(&letter->error);
    }
    memcpy(bytes, letter->body, len);
    enum ota_err err = ota_core_begin(core, &letter->error);
    if (err != OTA_OK) {
        free(bytes);
        return err;
    }
    err = find_upload(errands, letter, &row);
    if (err != OTA_OK) {
        free(bytes);
    } else {
        int64_t next = 0;
        err = ota_firmware_take_block(core, errands->around->uploads, &row, letter->offset, bytes,
                                      len, &next, &letter->error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    err = ota_core_commit(core, &letter->error);
    if (err == OTA_OK) {
        letter->body += len;
        letter->len -= len;
        letter->offset += (int64_t)len;
        letter->next = letter->offset;
    }
    return err;
}

static void note_refused(struct ota_errands *errands, const struct ota_letter *letter,
                         enum ota_err err)
{
    const struct ota_trail_note note = {.user = letter->user,
                                        .client = letter->caller,
                                        .command = ota_command(OTA_CMD_UPLOAD_FIRMWARE_BLOCK)->name,
                                        .target = "",
                                        .code = err};
    ota_trail_refuse(errands->around->trail, &note);
}

static void end_upload(struct ota_errands *errands, struct ota_letter *letter, enum ota_err err)
{
    STAILQ_REMOVE_HEAD(&errands->uploading, entry);
    if (err != OTA_OK) {
        (void)ota_error_set(&letter->error, err, NULL, "the block was not taken");
        note_refused(errands, letter, err);
    }
    letter->answered(letter);
}

/* Not one more block than is likely to be done in time: each takes about a millisecond. */
static void upload(struct ota_errands *errands, int64_t end_us)
{
    struct ota_letter *letter;
    int64_t began;
    int64_t now = ota_now_us();

    do {
        began = now;
        letter = STAILQ_FIRST(&errands->uploading);
        if (letter == NULL) {
            return;
        }
        enum ota_err err = take_block(errands, letter);
        if (err == OTA_AGAIN) { /* its digests are being caught up: others go on */
            STAILQ_REMOVE_HEAD(&errands->uploading, entry);
            STAILQ_INSERT_TAIL(&errands->uploading, letter, entry);
        } else if (err != OTA_OK || letter->len == 0) {
            end_upload(errands, letter, err);
        }
        now = ota_now_us();
    } while (now + (now - began) < end_us);
    ota_core_wake(errands->around->core, 0);
}

/* --- the audit, and the pulse ----------------------------------------------------------------- */

static const char *target_of(const struct ota_failed_login *failed)
{
    return failed->by_token ? "unknown token" : failed->user[0] != '\0' ? "" : "unknown user";
}

static void note_failed_logins(struct ota_errands *errands)
{
    struct ota_failed_login failed;

    while (ota_mailbox_take_failed(ota_console_mailbox(errands->console), &failed)) {
        const struct ota_trail_note note = {.user = failed.user,
                                            .client = failed.caller,
                                            .command = OTA_TRAIL_LOGIN,
                                            .target = target_of(&failed),
                                            .code = OTA_FORBIDDEN};
        ota_trail_topic(errands->around->trail, &note);
    }
}

/* Only while somebody asks: a broker that nobody watches writes nothing for it. */
static void prove(struct ota_errands *errands)
{
    struct ota_core *core = errands->around->core;
    struct ota_pulse *pulse = ota_console_pulse(errands->console);
    struct ota_error error = {0};

    ota_pulse_beat(pulse, core->mono_now);
    if (!atomic_load(&pulse->asked) ||
        (errands->proved_at != 0 && core->mono_now - errands->proved_at < OTA_PULSE_PROOF_MS)) {
        return;
    }
    errands->proved_at = core->mono_now;
    atomic_store(&pulse->asked, false);
    enum ota_err err = ota_core_begin(core, &error);
    if (err == OTA_OK) {
        err = ota_store_set_service_ms(core->store, core->service_ms, &error);
    }
    if (err == OTA_OK) {
        err = ota_core_commit(core, &error);
    } else {
        ota_core_rollback(core);
    }
    bool was = atomic_exchange(&pulse->unwritable, err != OTA_OK);
    if (err != OTA_OK && !was) {
        ota_log(OTA_LOG_ERROR, "the database can't be written: %s", error.text);
    }
}

/* --- each tick -------------------------------------------------------------------------------- */

void ota_errands_take(struct ota_errands *errands)
{
    struct ota_letter *letter;
    struct numbers numbers = {0};

    if (errands->console == NULL) {
        return;
    }
    for (int i = 0; i < OTA_ERRANDS_A_TICK &&
                    (letter = ota_mailbox_take(ota_console_mailbox(errands->console))) != NULL;
         i++) {
        switch (letter->kind) {
        case OTA_LETTER_CONTROL:
            submit(errands, letter);
            break;
        case OTA_LETTER_UPLOAD:
            STAILQ_INSERT_TAIL(&errands->uploading, letter, entry);
            break;
        case OTA_LETTER_METRICS:
            measure(errands, &numbers, letter);
            break;
        }
    }
    free(numbers.text);
    note_failed_logins(errands);
}

void ota_errands_work(struct ota_errands *errands, int64_t end_us)
{
    if (errands->console != NULL) {
        upload(errands, end_us);
        prove(errands);
    }
}

bool ota_errands_is_busy(const struct ota_errands *errands)
{
    return errands->console != NULL && !STAILQ_EMPTY(&errands->uploading);
}

void ota_errands_finish(struct ota_errands *errands)
{
    struct ota_letter *letter;

    if (errands->console == NULL) {
        return;
    }
    while ((letter = STAILQ_FIRST(&errands->uploading)) != NULL) {
        STAILQ_REMOVE_HEAD(&errands->uploading, entry);
        (void)ota_error_set(&letter->error, OTA_UNAVAILABLE, NULL,
                            "the broker is being stopped: try again");
        letter->answered(letter);
    }
    note_failed_logins(errands);
    errands->console = NULL;
}
