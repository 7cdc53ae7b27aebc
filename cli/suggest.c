/* SPDX-License-Identifier: BSD-3-Clause */
#include "suggest.h"

#include <stdio.h>
#include <string.h>

#include "settings.h"
#include "verb.h"

#define LONGEST 48

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance, over at most LONGEST bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t row[LONGEST + 1];
    size_t width = strnlen(b, LONGEST);
    for (size_t j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (size_t i = 0; i < LONGEST && a[i] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t above = row[j + 1];
            row[j + 1] = least(above + 1, row[j] + 1, corner + (a[i] != b[j]));
            corner = above;
        }
    }
    return row[width];
}

struct best {
    size_t score;
    char *out;
    size_t size;
};

static void consider(struct best *best, const char *typed, const char *candidate)
{
    size_t score = distance(typed, candidate);
    if (score < best->score) {
        best->score = score;
        (void)snprintf(best->out, best->size, "%s", candidate);
    }
}

/* Nobody is helped by a word that shares next to nothing with what was typed. */
static size_t worst_score(const char *typed)
{
    size_t third = strlen(typed) / 3;
    return third < 2 ? 3 : third + 1;
}

bool ota_suggest_is_nearer(const char *typed, const char *candidate, const char *best)
{
    size_t limit = best != NULL ? distance(typed, best) : worst_score(typed);
    return distance(typed, candidate) < limit;
}

bool ota_suggest_verb(const char *first, const char *second, char *out, size_t size)
{
    char typed[2 * LONGEST];
    (void)snprintf(typed, sizeof typed, "%s %s", first, second);
    struct best best = {.score = worst_score(typed), .out = out, .size = size};
    size_t start = best.score;
    for (size_t i = 0; i < ota_verb_count(); i++) {
        const char *words = ota_verb_at(i).words;
        consider(&best, strchr(words, ' ') != NULL ? typed : first, words);
    }
    return best.score < start;
}

bool ota_suggest_option(const char *option, char *out, size_t size)
{
    struct best best = {.score = worst_score(option), .out = out, .size = size};
    size_t start = best.score;
    char name[LONGEST];
    char kebab[LONGEST];
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        const struct ota_param *param;
        for (size_t j = 0; (param = ota_verb_param_at(&verb, j)) != NULL; j++) {
            ota_verb_kebab(param->key, kebab, sizeof kebab);
            (void)snprintf(name, sizeof name, "--%.40s", kebab);
            if (!param->required) {
                consider(&best, option, name);
            }
        }
    }
    const struct ota_verb_alias *alias;
    for (size_t i = 0; (alias = ota_verb_alias_at(i)) != NULL; i++) {
        (void)snprintf(name, sizeof name, "--%.40s", alias->name);
        consider(&best, option, name);
    }
    const struct ota_setting *setting;
    for (size_t i = 0; (setting = ota_setting_at(i)) != NULL; i++) {
        (void)snprintf(name, sizeof name, "--%.40s", ota_setting_name(setting));
        if (ota_setting_group(setting) != OTA_SETTING_HIDDEN) {
            consider(&best, option, name);
        }
    }
    return best.score < start;
}

bool ota_suggest_noun(const char *noun, char *out, size_t size)
{
    size_t len = strlen(noun);
    size_t used = 0;
    for (size_t i = 0; i < ota_verb_count() && used < size; i++) {
        const char *words = ota_verb_at(i).words;
        if (strncmp(words, noun, len) == 0 && words[len] == ' ') {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", words);
        }
    }
    return used > 0;
}
