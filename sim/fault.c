/* SPDX-License-Identifier: BSD-3-Clause */
#include "fault.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pattern.h"

#define OTA_MIX_PARTS 32
#define OTA_SHARE_MAX 1e9

/* The vendor's SDK gives up what is slower than 4,999 bytes a second: this isn't. */
#define OTA_SLOW_SPEED 10000

/* ARG_SPEED alone may be left out. */
enum argument { ARG_NONE, ARG_CODE, ARG_COUNT, ARG_SECONDS, ARG_SPEED, ARG_VERSION };

struct row {
    const char *name;
    enum argument argument;
    int percent; /* the default, or -1: takes none */
    const char *usage;
    const char *help;
};

static const struct row rows[OTA_FAULT_COUNT] = {
    [OTA_FAULT_OK] = {"ok", ARG_NONE, -1, "ok", "no fault (for --mix)"},
    [OTA_FAULT_FAIL] = {"fail", ARG_CODE, 100, "fail:CODE[@P]",
                        "reports fail with that code at P % (100)"},
    [OTA_FAULT_SILENT] = {"silent", ARG_NONE, -1, "silent", "says nothing after the notice"},
    [OTA_FAULT_IGNORE] = {"ignore-notice", ARG_COUNT, -1, "ignore-notice:N",
                          "doesn't hear the first N notices"},
    [OTA_FAULT_STALL] = {"stall", ARG_NONE, 50, "stall[@P]", "says nothing more from P % (50) on"},
    [OTA_FAULT_REBOOT] = {"reboot", ARG_NONE, 50, "reboot[@P]",
                          "drops MQTT and download at P % (50), comes back, resumes"},
    [OTA_FAULT_WRONG_VERSION] = {"wrong-version", ARG_VERSION, -1, "wrong-version:V",
                                 "runs V after done"},
    [OTA_FAULT_DISCONNECT] = {"disconnect", ARG_SECONDS, -1, "disconnect:S",
                              "is cut off for S seconds by the notice"},
    [OTA_FAULT_SLOW] = {"slow", ARG_SPEED, -1, "slow[:BYTES_PER_S]",
                        "downloads that slowly (10000)"},
    [OTA_FAULT_NO_DONE] = {"no-done", ARG_NONE, -1, "no-done",
                           "doesn't say done, only reports the new version"},
    [OTA_FAULT_LATE] = {"late", ARG_SECONDS, -1, "late:S", "takes S seconds longer to say done"},
    [OTA_FAULT_ROLLBACK] = {"rollback", ARG_SECONDS, -1, "rollback:S",
                            "falls back to the old version after S seconds"},
    [OTA_FAULT_CORRUPT] = {"corrupt", ARG_NONE, -1, "corrupt", "takes the image for corrupt: -4"},
};

struct range {
    double low, high, scale;
};

/* Of the arguments that are numbers. */
static const struct range ranges[] = {
    [ARG_CODE] = {-1000, -1, 1},
    [ARG_COUNT] = {1, 1000, 1},
    [ARG_SECONDS] = {0, 86400, 1000},
    [ARG_SPEED] = {1, 1e9, 1},
};

const char *ota_fault_name(enum ota_fault_kind kind)
{
    return rows[kind].name;
}

void ota_fault_print(FILE *out)
{
    fputs("Faults (--fault NAME[:ARG][@PERCENT], of the first upgrade):\n", out);
    for (size_t i = 0; i < OTA_FAULT_COUNT; i++) {
        fprintf(out, "  %-20s %s\n", rows[i].usage, rows[i].help);
    }
    fputs("\nMixes (--mix FAULT=SHARE,...): the same words, each with its share of the devices.\n"
          "Numbers are exact to one device; which device does what follows from --seed alone:\n"
          "with --count 10000, ok=95,fail:-4=2,silent=1,slow=2 is 9500 that are well, 200 that\n"
          "report -4, 100 that say nothing and 200 that download slowly.\n",
          out);
}

static enum ota_err bad(const char *text, const char *why, struct ota_error *error)
{
    return ota_error_set(error, OTA_INVALID_REQUEST, "fault", "fault \"%s\": %s", text, why);
}

static enum ota_err parse_number(const char *text, const struct range *range, int64_t *number)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || errno != 0 || !(value >= range->low) ||
        !(value <= range->high)) {
        return OTA_INVALID_REQUEST;
    }
    *number = llround(value * range->scale);
    return OTA_OK;
}

static enum ota_err parse_argument(const struct row *row, const char *text, struct ota_fault *fault)
{
    if (row->argument == ARG_SPEED && text == NULL) {
        fault->number = OTA_SLOW_SPEED;
        return OTA_OK;
    }
    if (row->argument == ARG_NONE || text == NULL) {
        return (row->argument == ARG_NONE) == (text == NULL) ? OTA_OK : OTA_INVALID_REQUEST;
    }
    if (row->argument != ARG_VERSION) {
        return parse_number(text, &ranges[row->argument], &fault->number);
    }
    if (!ota_name_is_version(text, strlen(text))) {
        return OTA_INVALID_REQUEST;
    }
    strcpy(fault->version, text);
    return OTA_OK;
}

static enum ota_err parse_percent(const struct row *row, const char *text, struct ota_fault *fault)
{
    int64_t percent = row->percent;
    if (text != NULL &&
        (row->percent < 0 || parse_number(text, &(struct range){0, 100, 1}, &percent) != OTA_OK)) {
        return OTA_INVALID_REQUEST;
    }
    fault->percent = (int)percent;
    return OTA_OK;
}

/* Cuts text at the mark; returns what is behind it, or NULL. */
static char *cut(char *text, char mark)
{
    char *at = strchr(text, mark);
    if (at != NULL) {
        *at++ = '\0';
    }
    return at;
}

enum ota_err ota_fault_parse(const char *text, struct ota_fault *fault, struct ota_error *error)
{
    char copy[128];
    if (strlen(text) >= sizeof copy) {
        return bad(text, "is too long", error);
    }
    strcpy(copy, text);
    char *percent = cut(copy, '@');
    char *argument = cut(copy, ':');
    size_t kind = 0;
    while (kind < OTA_FAULT_COUNT && strcmp(rows[kind].name, copy) != 0) {
        kind++;
    }
    if (kind == OTA_FAULT_COUNT) {
        return bad(text, "there is none of that name, see --help", error);
    }
    struct ota_fault parsed = {.kind = (enum ota_fault_kind)kind};
    if (parse_argument(&rows[kind], argument, &parsed) != OTA_OK ||
        parse_percent(&rows[kind], percent, &parsed) != OTA_OK) {
        return bad(text, rows[kind].usage, error);
    }
    *fault = parsed;
    return OTA_OK;
}

struct part {
    struct ota_fault fault;
    double share;
};

static enum ota_err parse_part(char *text, struct part *part, struct ota_error *error)
{
    char *share = cut(text, '=');
    char *end = NULL;
    part->share = share == NULL ? 1 : strtod(share, &end);
    bool good = part->share >= 0 && part->share <= OTA_SHARE_MAX;
    if (share != NULL && (end == share || *end != '\0' || !good)) {
        return bad(text, "its share in the mix must be a number", error);
    }
    return ota_fault_parse(text, &part->fault, error);
}

static enum ota_err parse_mix(const char *mix, struct part *parts, size_t *count,
                              struct ota_error *error)
{
    char *copy = strdup(mix), *rest = NULL;
    if (copy == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for the mix");
    }
    enum ota_err err = OTA_OK;
    *count = 0;
    for (char *at = strtok_r(copy, ",", &rest); err == OTA_OK && at != NULL;
         at = strtok_r(NULL, ",", &rest)) {
        if (*count == OTA_MIX_PARTS) {
            err = bad(mix, "too many parts", error);
        } else {
            err = parse_part(at, &parts[(*count)++], error);
        }
    }
    free(copy);
    return err;
}

static void shuffle(struct ota_fault *faults, size_t count, uint64_t seed)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)(ota_random(&seed) % i);
        struct ota_fault kept = faults[i - 1];
        faults[i - 1] = faults[other];
        faults[other] = kept;
    }
}

enum ota_err ota_mix_deal(const char *mix, size_t count, uint64_t seed, struct ota_fault **faults,
                          struct ota_error *error)
{
    struct part parts[OTA_MIX_PARTS] = {0};
    size_t part_count = 0;
    enum ota_err err = parse_mix(mix, parts, &part_count, error);
    double total = 0;
    for (size_t i = 0; i < part_count; i++) {
        total += parts[i].share;
    }
    if (err == OTA_OK && !(total > 0)) {
        err = bad(mix, "the shares of the mix sum up to nothing", error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_fault *dealt = calloc(count, sizeof *dealt);
    if (dealt == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for the mix");
    }
    double until = parts[0].share;
    for (size_t i = 0, part = 0; i < count; i++) {
        while (part + 1 < part_count && ((double)i + 0.5) * total / (double)count > until) {
            until += parts[++part].share;
        }
        dealt[i] = parts[part].fault;
    }
    shuffle(dealt, count, seed);
    *faults = dealt;
    return OTA_OK;
}
