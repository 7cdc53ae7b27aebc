/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct row {
    const char *name;
    /* {key} is a detail; what stands in [ ] is left out where its detail is missing. */
    const char *sentence;
};

static const struct row rows[OTA_EVENT_COUNT] = {
    [OTA_EVENT_CONNECTED] = {"connected", "connected as {client_id}"},
    [OTA_EVENT_REFUSED] = {"refused", "no connection: {reason}"},
    [OTA_EVENT_SUBSCRIBED] = {"subscribed", "subscribed to {topic}"},
    [OTA_EVENT_REPORTED] = {"reported", "reported version {version}"},
    [OTA_EVENT_ANSWERED] = {"answered", "answer to the report: {result_code} {result_msg}"},
    [OTA_EVENT_NOTICE] = {"notice",
                          "notice: version {version}, {size} bytes[, task {task}][, {signature}]"},
    [OTA_EVENT_IGNORED] = {"ignored", "ignores {what}: {reason}"},
    [OTA_EVENT_DOWNLOAD_START] = {"download_start", "download starts[ at byte {offset}]: {url}"},
    [OTA_EVENT_DOWNLOADING] = {"downloading", "downloading {version}: {percent} %"},
    [OTA_EVENT_DOWNLOAD_CUT] = {"download_cut", "download cut at byte {offset}: {reason}"},
    [OTA_EVENT_DOWNLOADED] = {"downloaded", "downloaded {size} bytes"},
    [OTA_EVENT_VERIFIED] = {"verified", "image verified: {digests}"},
    [OTA_EVENT_BURNING] = {"burning", "burning {version}"},
    [OTA_EVENT_DONE] = {"done", "done: {version}"},
    [OTA_EVENT_FAIL] = {"fail", "fail {code}: {reason}"},
    [OTA_EVENT_CANCELLED] = {"cancelled", "upgrade to {version} cancelled"},
    [OTA_EVENT_FAULT] = {"fault", "fault: {fault}"},
    [OTA_EVENT_REBOOT] = {"reboot", "reboots, back in {ms} ms"},
    [OTA_EVENT_UPGRADED] = {"upgraded", "upgraded: runs {version}"},
    [OTA_EVENT_DISCONNECTED] = {"disconnected", "disconnected: {reason}"},
    [OTA_EVENT_AWAY] = {"away", "stays away[ for {ms} ms]"},
    [OTA_EVENT_RETURNED] = {"returned", "comes back"},
    [OTA_EVENT_GAVE_UP] = {"gave_up", "gave up reconnecting"},
    [OTA_EVENT_EXITED] = {"exited", "program ends: {reason}"},
    [OTA_EVENT_CRASHED] = {"crashed", "program dies, as the vendor's SDK does: {reason}"},
    [OTA_EVENT_SUMMARY] = {"summary", "{connected} connected: {idle} idle, {downloading} "
                                      "downloading, {burning} burning, {away} away, "
                                      "{silent} silent; {upgraded} upgraded, {failed} failed, "
                                      "{bytes} bytes"},
};

void ota_output_open(struct ota_output *output, bool json, bool lines, bool quiet)
{
    *output = (struct ota_output){.json = json, .lines = lines, .quiet = quiet};
    /* One write for each round of the loop, not one for each line. */
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
}

bool ota_output_wants(const struct ota_output *output, enum ota_event event)
{
    return !output->quiet && (output->json || output->lines || event == OTA_EVENT_SUMMARY);
}

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_json(const char *event, const char *device, json_t *details)
{
    json_t *line = json_pack("{s:I, s:s*, s:s}", "at", (json_int_t)wall_ms(), "device", device,
                             "event", event);
    if (line != NULL && details != NULL) {
        (void)json_object_update(line, details);
    }
    (void)json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
}

static void append(char *text, size_t size, const char *more, size_t len)
{
    size_t used = strlen(text);
    if (used + len < size) {
        memcpy(text + used, more, len);
        text[used + len] = '\0';
    }
}

/* Appends the detail called by the len bytes at key; false where there is none. */
static bool append_detail(char *text, size_t size, const json_t *details, const char *key,
                          size_t len)
{
    char name[32] = "", number[32];
    append(name, sizeof name, key, len);
    const json_t *value = json_object_get(details, name);
    if (json_is_string(value)) {
        append(text, size, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        append(text, size, number, strlen(number));
    }
    return value != NULL;
}

static void render(char *text, size_t size, const char *sentence, const json_t *details)
{
    size_t bracket = 0; /* where the optional part began */
    bool missing = false;
    for (const char *at = sentence; *at != '\0'; at++) {
        if (*at == '[') {
            bracket = strlen(text);
            missing = false;
        } else if (*at == ']' && missing) {
            text[bracket] = '\0';
        } else if (*at == '{') {
            size_t len = strcspn(++at, "}");
            missing |= !append_detail(text, size, details, at, len);
            at += len;
        } else if (*at != ']') {
            append(text, size, at, 1);
        }
    }
}

static void print_line(const struct row *row, const char *device, const json_t *details)
{
    char text[1024] = "", hour[16];
    int64_t now = wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm local;
    localtime_r(&seconds, &local);
    strftime(hour, sizeof hour, "%H:%M:%S", &local);
    render(text, sizeof text, row->sentence, details);
    printf("%s.%03d %s%s%s\n", hour, (int)(now % 1000), device == NULL ? "" : device,
           device == NULL ? "" : ": ", text);
}

void ota_output_say(struct ota_output *output, enum ota_event event, const char *device,
                    json_t *details)
{
    output->counts[event]++;
    if (ota_output_wants(output, event)) {
        if (output->json) {
            print_json(rows[event].name, device, details);
        } else {
            print_line(&rows[event], device, details);
        }
    }
    json_decref(details);
}

void ota_output_flush(void *output)
{
    (void)output;
    fflush(stdout);
}
