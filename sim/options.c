/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../plugin/util/names.h"
#include "../plugin/util/roff.h"
#include "fault.h"
#include "gateway.h"
#include "pattern.h"

enum kind { FLAG, TEXT, NUMBER, SECONDS };

struct row {
    char letter; /* or 0 */
    const char *name;
    const char *value; /* what help calls it; NULL for a flag; a heading where name is NULL */
    enum kind kind;
    size_t offset;
    int64_t low, high;
    const char *help; /* NULL: not for people */
};

#define AT(member) offsetof(struct ota_options, member)
#define HEADING(text)                                                                              \
    {                                                                                              \
        0, NULL, text, FLAG, 0, 0, 0, NULL                                                         \
    }

/* The order is that of --help. */
static const struct row rows[] = {
    HEADING("Broker (as mosquitto_pub has them)"),
    {'h', "host", "HOST", TEXT, AT(host), 0, 0, "localhost by default"},
    {'p', "port", "PORT", NUMBER, AT(port), 1, 65535, "1883; 8883 with --cafile or --psk"},
    {'u', "username", "PATTERN", TEXT, AT(username), 0, 0,
     "%p/%d by default, %p%d with --secret; %p product, %d device"},
    {'P', "pw", "PASSWORD", TEXT, AT(password), 0, 0, "of every device"},
    {'i', "id", "PATTERN", TEXT, AT(client_id), 0, 0, "client id: %p-%d; with --vendor %p%d"},
    {'k', "keepalive", "S", NUMBER, AT(keepalive), 5, 65535, "60; with --vendor 120"},
    {0, "cafile", "FILE", TEXT, AT(cafile), 0, 0, "TLS, trusting this CA; for https downloads too"},
    {0, "cert", "PATTERN", TEXT, AT(cert), 0, 0, "client certificate, as certs/%p-%d.crt"},
    {0, "key", "PATTERN", TEXT, AT(key), 0, 0, "its private key"},
    {0, "insecure", NULL, FLAG, AT(insecure), 0, 0, "don't compare the server's name"},
    {0, "secret", "BASE64", TEXT, AT(secret), 0, 0,
     "log in as the vendor's SDK does, with this secret (setDeviceSecret)"},
    {0, "hmac", "METHOD", TEXT, AT(hmac), 0, 0, "of the password: sha1 (default) or sha256"},
    {0, "psk", NULL, FLAG, AT(psk), 0, 0, "show the secret as the key of TLS-PSK"},
    HEADING("Devices"),
    {0, "product", "P", TEXT, AT(product), 0, 0, "product name; must be given"},
    {0, "device", "NAME", TEXT, AT(device), 0, 0, "device name, or a pattern: dev%05d by default"},
    {0, "count", "N", NUMBER, AT(count), 1, OTA_DEVICES_MAX, "that many devices (1)"},
    {0, "first", "N", NUMBER, AT(first), 0, INT32_MAX, "the number of the first one (1)"},
    {0, "version", "V", TEXT, AT(version), 0, 0, "the version that they run at start (1.0.0)"},
    {0, "topic-prefix", "PREFIX", TEXT, AT(prefix), 0, 0, "$ota by default"},
    {0, "gateway", "P/D", TEXT, AT(gateway), 0, 0,
     "behind this gateway, over its one connection; its names are those of the patterns"},
    {0, "connect-rate", "N", NUMBER, AT(connect_rate), 1, 100000, "connections a second (1000)"},
    {0, "seed", "N", NUMBER, AT(seed), 0, INT64_MAX, "what is random follows from it (1)"},
    HEADING("Behaviour"),
    {0, "vendor", NULL, FLAG, AT(vendor), 0, 0, "as the samples of the Tencent C SDK behave"},
    {0, "burning", NULL, FLAG, AT(burning), 0, 0, "vendor: say burning before done"},
    {0, "report-on-reconnect", NULL, FLAG, AT(report_on_reconnect), 0, 0,
     "vendor: report the version at every connection"},
    {0, "allow-port", NULL, FLAG, AT(allow_port), 0, 0, "vendor: take URLs that name a port"},
    {0, "stays", NULL, FLAG, AT(stays), 0, 0, "vendor: the program lives on after done"},
    {0, "haste", "N", NUMBER, AT(haste), 1, 1000,
     "vendor: wait N times shorter; its patience with others stays (1)"},
    {0, "connect-to", "HOST:PORT", TEXT, AT(connect_to), 0, 0,
     "download from there, whatever host and port the URL names"},
    {0, "reboot-ms", "MS", NUMBER, AT(reboot_ms), 0, 86400000,
     "how long a reboot takes (500); with --vendor: come back after done, with the old version"},
    {0, "burn-ms", "MS", NUMBER, AT(burn_ms), 0, 86400000, "from burning to done (300)"},
    {0, "progress-ms", "MS", NUMBER, AT(progress_ms), 10, 86400000,
     "say a percentage at most that often (1000)"},
    {0, "speed", "BYTES_PER_S", NUMBER, AT(speed), 0, INT64_C(1) << 40,
     "download at most that fast; 0 no limit (0; with --vendor 49000)"},
    {0, "inband", NULL, FLAG, AT(inband), 0, 0, "download over MQTT, not HTTP"},
    {0, "block-length", "BYTES", NUMBER, AT(block_length), 1, 65536,
     "in-band: in one message (16384)"},
    {0, "block-count", "N", NUMBER, AT(block_count), 1, 32, "in-band: messages a request (8)"},
    {0, "block-qos", "N", NUMBER, AT(block_qos), 0, 2, "in-band: of request and blocks (0)"},
    {0, "save", "FILE", TEXT, AT(save), 0, 0, "keep the image there (one device only)"},
    {0, "verify-key", "FILE", TEXT, AT(verify_key), 0, 0,
     "refuse firmware that no key in there signed (PEM public keys)"},
    {0, "fault", "FAULT", TEXT, AT(fault), 0, 0, "what goes wrong, see below"},
    {0, "fault-always", NULL, FLAG, AT(fault_always), 0, 0,
     "in every upgrade, not the first alone"},
    {0, "mix", "FAULT=SHARE,...", TEXT, AT(mix), 0, 0,
     "what goes wrong where in a fleet, see below"},
    {0, "offline-at-start", NULL, FLAG, AT(offline_at_start), 0, 0,
     "report once, then stay away until SIGUSR1"},
    {0, "return-after", "S", SECONDS, AT(return_after), 0, 86400, "or until then"},
    HEADING("Program"),
    {0, "duration", "S", SECONDS, AT(duration), 0, 86400 * 365, "exit after that time"},
    {0, "exit-when-done", NULL, FLAG, AT(exit_when_done), 0, 0,
     "exit when every device ended an upgrade, which silent ones never do"},
    {0, "json", NULL, FLAG, AT(json), 0, 0, "one JSON object a line for each happening"},
    {'q', "quiet", NULL, FLAG, AT(quiet), 0, 0, "print errors alone"},
    {'v', "verbose", NULL, FLAG, AT(verbose), 0, 0,
     "a line a happening for more than 20 devices too"},
    {0, "help", NULL, FLAG, AT(help), 0, 0, "this text"},
    {0, "man-page", NULL, FLAG, AT(man_page), 0, 0, NULL},
};

#define OTA_ROWS (sizeof rows / sizeof rows[0])

static const struct ota_options defaults = {
    .host = "localhost",
    .prefix = "$ota",
    .device = "dev%05d",
    .version = "1.0.0",
    .count = 1,
    .first = 1,
    .seed = 1,
    .connect_rate = 1000,
    .reboot_ms = -1,
    .burn_ms = 300,
    .progress_ms = 1000,
    .speed = -1,
    .block_length = 16384,
    .block_count = 8,
    .return_after = -1,
    .haste = 1,
    .duration = -1,
};

static const char examples[] =
    "otasim --product sensor --device hall-1 --version 1.0.0\n"
    "otasim -h broker --cafile ca.crt --cert 'certs/%d.crt' --key 'certs/%d.key' "
    "--product sensor --device hall-1\n"
    "otasim --product sensor --count 10000 --device 'dev%05d' "
    "--mix 'ok=95,fail:-4=2,silent=1,slow=2' --seed 7\n"
    "otasim --product ABCDEFGHIJ --device light1 --vendor --allow-port --json\n"
    "otasim --product ABCDEFGHIJ --device light1 --vendor --connect-to 127.0.0.1:8080\n"
    "otasim --product sensor --device hall-1 --fault reboot@50 --exit-when-done\n"
    "otasim --product sensor --device 'dev%d' --count 3 --gateway hubs/hall\n";

static void put_name(const struct row *row, char *out, size_t size)
{
    char letter[] = {'-', row->letter, ',', ' ', '\0'};
    snprintf(out, size, "%s--%s%s%s", row->letter == 0 ? "" : letter, row->name,
             row->value == NULL ? "" : " ", row->value == NULL ? "" : row->value);
}

static void print_row(FILE *out, const struct row *row)
{
    if (row->name == NULL) {
        fprintf(out, "\n%s:\n", row->value);
        return;
    }
    char name[48];
    put_name(row, name, sizeof name);
    fprintf(out, "  %s%-*s %s\n", row->letter == 0 ? "    " : "", row->letter == 0 ? 28 : 32, name,
            row->help);
}

void ota_options_print(FILE *out)
{
    fputs("otasim " OTA_VERSION ": simulated devices that upgrade their firmware over MQTT\n\n"
          "Usage: otasim --product P [options]\n",
          out);
    for (size_t i = 0; i < OTA_ROWS; i++) {
        if (rows[i].name == NULL || rows[i].help != NULL) {
            print_row(out, &rows[i]);
        }
    }
    fputs("\n", out);
    ota_fault_print(out);
    fputs("\nSIGUSR1 brings devices back that are offline at start. Exit codes: 0; 1 with\n"
          "--exit-when-done where a device failed or didn't finish; 2 it could not start.\n\n"
          "Examples:\n",
          out);
    for (const char *line = examples; *line != '\0';) {
        int len = (int)strcspn(line, "\n") + 1;
        fprintf(out, "  %.*s", len, line);
        line += len;
    }
}

/* What --fault and --mix take, as --help has it. */
static void print_man_faults(FILE *out)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    ota_roff_section(out, "FAULTS");
    if (memory != NULL) {
        ota_fault_print(memory);
        fclose(memory);
        ota_roff_verbatim(out, text);
    }
    free(text);
}

static void print_man_options(FILE *out)
{
    for (size_t i = 0; i < OTA_ROWS; i++) {
        char name[48];
        if (rows[i].name == NULL) {
            ota_roff_subsection(out, rows[i].value);
        } else if (rows[i].help != NULL) {
            put_name(&rows[i], name, sizeof name);
            ota_roff_entry(out, name, rows[i].help);
        }
    }
}

void ota_options_print_man(FILE *out)
{
    ota_roff_title(out, "OTASIM", OTA_VERSION);
    ota_roff_section(out, "NAME");
    fputs("otasim \\- simulated devices that upgrade their firmware over MQTT\n", out);
    ota_roff_section(out, "SYNOPSIS");
    fputs(".B otasim \\-\\-product\n\\fIP\\fR [\\fIOPTIONS\\fR]\n", out);
    ota_roff_section(out, "DESCRIPTION");
    ota_roff_paragraph(out, "One device, or up to 10,000, that behave as the device protocol of "
                            "mosquitto-ota has it, or as the samples of the Tencent C SDK do; with "
                            "faults on request. SIGUSR1 brings devices back that are offline at "
                            "start.");
    ota_roff_section(out, "OPTIONS");
    print_man_options(out);
    print_man_faults(out);
    ota_roff_section(out, "EXIT STATUS");
    ota_roff_entry(out, "0", "done");
    ota_roff_entry(out, "1", "with --exit-when-done: a device failed or didn't finish");
    ota_roff_entry(out, "2", "it could not start");
    ota_roff_section(out, "EXAMPLES");
    ota_roff_verbatim(out, examples);
    ota_roff_section(out, "SEE ALSO");
    fputs(".BR otactl (1)\n", out);
}

static enum ota_err set_number(const struct row *row, const char *text, int64_t *number,
                               struct ota_error *error)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || errno != 0 || !(value >= (double)row->low) ||
        !(value <= (double)row->high)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, row->name,
                             "--%s takes a number from %" PRId64 " to %" PRId64 ", not \"%s\"",
                             row->name, row->low, row->high, text);
    }
    *number = row->kind == SECONDS ? llround(value * 1000) : (int64_t)value;
    return OTA_OK;
}

static enum ota_err set(const struct row *row, const char *text, struct ota_options *options,
                        struct ota_error *error)
{
    void *at = (char *)options + row->offset;
    switch (row->kind) {
    case FLAG:
        *(bool *)at = true;
        return OTA_OK;
    case TEXT:
        *(const char **)at = text;
        return OTA_OK;
    case NUMBER:
    case SECONDS:
        return set_number(row, text, at, error);
    }
    return OTA_OK;
}

static enum ota_err check_names(const struct ota_options *options, struct ota_error *error)
{
    if (options->product == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "product", "--product must be given");
    }
    if (!ota_name_is_product(options->product, strlen(options->product))) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "product",
                             "--product: 1 to 32 of letters, digits, _ and -");
    }
    if (!ota_name_is_version(options->version, strlen(options->version))) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "version",
                             "--version: 1 to 32 of letters, digits, '.', _ and -");
    }
    if (options->count > 1 && !ota_pattern_varies(options->device)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "device",
                             "--count needs a --device with a number in it, as dev%%05d");
    }
    return OTA_OK;
}

static enum ota_err check_login(const struct ota_options *options, struct ota_error *error)
{
    if ((options->psk || options->hmac != NULL) && options->secret == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "secret",
                             "--psk and --hmac need the --secret");
    }
    if (options->psk && options->cert != NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "psk",
                             "--psk or a certificate (--cert), not both");
    }
    return OTA_OK;
}

static enum ota_err check(const struct ota_options *options, struct ota_error *error)
{
    enum ota_err err = check_login(options, error);
    if (err != OTA_OK) {
        return err;
    }
    if (options->fault != NULL && options->mix != NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "mix", "--fault or --mix, not both");
    }
    if (options->inband && options->vendor) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "inband",
                             "--inband: the vendor's SDK knows HTTP alone, leave --vendor out");
    }
    if (options->save != NULL && options->count > 1) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "save", "--save is for one device");
    }
    if ((options->cert == NULL) != (options->key == NULL)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "cert", "--cert and --key go together");
    }
    if (options->cert != NULL && options->cafile == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "cafile", "--cert needs --cafile");
    }
    if (options->verify_key != NULL && options->vendor) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "verify-key",
                             "--verify-key: the vendor's SDK knows no signatures, leave --vendor "
                             "out");
    }
    if (options->gateway != NULL && !ota_gateway_is_name(options->gateway)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "gateway",
                             "--gateway takes a product and a device, as hubs/hall, not \"%s\"",
                             options->gateway);
    }
    if (options->gateway != NULL && options->inband) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "gateway",
                             "--gateway downloads over HTTP: leave --inband out");
    }
    return check_names(options, error);
}

static void set_defaults(struct ota_options *options)
{
    if (options->port == 0) {
        options->port = options->cafile == NULL && !options->psk ? 1883 : 8883;
    }
    if (options->keepalive == 0) {
        options->keepalive = options->vendor ? 120 : 60;
    }
    if (options->username == NULL) {
        options->username = options->secret != NULL ? "%p%d" : "%p/%d";
    }
    if (options->client_id == NULL) {
        options->client_id = options->vendor ? "%p%d" : "%p-%d";
    }
    if (options->speed < 0) {
        options->speed = options->vendor ? 49000 : 0;
    }
}

/* getopt's own tables, made from ours; index 256 + i where a row has no letter. */
static void make_getopt(struct option *longs, char *shorts)
{
    *shorts++ = ':';
    for (size_t i = 0; i < OTA_ROWS; i++) {
        const struct row *row = &rows[i];
        if (row->name == NULL) {
            continue;
        }
        int has = row->kind == FLAG ? no_argument : required_argument;
        *longs++ = (struct option){row->name, has, NULL, 256 + (int)i};
        if (row->letter != 0) {
            *shorts++ = row->letter;
            *shorts = ':';
            shorts += has == required_argument;
        }
    }
    *longs = (struct option){0};
    *shorts = '\0';
}

static const struct row *find_row(int code)
{
    if (code >= 256) {
        return &rows[code - 256];
    }
    for (size_t i = 0; i < OTA_ROWS; i++) {
        if (rows[i].letter == code) {
            return &rows[i];
        }
    }
    return NULL;
}

enum ota_err ota_options_parse(int argc, char **argv, struct ota_options *options,
                               struct ota_error *error)
{
    struct option longs[OTA_ROWS + 1];
    char shorts[2 * OTA_ROWS + 2];
    struct ota_options parsed = defaults;
    make_getopt(longs, shorts);
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (code == '?' || code == ':') {
            return ota_error_set(error, OTA_INVALID_REQUEST, NULL, "%s %s, see --help",
                                 argv[optind - 1],
                                 code == ':' ? "needs a value" : "is no option of otasim");
        }
        enum ota_err err = set(find_row(code), optarg, &parsed, error);
        if (err != OTA_OK) {
            return err;
        }
    }
    if (optind < argc) {
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL, "\"%s\" is no option, see --help",
                             argv[optind]);
    }
    enum ota_err err = parsed.help || parsed.man_page ? OTA_OK : check(&parsed, error);
    if (err == OTA_OK) {
        set_defaults(&parsed);
        *options = parsed;
    }
    return err;
}
