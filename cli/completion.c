/* SPDX-License-Identifier: BSD-3-Clause */
#include "completion.h"

#include <stdio.h>
#include <string.h>

#include "settings.h"
#include "value.h"

/* What the script asks its tables for. */
#define FILES "-f"
#define DIRS  "-d"

/* --- tables ----------------------------------------------------------------------------------- */

static void print_verb_words(void)
{
    (void)puts("_otactl_verbs=(");
    for (size_t i = 0; i < ota_verb_count(); i++) {
        (void)printf("    '%s'\n", ota_verb_at(i).words);
    }
    (void)puts(")");
}

static void print_option_names(const struct ota_verb *verb, bool negated)
{
    const struct ota_param *param;
    for (size_t i = 0; (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        char name[64];
        ota_verb_kebab(param->key, name, sizeof name);
        if (!param->required && (!negated || param->type == OTA_PARAM_BOOL)) {
            (void)printf(negated ? " --no-%s" : " --%s", name);
        }
    }
}

static void print_alias_names(const struct ota_verb *verb)
{
    const struct ota_verb_alias *alias;
    for (size_t i = 0; (alias = ota_verb_alias_at(i)) != NULL; i++) {
        const struct ota_param *param = ota_verb_param(verb, alias->key);
        if (param != NULL && !param->required) {
            (void)printf(" --%s", alias->name);
        }
    }
}

/* What each argument is, in their order: choices, files, or - for nothing that could be known. */
static void print_arguments(const struct ota_verb *verb)
{
    const struct ota_param *param;
    for (size_t i = 0; (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        if (param->required) {
            (void)printf(" %s", param->type == OTA_LOCAL_PATH ? FILES : "-");
        }
    }
}

static void print_verb(const struct ota_verb *verb)
{
    (void)printf("        '%s')\n            options='", verb->words);
    print_option_names(verb, false);
    print_alias_names(verb);
    (void)fputs("'\n            negated='", stdout);
    print_option_names(verb, true);
    (void)fputs("'\n            arguments=(", stdout);
    print_arguments(verb);
    (void)puts(") ;;");
}

static void print_verbs(void)
{
    (void)puts("_otactl_verb() {\n    options='' negated='' arguments=()\n    case $1 in");
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        print_verb(&verb);
    }
    (void)puts("    esac\n}");
}

static void print_setting_names(void)
{
    const struct ota_setting *setting;
    (void)fputs("_otactl_settings='", stdout);
    for (size_t i = 0; (setting = ota_setting_at(i)) != NULL; i++) {
        if (ota_setting_group(setting) != OTA_SETTING_HIDDEN) {
            (void)printf(" --%s", ota_setting_name(setting));
        }
    }
    (void)puts("'");
}

static void print_value_row(const char *dashes, const char *name, const char *kind)
{
    (void)printf("        %s%s) values='%s' ;;\n", dashes, name, kind);
}

/* "FILE" to -f, "table|json|csv" to its words. */
static void kind_of_setting(const char *placeholder, char *out, size_t size)
{
    (void)snprintf(out, size, "%s",
                   strcmp(placeholder, "FILE") == 0   ? FILES
                   : strcmp(placeholder, "DIR") == 0  ? DIRS
                   : strchr(placeholder, '|') == NULL ? "-"
                                                      : placeholder);
    for (char *c = out; *c != '\0'; c++) {
        *c = (char)(*c == '|' ? ' ' : *c);
    }
}

static void print_setting_values(void)
{
    const struct ota_setting *setting;
    for (size_t i = 0; (setting = ota_setting_at(i)) != NULL; i++) {
        char kind[64];
        char letter[] = {ota_setting_letter(setting), '\0'};
        if (ota_setting_value(setting) == NULL) {
            continue;
        }
        kind_of_setting(ota_setting_value(setting), kind, sizeof kind);
        print_value_row("--", ota_setting_name(setting), kind);
        if (letter[0] != '\0') {
            print_value_row("-", letter, kind);
        }
    }
}

static void print_param_value(const char *name, const struct ota_param *param)
{
    char choices[256];
    ota_value_choices(param->type, choices, sizeof choices);
    print_value_row("--", name,
                    param->type == OTA_LOCAL_PATH ? FILES
                    : choices[0] == '\0'          ? "-"
                                                  : choices);
}

static bool was_before(size_t verb_index, const char *key)
{
    for (size_t i = 0; i < verb_index; i++) {
        struct ota_verb verb = ota_verb_at(i);
        const struct ota_param *param = ota_verb_param(&verb, key);
        if (param != NULL && !param->required) {
            return true;
        }
    }
    return false;
}

/* An option is the same for all verbs; one that is yes or no needs no value. */
static void print_param_values(void)
{
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        const struct ota_param *param;
        for (size_t j = 0; (param = ota_verb_param_at(&verb, j)) != NULL; j++) {
            char name[64];
            ota_verb_kebab(param->key, name, sizeof name);
            if (!param->required && param->type != OTA_PARAM_BOOL && !was_before(i, param->key)) {
                print_param_value(name, param);
            }
        }
    }
    const struct ota_verb_alias *alias;
    for (size_t i = 0; (alias = ota_verb_alias_at(i)) != NULL; i++) {
        const struct ota_param *param = ota_verb_param_anywhere(alias->key);
        if (!alias->negates) {
            print_param_value(alias->name, param);
        }
    }
}

static void print_values(void)
{
    (void)puts("_otactl_values() {\n    values=''\n    case $1 in");
    print_setting_values();
    print_param_values();
    (void)puts("    esac\n}");
}

/* --- the script ------------------------------------------------------------------------------- */

static const char script[] =
    "# Readline takes = and : for the ends of words; otactl doesn't.\n"
    "_otactl_split() {\n"
    "    local i part\n"
    "    words=()\n"
    "    for ((i = 1; i <= COMP_CWORD; i++)); do\n"
    "        part=${COMP_WORDS[i]}\n"
    "        if ((${#words[@]})) && [[ $part == [=:]* || ${words[-1]} == *[=:] ]]; then\n"
    "            words[-1]+=$part\n"
    "        else\n"
    "            words+=(\"$part\")\n"
    "        fi\n"
    "    done\n"
    "}\n"
    "\n"
    "# The command's words, and how many arguments follow them.\n"
    "_otactl_parse() {\n"
    "    local i word verb plain=()\n"
    "    for ((i = 0; i + 1 < ${#words[@]}; i++)); do\n"
    "        word=${words[i]}\n"
    "        if [[ $word == -* ]]; then\n"
    "            _otactl_values \"$word\"\n"
    "            [[ -z $values ]] || ((i += 1))\n"
    "        else\n"
    "            plain+=(\"$word\")\n"
    "        fi\n"
    "    done\n"
    "    [[ ${plain[0]} != help ]] || plain=(\"${plain[@]:1}\")\n"
    "    found='' given=0 noun=${plain[0]}\n"
    "    for verb in \"${_otactl_verbs[@]}\"; do\n"
    "        [[ \"${plain[*]} \" == \"$verb \"* && ${#verb} -gt ${#found} ]] && found=$verb\n"
    "    done\n"
    "    verb=($found)\n"
    "    given=$((${#plain[@]} - ${#verb[@]}))\n"
    "}\n"
    "\n"
    "_otactl_offer() {\n"
    "    case $1 in\n"
    "        -) ;;\n"
    "        -f | -d)\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$2\") ;;\n"
    "        *) mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$2\") ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_otactl_words() {\n"
    "    local verb rest list=''\n"
    "    for verb in \"${_otactl_verbs[@]}\"; do\n"
    "        rest=${verb#\"$noun\"}\n"
    "        if [[ -z $noun ]]; then\n"
    "            list+=\" ${verb%% *}\"\n"
    "        elif [[ $rest == ' '* ]]; then\n"
    "            list+=$rest\n"
    "        fi\n"
    "    done\n"
    "    [[ -n $noun ]] || list+=' help'\n"
    "    _otactl_offer \"$(printf '%s\\n' $list | sort -u | tr '\\n' ' ')\" \"$1\"\n"
    "}\n"
    "\n"
    "_otactl() {\n"
    "    local words values options negated arguments found given noun current before\n"
    "    COMPREPLY=()\n"
    "    _otactl_split\n"
    "    _otactl_parse\n"
    "    _otactl_verb \"$found\"\n"
    "    current=${words[-1]} before=''\n"
    "    ((${#words[@]} < 2)) || before=${words[-2]}\n"
    "    if [[ $current == --*=* ]]; then\n"
    "        _otactl_values \"${current%%=*}\"\n"
    "        _otactl_offer \"${values:--}\" \"${current#*=}\"\n"
    "        return\n"
    "    fi\n"
    "    _otactl_values \"$before\"\n"
    "    if [[ -n $values ]]; then\n"
    "        _otactl_offer \"$values\" \"$current\"\n"
    "    elif [[ $current == --no-* ]]; then\n"
    "        _otactl_offer \"${negated:--}\" \"$current\"\n"
    "    elif [[ $current == -* ]]; then\n"
    "        _otactl_offer \"$options $_otactl_settings\" \"$current\"\n"
    "    elif [[ -z $found ]]; then\n"
    "        _otactl_words \"$current\"\n"
    "    else\n"
    "        _otactl_offer \"${arguments[given]:--}\" \"$current\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _otactl otactl\n";

enum ota_exit ota_completion_run(struct ota_session *session, const struct ota_job *job,
                                 struct ota_failure *failure)
{
    (void)session;
    (void)job;
    (void)failure;
    (void)puts("# bash completion for otactl " OTA_VERSION
               "; made by: otactl completion bash\n# shellcheck shell=bash");
    print_verb_words();
    print_verbs();
    print_setting_names();
    print_values();
    (void)fputs(script, stdout);
    return OTA_EXIT_OK;
}
