/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../plugin/util/words.h"

/* control-api.md "Words", in its order: on the wire, and to people. */
static const char *const shown[OTA_SHOWN_COUNT][2] = {
    {"device_offline", "device offline"},
    {"task_waiting", "task waiting"},
    {"message_sent", "message successfully sent"},
    {"downloading", "downloading"},
    {"downloaded", "downloaded"},
    {"upgrading", "upgrading"},
    {"failed", "upgrade failed"},
    {"succeeded", "upgraded successfully"},
    {"cancelled", "cancelled"},
};

static void test_shown(void **state)
{
    (void)state;
    for (int i = 0; i < OTA_SHOWN_COUNT; i++) {
        assert_string_equal(ota_shown_name((enum ota_shown)i), shown[i][0]);
        assert_string_equal(ota_shown_words((enum ota_shown)i), shown[i][1]);
        assert_int_equal(ota_shown_parse(shown[i][0]), i);
    }
    assert_int_equal(ota_shown_parse(""), OTA_SHOWN_COUNT);
    assert_int_equal(ota_shown_parse("device offline"), OTA_SHOWN_COUNT);
    assert_int_equal(ota_shown_parse("Failed"), OTA_SHOWN_COUNT);
}

static void test_shown_of_status(void **state)
{
    (void)state;
    assert_int_equal(ota_shown_of(OTA_WAITING, false), OTA_SHOWN_DEVICE_OFFLINE);
    assert_int_equal(ota_shown_of(OTA_WAITING, true), OTA_SHOWN_TASK_WAITING);
    for (int status = OTA_MESSAGE_SENT; status < OTA_STATUS_COUNT; status++) {
        enum ota_shown want = (enum ota_shown)(status + 1);
        assert_int_equal(ota_shown_of((enum ota_status)status, true), want);
        assert_int_equal(ota_shown_of((enum ota_status)status, false), want);
    }
}

/* Databases hold these numbers. */
static void test_stored_numbers(void **state)
{
    (void)state;
    assert_int_equal(OTA_WAITING, 0);
    assert_int_equal(OTA_MESSAGE_SENT, 1);
    assert_int_equal(OTA_UPGRADING, 4);
    assert_int_equal(OTA_FAILED, 5);
    assert_int_equal(OTA_SUCCEEDED, 6);
    assert_int_equal(OTA_CANCELLED, 7);
    assert_int_equal(OTA_PENDING, 1);
    assert_int_equal(OTA_CONFIRMED, 2);
    assert_int_equal(OTA_CONTRADICTED, 3);
    assert_int_equal(OTA_ENDING_DEVICE, 1);
    assert_int_equal(OTA_ENDING_TIMEOUT, 2);
    assert_int_equal(OTA_ENDING_EXPIRED, 3);
    assert_int_equal(OTA_ENDING_ADMIN, 4);
}

static void test_confirmations_and_waits(void **state)
{
    static const char *const waits[OTA_WAIT_COUNT] = {
        NULL, "paced", "in_flight", "scheduled", "paused", "stage", "retry", "held", "gateway"};
    (void)state;
    assert_null(ota_confirmation_name(OTA_UNCONFIRMED));
    assert_string_equal(ota_confirmation_name(OTA_PENDING), "pending");
    assert_string_equal(ota_confirmation_name(OTA_CONFIRMED), "confirmed");
    assert_string_equal(ota_confirmation_name(OTA_CONTRADICTED), "contradicted");
    assert_null(ota_wait_name(OTA_WAIT_NONE));
    for (int i = 1; i < OTA_WAIT_COUNT; i++) {
        assert_string_equal(ota_wait_name((enum ota_wait)i), waits[i]);
    }
}

static void test_roles(void **state)
{
    (void)state;
    for (int i = OTA_ROLE_VIEWER; i <= OTA_ROLE_ADMIN; i++) {
        assert_int_equal(ota_role_parse(ota_role_name((enum ota_role)i)), i);
    }
    assert_true(OTA_ROLE_NONE < OTA_ROLE_VIEWER && OTA_ROLE_OPERATOR < OTA_ROLE_ADMIN);
    assert_int_equal(ota_role_parse("none"), OTA_ROLE_NONE);
    assert_int_equal(ota_role_parse("Admin"), OTA_ROLE_NONE);
    assert_int_equal(ota_role_parse(""), OTA_ROLE_NONE);
}

static void test_results(void **state)
{
    (void)state;
    assert_string_equal(ota_result_text(-1), "download timed out");
    assert_string_equal(ota_result_text(-2), "file missing");
    assert_string_equal(ota_result_text(-3), "not authorised");
    assert_string_equal(ota_result_text(-4), "checksum mismatch");
    assert_string_equal(ota_result_text(-5), "upgrade failed");
    assert_non_null(ota_result_text(0));
    assert_non_null(ota_result_text(-2147483647));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown),          cmocka_unit_test(test_shown_of_status),
        cmocka_unit_test(test_stored_numbers), cmocka_unit_test(test_confirmations_and_waits),
        cmocka_unit_test(test_roles),          cmocka_unit_test(test_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
