/* SPDX-License-Identifier: BSD-3-Clause */
#include "verb.h"

#include <ctype.h>
#include <string.h>

#include "batch_create.h"
#include "batch_show.h"
#include "batch_watch.h"
#include "check_config.h"
#include "completion.h"
#include "doctor.h"
#include "key.h"
#include "list.h"
#include "session.h"
#include "stats.h"
#include "token.h"
#include "upload.h"
#include "value.h"
#include "watch.h"

#define END                                                                                        \
    {                                                                                              \
        .key = NULL                                                                                \
    }

static const struct ota_param list_extras[] = {
    {"limit", OTA_PARAM_INT, false, 1, INT64_MAX, "rows in all (default: all there are)"},
    {"pageSize", OTA_PARAM_INT, false, 1, OTA_LIST_MAX, "rows asked for at a time"},
    END};

static const struct ota_param add_extras[] = {
    {"file", OTA_LOCAL_PATH, true, 0, 0, "the firmware: a .bin, .tar, .gz or .zip"},
    {"signKey", OTA_LOCAL_PATH, false, 0, 0,
     "sign it with this private key, which stays here; see key create"},
    END};

#define STRICT                                                                                     \
    {                                                                                              \
        "strict", OTA_PARAM_BOOL, false, 0, 0, "warnings too make the exit status 5"               \
    }

static const struct ota_param check_extras[] = {
    {"file", OTA_LOCAL_PATH, true, 0, 0, "the configuration, as /etc/mosquitto/mosquitto.conf"},
    STRICT,
    END};

static const struct ota_param doctor_extras[] = {
    {"config", OTA_LOCAL_PATH, false, 0, 0,
     "also check this mosquitto.conf, where otactl runs on the broker's machine"},
    {"minFreeMb", OTA_PARAM_INT, false, 0, 1000000000,
     "how many MB should be free on the database's disk (500)"},
    STRICT,
    END};

static const struct ota_param key_create_extras[] = {
    {"name", OTA_LOCAL_PATH, true, 0, 0, "writes NAME.key (private) and NAME.pub"}, END};
static const struct ota_param key_show_extras[] = {
    {"file", OTA_LOCAL_PATH, true, 0, 0, "a private key, or one or more public ones"}, END};

#define UNTIL                                                                                      \
    {                                                                                              \
        "until", OTA_LOCAL_UNTIL, false, 0, 0,                                                     \
            "succeeded: don't wait for the confirmation; confirmed: wait as long as it takes"      \
    }

static const struct ota_param watch_extras[] = {UNTIL, END};
static const struct ota_param upgrade_extras[] = {
    {"watch", OTA_PARAM_BOOL, false, 0, 0, "follow the task to its end"}, UNTIL, END};

#define WATCH                                                                                      \
    {                                                                                              \
        "watch", OTA_PARAM_BOOL, false, 0, 0, "follow the batch to its end"                        \
    }
#define NAMES_FILE                                                                                 \
    {                                                                                              \
        "devicesFrom", OTA_LOCAL_PATH, false, 0, 0,                                                \
            "names from a file, one a line, any number; - reads standard input"                    \
    }

/* From these otactl makes the target. */
static const struct ota_param create_extras[] = {
    {"all", OTA_PARAM_BOOL, false, 0, 0, "all devices of the product"},
    {"fromVersion", OTA_LOCAL_VERSIONS, false, 0, 0, "devices that run one of these versions"},
    {"notVersion", OTA_LOCAL_VERSIONS, false, 0, 0, "devices that run another version than these"},
    {"device", OTA_PARAM_DEVICES, false, 0, 0, "devices of these names"},
    NAMES_FILE,
    {"tag", OTA_PARAM_TAGS, false, 0, 0, "devices that have all of these tags"},
    {"online", OTA_PARAM_BOOL, false, 0, 0,
     "devices that are connected; --offline: those that are not"},
    WATCH,
    UNTIL,
    END};

static const struct ota_param names_extras[] = {
    {"device", OTA_PARAM_DEVICES, false, 0, 0, "devices of these names"}, NAMES_FILE, END};

static const struct ota_param steer_extras[] = {WATCH, UNTIL, END};

static const char *const list_computed[] = {"limit", NULL};
static const char *const add_computed[] = {"filename", "size", "sha256", NULL};

/* The verb is no command: it needs no server. */
#define LOCAL OTA_COMMAND_COUNT

/* Rows that do more than send their one command. Without words: those of the table. */
static const struct {
    enum ota_command_id id;
    const char *words;
    const char *help;
    const char *const *computed;
    const struct ota_param *extras;
    enum ota_exit (*run)(struct ota_session *session, const struct ota_job *job,
                         struct ota_failure *failure);
} specials[] = {
    {OTA_CMD_ADD_FIRMWARE, "firmware add", "upload a firmware file; goes on where it was cut off",
     add_computed, add_extras, ota_upload_run},
    {OTA_CMD_GET_TASK, "task watch", "follow a task live to its end", NULL, watch_extras,
     ota_watch_run},
    {OTA_CMD_UPGRADE_DEVICE, NULL, NULL, NULL, upgrade_extras, ota_watch_run_started},
    {OTA_CMD_RETRY_TASK, NULL, NULL, NULL, upgrade_extras, ota_watch_run_started},
    {OTA_CMD_GET_BATCH, "batch watch", "follow a batch live to its end", NULL, watch_extras,
     ota_batch_watch_run},
    {OTA_CMD_CREATE_BATCH, NULL, NULL, NULL, create_extras, ota_batch_create_run},
    {OTA_CMD_ADD_BATCH_DEVICES, NULL, NULL, NULL, names_extras, ota_batch_add_run},
    {OTA_CMD_START_BATCH, NULL, NULL, NULL, steer_extras, ota_batch_watch_run_steered},
    {OTA_CMD_RESUME_BATCH, NULL, NULL, NULL, steer_extras, ota_batch_watch_run_steered},
    {OTA_CMD_ADVANCE_BATCH, NULL, NULL, NULL, steer_extras, ota_batch_watch_run_steered},
    {OTA_CMD_RETRY_BATCH, NULL, NULL, NULL, steer_extras, ota_batch_watch_run_steered},
    {OTA_CMD_PAUSE_BATCH, NULL, NULL, NULL, NULL, ota_batch_watch_run_steered},
    {OTA_CMD_CANCEL_BATCH, NULL, NULL, NULL, NULL, ota_batch_watch_run_steered},
    {OTA_CMD_UPDATE_BATCH, NULL, NULL, NULL, NULL, ota_batch_watch_run_steered},
    {OTA_CMD_GET_BATCH, NULL, NULL, NULL, NULL, ota_batch_show_run},
    {OTA_CMD_GET_STATS, NULL, NULL, NULL, NULL, ota_stats_run},
    {OTA_CMD_CREATE_TOKEN, NULL, NULL, NULL, NULL, ota_token_create_run},
    {OTA_CMD_GET_INFO, "doctor", "look for what is wrong with a running service", NULL,
     doctor_extras, ota_doctor_run},
    {LOCAL, "check-config", "check a mosquitto.conf and what it includes, without a broker", NULL,
     check_extras, ota_check_config_run},
    {LOCAL, "completion bash", "print what makes bash complete otactl's command line", NULL, NULL,
     ota_completion_run},
    {LOCAL, "key create", "make a pair of keys to sign firmware with", NULL, key_create_extras,
     ota_key_create_run},
    {LOCAL, "key show", "the fingerprints of the keys in a file", NULL, key_show_extras,
     ota_key_show_run},
};

#define SPECIAL_COUNT (sizeof specials / sizeof specials[0])

/* A line of several stands below the others. */
static const struct {
    const char *words;
    const char *example;
} examples[] = {
    {"product create", "product create testProduct --description 'Air quality sensor'"},
    {"product update", "product update testProduct 'Air quality sensor, 2nd edition'"},
    {"product delete", "product delete testProduct --force"},
    {"product list", "product list"},
    {"firmware add", "firmware add testProduct 0.0.2 build/app.bin --description 'fixes Wi-Fi'\n"
                     "firmware add testProduct 0.0.2 build/app.bin --sign-key release.key"},
    {"device create", "device create testProduct testDevice0 --tags site=berlin,canary"},
    {"device update", "device update testProduct testDevice0 --hold"},
    {"device list", "device list testProduct --version 0.0.1 --online"},
    {"device bind", "device bind testProduct testDevice0 gatewayProduct gateway0"},
    {"device unbind", "device unbind testProduct testDevice0 gatewayProduct gateway0"},
    {"upgrade", "upgrade testProduct testDevice0 0.0.2 --retry max=3,delaySeconds=60 --watch"},
    {"task list", "task list --product testProduct --status failed"},
    {"task watch", "task watch 7 --until confirmed"},
    {"task retry", "task retry 7 --watch"},
    {"batch create",
     "batch create testProduct 0.0.2 --from-version 0.0.1 --dry-run\n"
     "batch create testProduct 0.0.2 --from-version 0.0.1 --stage 1% --stage 10%:soak=1h "
     "--threshold 10%/50 --watch\n"
     "batch create testProduct 0.0.2 --devices-from names.txt --rate 600 --retry 3:60 "
     "--start-at +2h\n"
     "batch create testProduct 0.0.2 --tag site=berlin --online --mode continuous"},
    {"batch add", "batch add 7 testDevice0 testDevice1\nbatch add 7 --devices-from names.txt"},
    {"batch update", "batch update 7 --rate 1200 --max-in-flight 2000"},
    {"batch list", "batch list --product testProduct --state running"},
    {"batch watch", "batch watch 7"},
    {"batch advance", "batch advance 7 --watch"},
    {"batch retry", "batch retry 7 --watch"},
    {"batch cancel", "batch cancel 7 --running cancel"},
    {"stats", "stats --product testProduct\nstats --batch 7"},
    {"token create", "token create ci admin --expire-at +90d"},
    {"token list", "token list"},
    {"info", "info --json"},
    {"check-config", "check-config /etc/mosquitto/mosquitto.conf --strict"},
    {"doctor", "doctor\ndoctor --config /etc/mosquitto/mosquitto.conf --strict"},
    {"completion bash", "completion bash > otactl.bash"},
    {"key create", "key create release-2025"},
    {"key show", "key show release.key"},
};

size_t ota_verb_count(void)
{
    size_t count = OTA_COMMAND_COUNT;
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        count += specials[i].words != NULL;
    }
    return count;
}

static void add_example(struct ota_verb *verb)
{
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        if (strcmp(examples[i].words, verb->words) == 0) {
            verb->example = examples[i].example;
        }
    }
}

static void make_special(size_t special, struct ota_verb *verb)
{
    verb->computed = specials[special].computed;
    verb->extras = specials[special].extras;
    verb->run = specials[special].run;
}

static struct ota_verb make_plain(enum ota_command_id id)
{
    const struct ota_command *command = ota_command(id);
    struct ota_verb verb = {.command = command, .words = command->words, .help = command->help};
    verb.run = ota_session_run;
    if (ota_command_param(command, "cursor") != NULL) {
        verb.computed = list_computed;
        verb.extras = list_extras;
        verb.run = ota_list_run;
    }
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        if (specials[i].id == id && specials[i].words == NULL) {
            make_special(i, &verb);
        }
    }
    return verb;
}

static struct ota_verb make_added(size_t nth)
{
    struct ota_verb verb = {0};
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        if (specials[i].words != NULL && nth-- == 0) {
            verb.command = specials[i].id != LOCAL ? ota_command(specials[i].id) : NULL;
            verb.words = specials[i].words;
            verb.help = specials[i].help;
            make_special(i, &verb);
            break;
        }
    }
    return verb;
}

struct ota_verb ota_verb_at(size_t index)
{
    struct ota_verb verb = index < OTA_COMMAND_COUNT ? make_plain((enum ota_command_id)index)
                                                     : make_added(index - OTA_COMMAND_COUNT);
    add_example(&verb);
    return verb;
}

/* How many of the words the verb's own words are, or 0. */
static size_t match(const char *own, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(own, " ");
        if (strlen(words[i]) != len || memcmp(own, words[i], len) != 0) {
            return 0;
        }
        if (own[len] == '\0') {
            return i + 1;
        }
        own += len + 1;
    }
    return 0;
}

bool ota_verb_find(const char *const *words, size_t count, struct ota_verb *verb, size_t *taken)
{
    size_t best = 0;
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb candidate = ota_verb_at(i);
        size_t matched = match(candidate.words, words, count);
        if (matched > best) {
            best = matched;
            *verb = candidate;
            *taken = matched;
        }
    }
    return best > 0;
}

static bool is_computed(const struct ota_verb *verb, const char *key)
{
    for (const char *const *c = verb->computed; c != NULL && *c != NULL; c++) {
        if (strcmp(*c, key) == 0) {
            return true;
        }
    }
    return false;
}

const struct ota_param *ota_verb_param_at(const struct ota_verb *verb, size_t index)
{
    const struct ota_param *of_server = verb->command != NULL ? verb->command->params : NULL;
    for (const struct ota_param *p = of_server; p != NULL && p->key != NULL; p++) {
        if (!is_computed(verb, p->key) && index-- == 0) {
            return p;
        }
    }
    for (const struct ota_param *p = verb->extras; p != NULL && p->key != NULL; p++) {
        if (index-- == 0) {
            return p;
        }
    }
    return NULL;
}

const struct ota_param *ota_verb_param(const struct ota_verb *verb, const char *key)
{
    const struct ota_param *param;
    for (size_t i = 0; (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        if (strcmp(param->key, key) == 0) {
            return param;
        }
    }
    return NULL;
}

bool ota_verb_is_extra(const struct ota_verb *verb, const struct ota_param *param)
{
    for (const struct ota_param *p = verb->extras; p != NULL && p->key != NULL; p++) {
        if (p == param) {
            return true;
        }
    }
    return false;
}

bool ota_verb_is_of(const struct ota_verb *verb, const char *noun)
{
    size_t len = strlen(noun);
    return strncmp(verb->words, noun, len) == 0 &&
           (verb->words[len] == ' ' || verb->words[len] == '\0');
}

bool ota_verb_is_show(const struct ota_verb *verb)
{
    if (verb->command == NULL) {
        return verb->run != ota_key_create_run && verb->run != ota_completion_run;
    }
    return !verb->command->writes && ota_verb_param(verb, "until") == NULL;
}

const struct ota_param *ota_verb_param_anywhere(const char *key)
{
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        const struct ota_param *param = ota_verb_param(&verb, key);
        if (param != NULL) {
            return param;
        }
    }
    return NULL;
}

const struct ota_verb_alias *ota_verb_alias_at(size_t index)
{
    static const struct ota_verb_alias aliases[] = {
        {"rate", "ratePerMinute", false},
        {"threshold", "failureThreshold", false},
        {"stage", "stages", false},
        {"offline", "online", true},
    };
    return index < sizeof aliases / sizeof aliases[0] ? &aliases[index] : NULL;
}

const struct ota_verb_alias *ota_verb_alias(const char *name)
{
    const struct ota_verb_alias *alias;
    size_t i = 0;
    while ((alias = ota_verb_alias_at(i)) != NULL && strcmp(alias->name, name) != 0) {
        i++;
    }
    return alias;
}

void ota_verb_kebab(const char *key, char *out, size_t size)
{
    size_t n = 0;
    for (; *key != '\0' && n + 2 < size; key++) {
        if (isupper((unsigned char)*key)) {
            out[n++] = '-';
        }
        out[n++] = (char)tolower((unsigned char)*key);
    }
    out[n] = '\0';
}

void ota_verb_camel(const char *name, char *out, size_t size)
{
    size_t n = 0;
    for (; *name != '\0' && n + 1 < size; name++) {
        if (name[0] == '-' && islower((unsigned char)name[1])) {
            name++;
            out[n++] = (char)toupper((unsigned char)*name);
        } else {
            out[n++] = *name;
        }
    }
    out[n] = '\0';
}
