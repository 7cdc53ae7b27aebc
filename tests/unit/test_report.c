/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/intake.h"
#include "../../plugin/report_parts.h"

/* In a block of its own size, so that the sanitizer sees every byte too far. */
static enum ota_refusal parse_bytes(const void *bytes, size_t len, struct ota_report *report)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum ota_refusal refusal = ota_report_parse(copy, len, report);
    free(copy);
    return refusal;
}

static enum ota_refusal parse(const char *text, struct ota_report *report)
{
    return parse_bytes(text, strlen(text), report);
}

static void assert_refused(const char *text, enum ota_refusal want)
{
    struct ota_report report;
    enum ota_refusal refusal = parse(text, &report);
    if (refusal != want) {
        fail_msg("%.200s: %s, not %s", text,
                 refusal == OTA_REFUSAL_COUNT ? "taken" : ota_refusal_name(refusal),
                 want == OTA_REFUSAL_COUNT ? "taken" : ota_refusal_name(want));
    }
}

#define VERSION(v) "{\"type\":\"report_version\",\"report\":{\"version\":" v "}}"
#define PROGRESS(p)                                                                                \
    "{\"type\":\"report_progress\",\"report\":{\"progress\":{" p "},\"version\":\"2.0\"}}"
#define STATE(s, rest) PROGRESS("\"state\":\"" s "\"" rest)

/* --- what is good ----------------------------------------------------------------------------- */

static void test_version(void **state)
{
    struct ota_report report;
    (void)state;
    assert_int_equal(parse(VERSION("\"0.0.1\""), &report), OTA_REFUSAL_COUNT);
    assert_int_equal(report.says, OTA_SAYS_VERSION);
    assert_string_equal(report.version, "0.0.1");
    assert_int_equal(parse(VERSION("\"aA9._-aA9._-aA9._-aA9._-aA9._-xy\""), &report),
                     OTA_REFUSAL_COUNT);
    assert_int_equal(strlen(report.version), 32);
}

/* The document's own examples, as a vendor device sends them. */
static void test_progress(void **state)
{
    static const struct {
        const char *text;
        enum ota_upgrade_event_kind kind;
        int percent;
        int code;
        const char *message;
    } rows[] = {
        {STATE("downloading", ",\"percent\":\"10\",\"result_code\":\"0\",\"result_msg\":\"\""),
         OTA_EV_DOWNLOADING, 10, 0, ""},
        {STATE("downloading", ",\"percent\":10,\"result_code\":0"), OTA_EV_DOWNLOADING, 10, 0, ""},
        {STATE("downloading", ""), OTA_EV_DOWNLOADING, 0, -5, ""},
        {STATE("downloading", ",\"percent\":99"), OTA_EV_DOWNLOADING, 99, -5, ""},
        {STATE("downloading", ",\"percent\":\"100\""), OTA_EV_DOWNLOADED, 100, -5, ""},
        {STATE("downloading", ",\"percent\":100"), OTA_EV_DOWNLOADED, 100, -5, ""},
        {STATE("downloaded", ""), OTA_EV_DOWNLOADED, 0, -5, ""},
        {STATE("burning", ",\"result_code\":\"0\",\"result_msg\":\"\""), OTA_EV_BURNING, 0, 0, ""},
        {STATE("done", ",\"result_code\":\"0\",\"result_msg\":\"\""), OTA_EV_DONE, 0, 0, ""},
        {STATE("fail", ",\"result_code\":\"-1\",\"result_msg\":\"time_out\""), OTA_EV_FAIL, 0, -1,
         "time_out"},
        {STATE("fail", ",\"result_code\":-4"), OTA_EV_FAIL, 0, -4, ""},
        {STATE("fail", ""), OTA_EV_FAIL, 0, -5, ""},
        {STATE("fail", ",\"result_code\":2147483647"), OTA_EV_FAIL, 0, 2147483647, ""},
        {STATE("fail", ",\"result_code\":-2147483648"), OTA_EV_FAIL, 0, INT32_MIN, ""},
        {STATE("fail", ",\"result_code\":\"2147483647\""), OTA_EV_FAIL, 0, 2147483647, ""},
        {STATE("fail", ",\"result_code\":\"-2147483648\""), OTA_EV_FAIL, 0, INT32_MIN, ""},
        {STATE("fail", ",\"result_msg\":\"\\u00e4\""), OTA_EV_FAIL, 0, -5, "\xc3\xa4"},
        {STATE("fail", ",\"result_msg\":7"), OTA_EV_FAIL, 0, -5, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ota_report report;
        assert_refused(rows[i].text, OTA_REFUSAL_COUNT);
        (void)parse(rows[i].text, &report);
        assert_int_equal(report.says, OTA_SAYS_PROGRESS);
        assert_string_equal(report.version, "2.0");
        assert_int_equal(report.kind, rows[i].kind);
        assert_int_equal(report.percent, rows[i].percent);
        assert_int_equal(report.code, rows[i].code);
        assert_string_equal(report.message, rows[i].message);
    }
}

/* Parse, never compare. */
static void test_shape_is_free(void **state)
{
    (void)state;
    assert_refused(" {\n \"report\" : { \"version\" : \"1\" , \"more\" : [1,{}] } ,\t\"x\":null, "
                   "\"type\" : \"report_version\" }\r\n ",
                   OTA_REFUSAL_COUNT);
    assert_refused("{\"type\":\"report_version\",\"report\":{\"version\":\"\\u0031\"}}",
                   OTA_REFUSAL_COUNT);
}

static void test_long_message_is_cut(void **state)
{
    char text[2200];
    char message[2001];
    struct ota_report report;
    (void)state;
    memset(message, 'm', 2000);
    message[2000] = '\0';
    (void)snprintf(text, sizeof text, STATE("fail", ",\"result_msg\":\"%s\""), message);
    assert_int_equal(parse(text, &report), OTA_REFUSAL_COUNT);
    assert_int_equal(strlen(report.message), sizeof report.message - 1);
}

/* --- what isn't ------------------------------------------------------------------------------- */

static void test_not_json(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "x",
        "{",
        "}",
        "{}}",
        "{} {}",
        "\"report_version\"",
        "1",
        "null",
        "{\"a\"}",
        "{'type':'report_version'}",
        "{\"type\":\"report_version\",}",
        "\xef\xbb\xbf{}",
        "{\"a\":1,\"a\":2}", /* a key twice */
        "{\"type\":\"report_version\",\"report\":{\"version\":\"1\",\"version\":\"2\"}}",
        "{\"a\":01}",
        "{\"a\":1e}",
        "{\"a\":.5}",
        "{\"a\":NaN}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\\u0000\":1}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc3\"}",
        "{\"a\":\"\xc3",
        "{\"a\":\"\xe2\x82",
        "{\"a\":\"\xc0\xaf\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xf5\x80\x80\x80\"}",
        "{\"a\":9223372036854775808}",
        "{\"a\":-9223372036854775809}",
        "{\"a\":1e999}",
        "{\"a\":99999999999999999999999999999999999999}",
        "{\"a\":\"",
        "{\"a\":\"\\",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_refused(texts[i], OTA_REFUSED_NOT_JSON);
    }
}

static void test_embedded_nul(void **state)
{
    static const char inside[] = "{\"type\":\"report_version\",\"report\":{\"version\":\"1\0\"}}";
    static const char between[] = "{\"type\":\0\"report_version\",\"report\":{\"version\":\"1\"}}";
    static const char behind[] = VERSION("\"1\"") "\0";
    struct ota_report report;
    (void)state;
    assert_int_equal(parse_bytes(inside, sizeof inside - 1, &report), OTA_REFUSED_NOT_JSON);
    assert_int_equal(parse_bytes(between, sizeof between - 1, &report), OTA_REFUSED_NOT_JSON);
    assert_int_equal(parse_bytes(behind, sizeof behind - 1, &report), OTA_REFUSED_NOT_JSON);
    assert_int_equal(ota_report_parse(NULL, 0, &report), OTA_REFUSED_NOT_JSON);
}

static void test_every_truncation(void **state)
{
    static const char whole[] =
        STATE("fail",
              ",\"percent\":\"10\",\"result_code\":\"-1\",\"result_msg\":\"\xc3\xa4\xe2\x82\xac\"");
    struct ota_report report;
    (void)state;
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        assert_int_equal(parse_bytes(whole, len, &report), OTA_REFUSED_NOT_JSON);
    }
    assert_int_equal(parse_bytes(whole, sizeof whole - 1, &report), OTA_REFUSAL_COUNT);
}

static void test_shape(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "[{}]",
        "{\"type\":1}",
        "{\"type\":null}",
        "{\"type\":[\"report_version\"]}",
        "{\"Type\":\"report_version\"}",
        "{\"type\":\"report_version\"}",
        "{\"type\":\"report_version\",\"report\":1}",
        "{\"type\":\"report_version\",\"report\":[]}",
        "{\"type\":\"report_version\",\"report\":{}}",
        "{\"type\":\"report_version\",\"version\":\"1\"}",
        VERSION("1"),
        VERSION("1.5"),
        VERSION("null"),
        VERSION("[\"1\"]"),
        VERSION("true"),
        PROGRESS(""),
        PROGRESS("\"state\":1"),
        PROGRESS("\"state\":null"),
        "{\"type\":\"report_progress\",\"report\":{\"version\":\"2.0\"}}",
        "{\"type\":\"report_progress\",\"report\":{\"version\":\"2.0\",\"progress\":\"done\"}}",
        "{\"type\":\"report_progress\",\"report\":{\"progress\":{\"state\":\"done\"}}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_refused(texts[i], OTA_REFUSED_SHAPE);
    }
}

static void test_types(void **state)
{
    (void)state;
    assert_refused("{\"type\":\"\"}", OTA_REFUSED_TYPE);
    assert_refused("{\"type\":\"report_versions\"}", OTA_REFUSED_TYPE);
    assert_refused("{\"type\":\"REPORT_VERSION\"}", OTA_REFUSED_TYPE);
    assert_refused("{\"type\":\"update_firmware\"}", OTA_REFUSED_TYPE);
}

static void test_versions(void **state)
{
    static const char *const texts[] = {
        VERSION("\"\""),
        VERSION("\" 1\""),
        VERSION("\"1 \""),
        VERSION("\"1/2\""),
        VERSION("\"1+2\""),
        VERSION("\"1\\n\""),
        VERSION("\"\\u00e4\""),
        VERSION("\"#\""),
        VERSION("\"123456789012345678901234567890123\""),
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_refused(texts[i], OTA_REFUSED_VERSION);
    }
}

static void test_states(void **state)
{
    (void)state;
    assert_refused(STATE("", ""), OTA_REFUSED_STATE);
    assert_refused(STATE("Done", ""), OTA_REFUSED_STATE);
    assert_refused(STATE("done ", ""), OTA_REFUSED_STATE);
    assert_refused(STATE("success", ""), OTA_REFUSED_STATE);
}

static void test_numbers(void **state)
{
    static const char *const values[] = {
        "-1",
        "101",
        "1.5",
        "10.5",
        "1e999",
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\" \"",
        "\"ten\"",
        "\"1.5\"",
        "\" 10\"",
        "\"10 \"",
        "\"+10\"",
        "\"-\"",
        "\"--1\"",
        "\"-1\"",
        "\"101\"",
        "\"0x10\"",
        "\"1e1\"",
        "\"99999999999999999999999999\"",
        "\"\\u0661\"",
        "9223372036854775807",
        "-9223372036854775808",
    };
    char text[300];
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        (void)snprintf(text, sizeof text, STATE("downloading", ",\"percent\":%s"), values[i]);
        assert_refused(text,
                       strcmp(values[i], "1e999") == 0 ? OTA_REFUSED_NOT_JSON : OTA_REFUSED_NUMBER);
    }
}

static void test_result_codes(void **state)
{
    static const char *const values[] = {
        "2147483648", "-2147483649", "\"2147483648\"", "\"-2147483649\"", "1.5",
        "\"\"",       "null",        "\"time_out\"",   "\"12345678901\""};
    char text[300];
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        (void)snprintf(text, sizeof text, STATE("fail", ",\"result_code\":%s"), values[i]);
        assert_refused(text, OTA_REFUSED_NUMBER);
    }
}

static void test_size(void **state)
{
    char text[OTA_REPORT_MAX + 2];
    struct ota_report report;
    (void)state;
    memset(text, ' ', sizeof text);
    memcpy(text, VERSION("\"1\""), strlen(VERSION("\"1\"")));
    assert_int_equal(parse_bytes(text, OTA_REPORT_MAX, &report), OTA_REFUSAL_COUNT);
    assert_int_equal(parse_bytes(text, OTA_REPORT_MAX + 1, &report), OTA_REFUSED_TOO_LARGE);
}

/* {"type":…,"x":[[[…]]],"report":…}, with `depth` levels in all. */
static void nest(char *text, size_t size, int depth)
{
    char open[64] = "";
    char close[64] = "";
    memset(open, '[', (size_t)depth - 1);
    memset(close, ']', (size_t)depth - 1);
    (void)snprintf(text, size,
                   "{\"type\":\"report_version\",\"x\":%s%s,\"report\":{\"version\":\"1\"}}", open,
                   close);
}

static void test_depth(void **state)
{
    char text[300];
    (void)state;
    nest(text, sizeof text, 16);
    assert_refused(text, OTA_REFUSAL_COUNT);
    nest(text, sizeof text, 17);
    assert_refused(text, OTA_REFUSED_NESTED);

    char brackets[OTA_REPORT_MAX + 1];
    memset(brackets, '[', OTA_REPORT_MAX);
    brackets[OTA_REPORT_MAX] = '\0';
    assert_refused(brackets, OTA_REFUSED_NESTED);
}

/* `keys` keys beside the three of a version report. */
static void add_keys(char *text, size_t size, int keys)
{
    size_t n = (size_t)snprintf(text, size,
                                "{\"type\":\"report_version\",\"report\":{"
                                "\"version\":\"1\"}");
    for (int i = 0; i < keys; i++) {
        n += (size_t)snprintf(text + n, size - n, ",\"k%d\":0", i);
    }
    (void)snprintf(text + n, size - n, "}");
}

static void test_keys(void **state)
{
    char text[2000];
    (void)state;
    add_keys(text, sizeof text, 61);
    assert_refused(text, OTA_REFUSAL_COUNT);
    add_keys(text, sizeof text, 62);
    assert_refused(text, OTA_REFUSED_NESTED);
}

/* Brackets, colons and quotes inside a text are text. */
static void test_text_is_not_counted(void **state)
{
    char text[1000];
    char message[300];
    struct ota_report report;
    (void)state;
    memset(message, '[', 99);
    memset(message + 99, ':', 100);
    memcpy(message + 199, "\\\"{{{{\\\\", 9);
    (void)snprintf(text, sizeof text, STATE("fail", ",\"result_msg\":\"%s\""), message);
    assert_int_equal(parse(text, &report), OTA_REFUSAL_COUNT);
    assert_string_equal(report.message + 199, "\"{{{{\\");
}

/* Whatever comes: no crash, and the report is only filled where it is good. */
static void test_random_bytes(void **state)
{
    static const char whole[] = STATE("fail", ",\"percent\":\"10\",\"result_msg\":\"x\"");
    uint32_t seed = 1;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char text[sizeof whole];
        struct ota_report report;
        memcpy(text, whole, sizeof whole);
        for (int j = 0; j < 3; j++) {
            seed = seed * 1664525u + 1013904223u;
            text[(seed >> 8) % (sizeof whole - 1)] = (char)(seed >> 24);
        }
        enum ota_refusal refusal = parse_bytes(text, sizeof whole - 1, &report);
        assert_in_range(refusal, 0, OTA_REFUSAL_COUNT);
        if (refusal == OTA_REFUSAL_COUNT) {
            assert_true(ota_name_is_version(report.version, strlen(report.version)));
            assert_in_range(report.percent, 0, 100);
        }
    }
}

/* --- the quick scan against jansson ------------------------------------------------------------
 */

static const char *const seeds[] = {
    VERSION("\"0.0.1\""),
    "{\"type\": \"report_version\", \"report\":{\"version\":\"1.0.0\"}}",
    "{\"type\": \"report_progress\", \"report\": {\"progress\": {\"state\":\"downloading\", "
    "\"percent\":\"27\", \"result_code\":\"0\", \"result_msg\":\"\"}, \"version\": \"0.0.2\"}}",
    PROGRESS("\"state\":\"fail\",\"result_code\":-4,\"result_msg\":\"time_out\""),
    PROGRESS("\"percent\":100,\"state\":\"downloading\""),
    "{\"type\":\"request_block\",\"task\":7,\"offset\":0,\"length\":4096,\"count\":8}",
    "{\"count\":\"1\",\"length\":\"65536\",\"offset\":999,\"task\":\"12\",\"type\":\"request_"
    "block\"}",
    "{\"type\":\"request_update\"}",
    " {\n\"report\" : {\"version\":\"2\"}\t, \"type\":\"report_version\" }\r\n",
};

#define SEEDS (sizeof seeds / sizeof seeds[0])

/* One to three small changes, mostly of characters that mean something to JSON. */
static size_t mutate(const char *seed, char *text, size_t size)
{
    static const char alphabet[] = "{}[]\",: \t\n\\-+.0123456789eEtrueflsn\x01\x7f\x80\xc3";
    size_t len = strlen(seed);
    memcpy(text, seed, len);
    for (int n = 1 + rand() % 3; n > 0; n--) {
        size_t at = (size_t)rand() % len;
        char c = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        if (rand() % 3 == 0 && len + 1 < size) {
            memmove(text + at + 1, text + at, len - at);
            text[at] = c;
            len++;
        } else if (rand() % 2 == 0 && len > 1) {
            memmove(text + at, text + at + 1, len - at - 1);
            len--;
        } else {
            text[at] = c;
        }
    }
    return len;
}

static void assert_same_reading(const char *text, size_t len)
{
    struct ota_report quick;
    struct ota_report slow;
    enum ota_refusal refusal = ota_report_parse(text, len, &quick);
    if (refusal != ota_report_parse_any(text, len, &slow) ||
        (refusal == OTA_REFUSAL_COUNT && memcmp(&quick, &slow, sizeof quick) != 0)) {
        fail_msg("scan and jansson read it differently: %.*s", (int)len, text);
    }
}

static void test_scan_agrees_with_jansson(void **state)
{
    int scanned = 0;
    (void)state;
    srand(7);
    for (size_t i = 0; i < SEEDS; i++) {
        struct ota_report_parts parts;
        assert_true(ota_report_scan(seeds[i], strlen(seeds[i]), &parts));
        assert_same_reading(seeds[i], strlen(seeds[i]));
    }
    for (int i = 0; i < 200000; i++) {
        char text[400];
        struct ota_report_parts parts;
        size_t len = mutate(seeds[(size_t)i % SEEDS], text, sizeof text);
        scanned += ota_report_scan(text, len, &parts);
        assert_same_reading(text, len);
    }
    assert_in_range(scanned, 20000, 180000); /* both ways were really gone */
}

/* --- what a device asks for ---------------------------------------------------------------------
 */

#define BLOCK(rest) "{\"type\":\"request_block\"," rest "}"

static void test_asks_for_blocks(void **state)
{
    static const struct {
        const char *text;
        struct ota_block_ask block;
    } cases[] = {
        {BLOCK("\"task\":7,\"offset\":0,\"length\":4096,\"count\":8"), {7, 0, 4096, 8}},
        {BLOCK("\"task\":1,\"offset\":1073741823,\"length\":65536"), {1, 1073741823, 65536, 1}},
        {BLOCK("\"task\":\"7\",\"offset\":\"9\",\"length\":\"1\",\"count\":\"32\""), {7, 9, 1, 32}},
        {BLOCK("\"x\":{},\"task\":7,\"offset\":0,\"length\":1"), {7, 0, 1, 1}},
        {BLOCK("\"task\":1099511627775,\"offset\":0,\"length\":1"), {1099511627775, 0, 1, 1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ota_report report;
        assert_int_equal(parse(cases[i].text, &report), OTA_REFUSAL_COUNT);
        assert_int_equal(report.says, OTA_ASKS_BLOCK);
        assert_memory_equal(&report.block, &cases[i].block, sizeof report.block);
    }
}

/* It is known to be a request, so that it can be answered. */
static void test_bad_requests_for_blocks(void **state)
{
    static const struct {
        const char *text;
        enum ota_refusal refusal;
    } cases[] = {
        {BLOCK("\"task\":7,\"offset\":0"), OTA_REFUSED_SHAPE},
        {BLOCK("\"task\":7,\"length\":1"), OTA_REFUSED_SHAPE},
        {BLOCK("\"offset\":0,\"length\":1"), OTA_REFUSED_SHAPE},
        {BLOCK("\"report\":{\"task\":7,\"offset\":0,\"length\":1}"), OTA_REFUSED_SHAPE},
        {BLOCK("\"task\":0,\"offset\":0,\"length\":1"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":-1,\"length\":1"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":0,\"length\":0"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":0,\"length\":65537"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":0,\"length\":1,\"count\":0"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":0,\"length\":1,\"count\":33"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":0,\"length\":1,\"count\":null"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":1.5,\"length\":1"), OTA_REFUSED_NUMBER},
        {BLOCK("\"task\":7,\"offset\":\"x\",\"length\":1"), OTA_REFUSED_NUMBER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ota_report report;
        assert_int_equal(parse(cases[i].text, &report), cases[i].refusal);
        assert_int_equal(report.says, OTA_ASKS_BLOCK);
    }
    struct ota_report report;
    assert_int_equal(parse("{\"type\":\"request_block\"", &report), OTA_REFUSED_NOT_JSON);
    assert_int_equal(report.says, OTA_SAYS_NOTHING);
}

static void test_asks_for_the_notice(void **state)
{
    struct ota_report report;
    (void)state;
    assert_int_equal(parse("{\"type\":\"request_update\"}", &report), OTA_REFUSAL_COUNT);
    assert_int_equal(report.says, OTA_ASKS_UPDATE);
    assert_int_equal(parse("{\"x\":1,\"type\":\"request_update\",\"report\":{}}", &report),
                     OTA_REFUSAL_COUNT);
}

static void test_refusal_names(void **state)
{
    (void)state;
    for (int i = 0; i < OTA_REFUSAL_COUNT; i++) {
        const char *name = ota_refusal_name((enum ota_refusal)i);
        assert_non_null(name);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_shape_is_free),
        cmocka_unit_test(test_long_message_is_cut),
        cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_embedded_nul),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_result_codes),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_text_is_not_counted),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_scan_agrees_with_jansson),
        cmocka_unit_test(test_asks_for_blocks),
        cmocka_unit_test(test_bad_requests_for_blocks),
        cmocka_unit_test(test_asks_for_the_notice),
        cmocka_unit_test(test_refusal_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
