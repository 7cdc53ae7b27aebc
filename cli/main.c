/* SPDX-License-Identifier: BSD-3-Clause */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "help.h"
#include "man.h"
#include "request.h"
#include "session.h"

static enum ota_exit show_help(const struct ota_args *args, size_t skip,
                               struct ota_failure *failure)
{
    struct ota_args rest = *args;
    struct ota_verb verb;
    size_t taken;
    rest.words += skip;
    rest.word_count -= skip;
    if (rest.word_count == 0) {
        ota_help_overview();
    } else if (ota_verb_find(rest.words, rest.word_count, &verb, &taken)) {
        ota_help_verb(&verb);
    } else if (!ota_help_noun(rest.words[0])) {
        return ota_request_fail_words(&rest, failure);
    }
    return OTA_EXIT_OK;
}

static enum ota_exit run_job(const struct ota_args *args, struct ota_settings *settings,
                             struct ota_failure *failure)
{
    struct ota_session session = {.settings = settings};
    struct ota_job job = {0};
    enum ota_exit rc = ota_request_make(args, &job, failure);
    bool remote = job.verb.command != NULL;
    if (rc == OTA_EXIT_OK && settings->output == OTA_OUTPUT_CSV && !ota_verb_is_show(&job.verb)) {
        rc = ota_fail(failure, OTA_EXIT_USAGE, NULL, "output",
                      "%s: csv is for what lists or shows; --output json", job.verb.words);
    }
    if (rc == OTA_EXIT_OK && remote) {
        rc = ota_settings_finish(settings, failure);
    }
    if (rc == OTA_EXIT_OK && remote) {
        rc = ota_link_new(settings, &session.link, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = job.verb.run(&session, &job, failure);
    }
    ota_link_free(session.link);
    ota_request_free(&job);
    return rc;
}

static enum ota_exit run(const struct ota_args *args, struct ota_settings *settings,
                         struct ota_failure *failure)
{
    bool asks_help = args->word_count > 0 && strcmp(args->words[0], "help") == 0;
    enum ota_exit rc = ota_args_settle(args, settings, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    if (settings->version) {
        (void)puts("otactl " OTA_VERSION);
        return OTA_EXIT_OK;
    }
    if (settings->man_page) {
        ota_man_print(stdout);
        return OTA_EXIT_OK;
    }
    if (settings->list_commands) {
        ota_help_list(ota_settings_json(settings));
        return OTA_EXIT_OK;
    }
    if (settings->help || asks_help) {
        return show_help(args, asks_help ? 1 : 0, failure);
    }
    return run_job(args, settings, failure);
}

int main(int argc, char **argv)
{
    struct ota_args args;
    struct ota_settings settings = {0};
    struct ota_failure failure = {0};
    (void)setlocale(LC_CTYPE, "");
    /* A reader that went away (| head) shows as an error on stdout. */
    (void)signal(SIGPIPE, SIG_IGN);
    enum ota_exit rc = ota_args_parse(argc, argv, &args, &failure);
    if (rc == OTA_EXIT_OK) {
        rc = run(&args, &settings, &failure);
    }
    if (rc != OTA_EXIT_OK) {
        (void)fflush(stdout);
        ota_failure_print(&failure, ota_settings_json(&settings));
    }
    ota_settings_free(&settings);
    ota_args_free(&args);
    return (int)rc;
}
