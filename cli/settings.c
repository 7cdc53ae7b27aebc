/* SPDX-License-Identifier: BSD-3-Clause */
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 15
#define DEFAULT_TOPIC     "$CONTROL/ota/v1"

typedef enum ota_exit set_fn(const struct ota_setting *setting, const char *value,
                             struct ota_settings *settings, struct ota_failure *failure);

struct ota_setting {
    char letter;
    const char *name;
    const char *value;
    const char *help;
    enum ota_setting_group group;
    set_fn *set;
    size_t offset;
    int min;
    int max;
};

static void *slot(const struct ota_setting *setting, struct ota_settings *settings)
{
    return (char *)settings + setting->offset;
}

static enum ota_exit set_string(const struct ota_setting *setting, const char *value,
                                struct ota_settings *settings, struct ota_failure *failure)
{
    char *copy = strdup(value);
    if (copy == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, setting->name, "out of memory");
    }
    char **target = (char **)slot(setting, settings);
    free(*target);
    *target = copy;
    return OTA_EXIT_OK;
}

static enum ota_exit set_number(const struct ota_setting *setting, const char *value,
                                struct ota_settings *settings, struct ota_failure *failure)
{
    char *end = NULL;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < setting->min ||
        number > setting->max) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, setting->name,
                        "--%s must be a whole number from %d to %d, not \"%s\"", setting->name,
                        setting->min, setting->max, value);
    }
    *(int *)slot(setting, settings) = (int)number;
    return OTA_EXIT_OK;
}

static enum ota_exit set_flag(const struct ota_setting *setting, const char *value,
                              struct ota_settings *settings, struct ota_failure *failure)
{
    (void)value;
    (void)failure;
    *(bool *)slot(setting, settings) = true;
    return OTA_EXIT_OK;
}

static enum ota_exit set_json(const struct ota_setting *setting, const char *value,
                              struct ota_settings *settings, struct ota_failure *failure)
{
    (void)setting;
    (void)value;
    (void)failure;
    settings->output = OTA_OUTPUT_JSON;
    return OTA_EXIT_OK;
}

static enum ota_exit set_output(const struct ota_setting *setting, const char *value,
                                struct ota_settings *settings, struct ota_failure *failure)
{
    static const char *const words[] = {
        [OTA_OUTPUT_TABLE] = "table", [OTA_OUTPUT_JSON] = "json", [OTA_OUTPUT_CSV] = "csv"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(value, words[i]) == 0) {
            settings->output = (enum ota_output)i;
            return OTA_EXIT_OK;
        }
    }
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, setting->name,
                    "--output must be table, json or csv, not \"%s\"", value);
}

static enum ota_exit set_password_file(const struct ota_setting *setting, const char *value,
                                       struct ota_settings *settings, struct ota_failure *failure)
{
    enum ota_exit rc;
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(value, "re");
    if (file == NULL || getline(&line, &room, file) < 0) {
        rc = ota_fail(failure, OTA_EXIT_USAGE, NULL, setting->name,
                      "cannot read a password from %s: %s", value,
                      file == NULL ? strerror(errno) : "it is empty");
        goto out;
    }
    line[strcspn(line, "\r\n")] = '\0';
    rc = set_string(setting, line, settings, failure);
out:
    free(line);
    if (file != NULL) {
        (void)fclose(file);
    }
    return rc;
}

static set_fn set_url;

#define AT(member) offsetof(struct ota_settings, member)

static const struct ota_setting table[] = {
    {'h', "host", "HOST", "the broker (default: localhost)", OTA_SETTING_CONNECTION, set_string,
     AT(host), 0, 0},
    {'p', "port", "PORT", "its port (default: 1883, with TLS 8883)", OTA_SETTING_CONNECTION,
     set_number, AT(port), 1, 65535},
    {'L', "url", "URL", "mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT] in one", OTA_SETTING_CONNECTION,
     set_url, 0, 0, 0},
    {'u', "username", "USER", "who logs in; the role hangs on it", OTA_SETTING_CONNECTION,
     set_string, AT(user), 0, 0},
    {'P', "pw", "PASSWORD", "shows in ps: better OTACTL_PASSWORD or a file", OTA_SETTING_CONNECTION,
     set_string, AT(password), 0, 0},
    {'\0', "pw-file", "FILE", "the password is this file's first line", OTA_SETTING_CONNECTION,
     set_password_file, AT(password), 0, 0},
    {'i', "id", "ID", "MQTT client id (default: a random one)", OTA_SETTING_CONNECTION, set_string,
     AT(id), 0, 0},
    {'\0', "cafile", "FILE", "TLS: trusted certificates", OTA_SETTING_CONNECTION, set_string,
     AT(cafile), 0, 0},
    {'\0', "capath", "DIR", "TLS: folder of trusted certificates", OTA_SETTING_CONNECTION,
     set_string, AT(capath), 0, 0},
    {'\0', "cert", "FILE", "TLS: client certificate", OTA_SETTING_CONNECTION, set_string, AT(cert),
     0, 0},
    {'\0', "key", "FILE", "TLS: its key", OTA_SETTING_CONNECTION, set_string, AT(key), 0, 0},
    {'\0', "insecure", NULL, "TLS: don't compare the certificate's host name",
     OTA_SETTING_CONNECTION, set_flag, AT(insecure), 0, 0},
    {'o', "options", "FILE", "options, one a line (default: ~/.config/otactl)",
     OTA_SETTING_CONNECTION, set_string, AT(file), 0, 0},
    {'\0', "timeout", "S", "seconds to wait for an answer (default: 15)", OTA_SETTING_CONNECTION,
     set_number, AT(timeout_s), 1, 3600},
    {'\0', "output", "table|json|csv", "how lists and answers are printed (default: table)",
     OTA_SETTING_OTHER, set_output, 0, 0, 0},
    {'\0', "json", NULL, "short for --output json; errors too are JSON then", OTA_SETTING_OTHER,
     set_json, 0, 0, 0},
    {'\0', "request-id", "ID", "of a changing command: started twice, it acts once",
     OTA_SETTING_OTHER, set_string, AT(request_id), 0, 0},
    {'\0', "help", NULL, "this text, or that of a command", OTA_SETTING_OTHER, set_flag, AT(help),
     0, 0},
    {'\0', "version", NULL, "otactl's version", OTA_SETTING_OTHER, set_flag, AT(version), 0, 0},
    {'\0', "control-topic", "TOPIC", "where commands go", OTA_SETTING_HIDDEN, set_string, AT(topic),
     0, 0},
    {'\0', "list-commands", NULL, "the table of commands", OTA_SETTING_HIDDEN, set_flag,
     AT(list_commands), 0, 0},
    {'\0', "man-page", NULL, "otactl(1), as man reads it", OTA_SETTING_HIDDEN, set_flag,
     AT(man_page), 0, 0},
};

#define TABLE_SIZE (sizeof table / sizeof table[0])

const struct ota_setting *ota_setting_by_name(const char *name, size_t len)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const struct ota_setting *ota_setting_by_letter(char letter)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        if (letter != '\0' && table[i].letter == letter) {
            return &table[i];
        }
    }
    return NULL;
}

const struct ota_setting *ota_setting_at(size_t index)
{
    return index < TABLE_SIZE ? &table[index] : NULL;
}

const char *ota_setting_name(const struct ota_setting *setting)
{
    return setting->name;
}

char ota_setting_letter(const struct ota_setting *setting)
{
    return setting->letter;
}

const char *ota_setting_help(const struct ota_setting *setting)
{
    return setting->help;
}

enum ota_setting_group ota_setting_group(const struct ota_setting *setting)
{
    return setting->group;
}

const char *ota_setting_value(const struct ota_setting *setting)
{
    return setting->value;
}

enum ota_exit ota_setting_apply(const struct ota_setting *setting, const char *value,
                                struct ota_settings *settings, struct ota_failure *failure)
{
    return setting->set(setting, value, settings, failure);
}

static enum ota_exit apply_by_name(const char *name, const char *value,
                                   struct ota_settings *settings, struct ota_failure *failure)
{
    return ota_setting_apply(ota_setting_by_name(name, strlen(name)), value, settings, failure);
}

static enum ota_exit set_login(char *login, struct ota_settings *settings,
                               struct ota_failure *failure)
{
    char *colon = strchr(login, ':');
    if (colon != NULL) {
        *colon = '\0';
        enum ota_exit rc = apply_by_name("pw", colon + 1, settings, failure);
        if (rc != OTA_EXIT_OK) {
            return rc;
        }
    }
    return apply_by_name("username", login, settings, failure);
}

static enum ota_exit set_place(char *place, struct ota_settings *settings,
                               struct ota_failure *failure)
{
    /* "[::1]:1883": the colons of an address stand in brackets. */
    char *host = place[0] == '[' ? place + 1 : place;
    char *end = place[0] == '[' ? strchr(place, ']') : place;
    if (end == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "url", "the URL's [ is never closed");
    }
    char *colon = strchr(end, ':');
    if (place[0] == '[') {
        *end = '\0';
    }
    if (colon != NULL) {
        *colon = '\0';
        enum ota_exit rc = apply_by_name("port", colon + 1, settings, failure);
        if (rc != OTA_EXIT_OK) {
            return rc;
        }
    }
    return apply_by_name("host", host, settings, failure);
}

static enum ota_exit set_url(const struct ota_setting *setting, const char *value,
                             struct ota_settings *settings, struct ota_failure *failure)
{
    static const char plain[] = "mqtt://";
    static const char secure[] = "mqtts://";
    bool tls = strncmp(value, secure, sizeof secure - 1) == 0;
    if (!tls && strncmp(value, plain, sizeof plain - 1) != 0) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, setting->name,
                        "an URL begins with mqtt:// or mqtts://");
    }
    settings->tls = settings->tls || tls;
    char *copy = strdup(value + (tls ? sizeof secure : sizeof plain) - 1);
    if (copy == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, setting->name, "out of memory");
    }
    copy[strcspn(copy, "/")] = '\0';
    enum ota_exit rc = OTA_EXIT_OK;
    char *place = copy;
    char *at = strrchr(copy, '@');
    if (at != NULL) {
        *at = '\0';
        place = at + 1;
        rc = set_login(copy, settings, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = set_place(place, settings, failure);
    }
    free(copy);
    return rc;
}

static const struct ota_setting *find_dashed(const char *word)
{
    if (strncmp(word, "--", 2) == 0) {
        return ota_setting_by_name(word + 2, strlen(word + 2));
    }
    return word[0] == '-' && strlen(word) == 2 ? ota_setting_by_letter(word[1]) : NULL;
}

/* "-h localhost": the option ends at the first space, the value takes the rest. */
static enum ota_exit apply_line(char *line, struct ota_settings *settings,
                                struct ota_failure *failure)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *word = line + strspn(line, " \t");
    if (word[0] == '#' || word[0] == '\0') {
        return OTA_EXIT_OK;
    }
    char *value = word + strcspn(word, " \t");
    if (*value != '\0') {
        *value++ = '\0';
        value += strspn(value, " \t");
    }
    const struct ota_setting *setting = find_dashed(word);
    if (setting == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "%s is not an option of otactl", word);
    }
    if (setting->value != NULL && *value == '\0') {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, setting->name, "%s needs a value", word);
    }
    return ota_setting_apply(setting, value, settings, failure);
}

static enum ota_exit load_stream(FILE *file, const char *path, struct ota_settings *settings,
                                 struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    char *line = NULL;
    size_t room = 0;
    for (int number = 1; rc == OTA_EXIT_OK && getline(&line, &room, file) >= 0; number++) {
        struct ota_failure inner = {0};
        rc = apply_line(line, settings, &inner);
        if (rc != OTA_EXIT_OK) {
            (void)ota_fail(failure, rc, NULL, inner.field, "%s, line %d: %s", path, number,
                           inner.text);
        }
    }
    free(line);
    return rc;
}

enum ota_exit ota_settings_load(const char *path, struct ota_settings *settings,
                                struct ota_failure *failure)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "options", "cannot read %s: %s", path,
                        strerror(errno));
    }
    enum ota_exit rc = load_stream(file, path, settings, failure);
    (void)fclose(file);
    return rc;
}

enum ota_exit ota_settings_load_default(struct ota_settings *settings, struct ota_failure *failure)
{
    char path[4096];
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (xdg != NULL && xdg[0] != '\0') {
        (void)snprintf(path, sizeof path, "%s/otactl", xdg);
    } else if (home != NULL) {
        (void)snprintf(path, sizeof path, "%s/.config/otactl", home);
    } else {
        return OTA_EXIT_OK;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return OTA_EXIT_OK;
    }
    enum ota_exit rc = load_stream(file, path, settings, failure);
    (void)fclose(file);
    return rc;
}

enum ota_exit ota_settings_load_env(struct ota_settings *settings, struct ota_failure *failure)
{
    const char *password = getenv("OTACTL_PASSWORD");
    return password != NULL ? apply_by_name("pw", password, settings, failure) : OTA_EXIT_OK;
}

bool ota_settings_json(const struct ota_settings *settings)
{
    return settings->output == OTA_OUTPUT_JSON;
}

bool ota_settings_use_tls(const struct ota_settings *settings)
{
    return settings->tls || settings->cafile != NULL || settings->capath != NULL ||
           settings->cert != NULL;
}

static enum ota_exit set_default(const char *name, const char *value, char *const *target,
                                 struct ota_settings *settings, struct ota_failure *failure)
{
    return *target == NULL ? apply_by_name(name, value, settings, failure) : OTA_EXIT_OK;
}

enum ota_exit ota_settings_finish(struct ota_settings *settings, struct ota_failure *failure)
{
    if ((settings->cert == NULL) != (settings->key == NULL)) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, settings->cert == NULL ? "cert" : "key",
                        "--cert and --key go together");
    }
    if (settings->port == 0) {
        settings->port = ota_settings_use_tls(settings) ? 8883 : 1883;
    }
    if (settings->timeout_s == 0) {
        settings->timeout_s = DEFAULT_TIMEOUT_S;
    }
    enum ota_exit rc = set_default("host", "localhost", &settings->host, settings, failure);
    if (rc == OTA_EXIT_OK) {
        rc = set_default("control-topic", DEFAULT_TOPIC, &settings->topic, settings, failure);
    }
    return rc;
}

void ota_settings_free(struct ota_settings *settings)
{
    char *strings[] = {settings->host,   settings->user,   settings->password,  settings->id,
                       settings->cafile, settings->capath, settings->cert,      settings->key,
                       settings->file,   settings->topic,  settings->request_id};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        free(strings[i]);
    }
    *settings = (struct ota_settings){0};
}
