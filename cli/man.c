/* SPDX-License-Identifier: BSD-3-Clause */
#include "man.h"

#include <ctype.h>
#include <string.h>

#include "failure.h"
#include "syntax.h"
#include "util/roff.h"
#include "verb.h"

static void print_head(FILE *out)
{
    ota_roff_title(out, "OTACTL", OTA_VERSION);
    ota_roff_section(out, "NAME");
    (void)fputs("otactl \\- firmware upgrades through a Mosquitto broker\n", out);
    ota_roff_section(out, "SYNOPSIS");
    (void)fputs(".B otactl\n[\\fICONNECTION\\fR] \\fICOMMAND ARGUMENTS\\fR... [\\fIOPTIONS\\fR]\n"
                ".br\n.B otactl help\n[\\fICOMMAND\\fR]\n",
                out);
    ota_roff_section(out, "DESCRIPTION");
    ota_roff_paragraph(out, "Steers the firmware service mosquitto-ota, a plugin of the Mosquitto "
                            "broker: products, their firmware and devices, and the upgrades "
                            "themselves. Commands travel over MQTT; which of them a user may give "
                            "hangs on the role that the broker's configuration gives that user.");
    ota_roff_paragraph(out, "Options may stand anywhere; -- ends them. An option that is yes or "
                            "no is negated by --no-NAME.");
}

static void print_params(FILE *out, const struct ota_verb *verb)
{
    const struct ota_param *param;
    for (size_t i = 0; (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        char name[96];
        char rule[256];
        char text[512];
        ota_syntax_param(param, name, sizeof name);
        ota_syntax_rule(param, rule, sizeof rule);
        (void)snprintf(text, sizeof text, "%s%s%s", param->help, rule[0] != '\0' ? ": " : "", rule);
        ota_roff_entry(out, name, text);
    }
}

static void print_verb(const struct ota_verb *verb, void *context)
{
    FILE *out = context;
    char line[160];
    char text[256];
    char lines[1024];
    bool local = verb->command == NULL;
    ota_syntax_verb(verb, line, sizeof line);
    ota_roff_subsection(out, line);
    (void)snprintf(
        text, sizeof text, "%c%s. %s%s.", toupper((unsigned char)verb->help[0]), verb->help + 1,
        local ? "Needs no server" : "Role: ", local ? "" : ota_role_name(verb->command->role));
    ota_roff_paragraph(out, text);
    print_params(out, verb);
    ota_syntax_examples(verb, lines, sizeof lines);
    ota_roff_verbatim(out, lines);
}

static void print_settings(FILE *out, enum ota_setting_group group)
{
    const struct ota_setting *setting;
    for (size_t i = 0; (setting = ota_setting_at(i)) != NULL; i++) {
        char name[64];
        if (ota_setting_group(setting) == group) {
            ota_syntax_setting(setting, name, sizeof name);
            ota_roff_entry(out, name, ota_setting_help(setting));
        }
    }
}

static void print_exits(FILE *out)
{
    const char *line;
    ota_roff_section(out, "EXIT STATUS");
    for (size_t i = 0; (line = ota_exit_help(i)) != NULL; i++) {
        char code[8];
        size_t len = strcspn(line, " ");
        (void)snprintf(code, sizeof code, "%.*s", (int)len, line);
        ota_roff_entry(out, code, line + len + strspn(line + len, " "));
    }
}

static void print_tail(FILE *out)
{
    print_exits(out);
    ota_roff_section(out, "ENVIRONMENT");
    ota_roff_entry(out, "OTACTL_PASSWORD", "the password; it doesn't show in ps");
    ota_roff_entry(out, "NO_COLOR", "not empty: no colours, on a terminal either");
    ota_roff_section(out, "FILES");
    ota_roff_entry(out, "~/.config/otactl",
                   "options, one a line, as \"-h broker.example\"; in $XDG_CONFIG_HOME where that "
                   "is set. What the command line says wins.");
    ota_roff_section(out, "EXAMPLES");
    ota_roff_verbatim(out, ota_syntax_first_day);
    ota_roff_section(out, "SEE ALSO");
    (void)fputs(".BR otasim (1),\n.BR mosquitto (8),\n.BR mosquitto.conf (5)\n", out);
}

void ota_man_print(FILE *out)
{
    print_head(out);
    ota_roff_section(out, "COMMANDS");
    ota_syntax_walk(print_verb, out);
    ota_roff_section(out, "OPTIONS");
    ota_roff_subsection(out, "Connection");
    print_settings(out, OTA_SETTING_CONNECTION);
    ota_roff_subsection(out, "Others");
    print_settings(out, OTA_SETTING_OTHER);
    print_tail(out);
}
