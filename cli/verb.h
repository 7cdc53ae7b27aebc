/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a shell can say: the plugin's table of commands, and the few verbs that are more
 *       than one command. Words, parameters and help come from that table.
 * Thread: main; constant tables.
 * Frees: nothing; a job's JSON belongs to whoever made the job.
 */
#ifndef OTA_CLI_VERB_H
#define OTA_CLI_VERB_H

#include <jansson.h>

#include "command_table.h"
#include "failure.h"

struct ota_session;
struct ota_job;

struct ota_verb {
    const struct ota_command *command; /* NULL: it needs no server */
    const char *words;
    const char *help;
    const char *example;            /* what follows "otactl", or NULL: made from the parameters */
    const char *const *computed;    /* parameters that otactl fills in itself, NULL-terminated */
    const struct ota_param *extras; /* parameters that the server never sees */
    enum ota_exit (*run)(struct ota_session *session, const struct ota_job *job,
                         struct ota_failure *failure);
};

/* A verb with its arguments. */
struct ota_job {
    struct ota_verb verb;
    json_t *fields; /* for the server */
    json_t *local;  /* extras */
};

/* Verb of that number below ota_verb_count(). */
size_t ota_verb_count(void);
struct ota_verb ota_verb_at(size_t index);

/* Finds the verb that begins these words and tells how many it took; false: there is none. */
bool ota_verb_find(const char *const *words, size_t count, struct ota_verb *verb, size_t *taken);

/* Walks a verb's parameters: those of the server that are not computed, then the extras.
 * NULL past the last. */
const struct ota_param *ota_verb_param_at(const struct ota_verb *verb, size_t index);
const struct ota_param *ota_verb_param(const struct ota_verb *verb, const char *key);
bool ota_verb_is_extra(const struct ota_verb *verb, const struct ota_param *param);

/* Whether its first word is that one. */
bool ota_verb_is_of(const struct ota_verb *verb, const char *noun);

/* Whether it lists or shows something and changes nothing: its answer can be CSV. */
bool ota_verb_is_show(const struct ota_verb *verb);

/* The first parameter of any verb with that key, or NULL. */
const struct ota_param *ota_verb_param_anywhere(const char *key);

/* A shorter name for some parameters' options; to negate: --offline is --no-online. NULL past the
 * last row. */
struct ota_verb_alias {
    const char *name; /* camelCase, like keys */
    const char *key;
    bool negates;
};
const struct ota_verb_alias *ota_verb_alias_at(size_t index);

/* The alias of that name, or NULL. */
const struct ota_verb_alias *ota_verb_alias(const char *name);

/* "timeoutSeconds" to "timeout-seconds" and back. */
void ota_verb_kebab(const char *key, char *out, size_t size);
void ota_verb_camel(const char *name, char *out, size_t size);

#endif
