/* SPDX-License-Identifier: BSD-3-Clause */
#include "request.h"

#include <stdio.h>
#include <string.h>

#include "suggest.h"
#include "value.h"

enum ota_exit ota_request_fail_words(const struct ota_args *args, struct ota_failure *failure)
{
    char near[160];
    if (args->word_count == 0) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL,
                        "no command was given; otactl --help lists them");
    }
    if (ota_suggest_noun(args->words[0], near, sizeof near) && args->word_count == 1) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "%s what? There is: %s",
                        args->words[0], near);
    }
    const char *second = args->word_count > 1 ? args->words[1] : "";
    bool found = ota_suggest_verb(args->words[0], second, near, sizeof near);
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "\"%s%s%s\" is not a command; %s%s%s",
                    args->words[0], second[0] != '\0' ? " " : "", second,
                    found ? "do you mean \"" : "otactl --help lists them", found ? near : "",
                    found ? "\"?" : "");
}

static enum ota_exit store(struct ota_job *job, const struct ota_param *param, json_t *value,
                           struct ota_failure *failure)
{
    json_t *target = ota_verb_is_extra(&job->verb, param) ? job->local : job->fields;
    json_t *before = json_object_get(target, param->key);
    if (before != NULL && ota_value_is_list(param->type)) {
        int added = json_array_extend(before, value);
        json_decref(value);
        return added == 0 ? OTA_EXIT_OK
                          : ota_fail(failure, OTA_EXIT_USAGE, NULL, param->key, "out of memory");
    }
    if (before != NULL) {
        json_decref(value);
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, param->key, "%s was given twice",
                        param->key);
    }
    if (json_object_set_new(target, param->key, value) != 0) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, param->key, "out of memory");
    }
    return OTA_EXIT_OK;
}

static enum ota_exit store_text(struct ota_job *job, const struct ota_param *param,
                                const char *text, struct ota_failure *failure)
{
    json_t *value = NULL;
    enum ota_exit rc = ota_value_parse(param, text, &value, failure);
    return rc == OTA_EXIT_OK ? store(job, param, value, failure) : rc;
}

static enum ota_exit fail_missing(const struct ota_verb *verb, const struct ota_param *param,
                                  struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, param->key,
                    "%s: the %s is missing (%s); otactl help %s", verb->words, param->key,
                    param->help, verb->words);
}

/* Names of devices may come from options and files instead. */
static bool is_given_otherwise(const struct ota_job *job, const struct ota_param *param)
{
    return param->type == OTA_PARAM_DEVICES && (json_object_get(job->local, "device") != NULL ||
                                                json_object_get(job->local, "devicesFrom") != NULL);
}

static enum ota_exit read_positionals(struct ota_job *job, const char *const *texts, size_t count,
                                      struct ota_failure *failure)
{
    size_t used = 0;
    enum ota_exit rc = OTA_EXIT_OK;
    const struct ota_param *param;
    for (size_t i = 0; (param = ota_verb_param_at(&job->verb, i)) != NULL; i++) {
        if (!param->required) {
            continue;
        }
        if (used == count && is_given_otherwise(job, param)) {
            continue;
        }
        if (used == count) {
            return fail_missing(&job->verb, param, failure);
        }
        do {
            rc = store_text(job, param, texts[used++], failure);
        } while (rc == OTA_EXIT_OK && used < count && param->type == OTA_PARAM_DEVICES);
        if (rc != OTA_EXIT_OK) {
            return rc;
        }
    }
    if (used < count) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL,
                        "%s: \"%s\" is one too many; otactl help %s", job->verb.words, texts[used],
                        job->verb.words);
    }
    return OTA_EXIT_OK;
}

static enum ota_exit read_option(struct ota_job *job, const struct ota_arg_option *option,
                                 struct ota_failure *failure)
{
    const struct ota_param *param = ota_verb_param(&job->verb, option->key);
    char name[64];
    ota_verb_kebab(option->key, name, sizeof name);
    if (param == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, option->key,
                        "%s does not take --%s; otactl help %s", job->verb.words, name,
                        job->verb.words);
    }
    if (param->required) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, option->key,
                        "%s: the %s is given without --%s; otactl help %s", job->verb.words, name,
                        name, job->verb.words);
    }
    if (option->negated && option->value != NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, option->key, "--no-%s takes no value", name);
    }
    if (option->value == NULL) {
        return store(job, param, json_boolean(!option->negated), failure);
    }
    return store_text(job, param, option->value, failure);
}

enum ota_exit ota_request_make(const struct ota_args *args, struct ota_job *job,
                               struct ota_failure *failure)
{
    size_t taken = 0;
    *job = (struct ota_job){.fields = json_object(), .local = json_object()};
    if (!ota_verb_find(args->words, args->word_count, &job->verb, &taken)) {
        return ota_request_fail_words(args, failure);
    }
    enum ota_exit rc = OTA_EXIT_OK;
    for (size_t i = 0; rc == OTA_EXIT_OK && i < args->option_count; i++) {
        rc = read_option(job, &args->options[i], failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = read_positionals(job, args->words + taken, args->word_count - taken, failure);
    }
    return rc;
}

void ota_request_free(struct ota_job *job)
{
    json_decref(job->fields);
    json_decref(job->local);
    job->fields = NULL;
    job->local = NULL;
}
