/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "../../plugin/image_cache.h"

#define MIB (1024ll * 1024)

/* The reader: image N is a sparse file that starts with N; image 99 can't be read. */
enum ota_err __wrap_ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size,
                                          int fd, struct ota_error *error);

static int loads;

enum ota_err __wrap_ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size,
                                          int fd, struct ota_error *error)
{
    const unsigned char first = (unsigned char)image;
    (void)reader;
    loads++;
    if (image == 99) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "a test's fault");
    }
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(pwrite(fd, &first, 1, 0), 1);
    return OTA_OK;
}

static int woken;

static void on_wake(struct ota_image_wait *wait)
{
    (void)wait;
    woken++;
}

static struct ota_images *images;

static int set_up(void **state)
{
    struct ota_error error = {0};
    (void)state;
    loads = 0;
    woken = 0;
    return ota_images_open(NULL, &images, &error) == OTA_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ota_images_close(images);
    return 0;
}

static void load(int64_t id, int64_t size, int64_t now)
{
    struct ota_image_wait wait;
    ota_images_await(images, id, size, on_wake, &wait);
    assert_true(ota_images_load(images, now, NULL));
    assert_int_equal(wait.err, OTA_OK);
}

static bool has(int64_t id)
{
    struct ota_image *image = ota_images_take(images, id, 0);
    if (image != NULL) {
        ota_images_drop(images, image, 0);
    }
    return image != NULL;
}

static void test_load_once_for_all(void **state)
{
    (void)state;
    struct ota_image_wait waits[5];
    struct ota_error error = {0};

    assert_null(ota_images_take(images, 1, 0));
    assert_false(ota_images_load(images, 0, &error));
    for (int i = 0; i < 5; i++) {
        ota_images_await(images, i == 2 ? 2 : 1, 100, on_wake, &waits[i]);
    }
    assert_int_equal(woken, 0);
    assert_true(ota_images_load(images, 0, &error));
    assert_int_equal(woken, 4);
    assert_null(ota_images_take(images, 2, 0));
    assert_true(ota_images_load(images, 0, &error));
    assert_int_equal(woken, 5);
    assert_int_equal(loads, 2);
    assert_false(ota_images_load(images, 0, &error));

    struct ota_image *image = ota_images_take(images, 1, 0);
    assert_non_null(image);
    assert_int_equal(image->size, 100);
    assert_int_equal(image->bytes[0], 1);
    assert_int_equal(image->bytes[99], 0);
    ota_images_drop(images, image, 0);
    /* One that came for it a moment too late is woken without a load. */
    load(1, 100, 0);
    assert_int_equal(loads, 2);
    assert_int_equal(error.code, OTA_OK);
}

static void test_failure_wakes_all(void **state)
{
    (void)state;
    struct ota_image_wait waits[3];
    struct ota_error error = {0};

    for (int i = 0; i < 3; i++) {
        ota_images_await(images, 99, 100, on_wake, &waits[i]);
    }
    assert_true(ota_images_load(images, 0, &error));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waits[i].err, OTA_UNAVAILABLE);
    }
    assert_int_equal(woken, 3);
    assert_int_equal(loads, 1);
    assert_string_equal(error.text, "a test's fault");
    assert_null(ota_images_take(images, 99, 0));
}

static void test_stop_wakes_all(void **state)
{
    (void)state;
    struct ota_image_wait waits[2];

    ota_images_await(images, 1, 100, on_wake, &waits[0]);
    ota_images_stop(images);
    ota_images_await(images, 1, 100, on_wake, &waits[1]);
    assert_int_equal(woken, 2);
    assert_int_equal(waits[0].err, OTA_UNAVAILABLE);
    assert_int_equal(waits[1].err, OTA_UNAVAILABLE);
    assert_int_equal(loads, 0);
    ota_images_close(NULL);
}

static void test_trim(void **state)
{
    (void)state;
    const int64_t later = OTA_IMAGES_FRESH_MS;

    for (int64_t id = 1; id <= 4; id++) {
        load(id, 24 * MIB, 0); /* 96 MiB: one and a third too many */
    }
    ota_images_trim(images, later - 1); /* all are fresh */
    assert_true(has(1) && has(2) && has(3) && has(4));
    ota_images_trim(images, later);
    assert_false(has(1)); /* the longest unused go */
    assert_false(has(2));
    assert_true(has(3) && has(4)); /* 48 MiB may stay */
    ota_images_trim(images, 100 * later);
    assert_true(has(3) && has(4));
}

/* What is in use neither counts nor goes. */
static void test_trim_spares_what_is_used(void **state)
{
    (void)state;
    const int64_t later = OTA_IMAGES_FRESH_MS;

    load(1, 100 * MIB, 0);
    load(2, 60 * MIB, 0);
    struct ota_image *used = ota_images_take(images, 1, 0);
    struct ota_image *twice = ota_images_take(images, 1, 0);
    assert_ptr_equal(used, twice);
    ota_images_trim(images, later);
    assert_true(has(2));
    ota_images_drop(images, used, later);
    ota_images_trim(images, 3 * later);
    assert_true(has(2));
    assert_int_equal(twice->bytes[0], 1);
    ota_images_drop(images, twice, 3 * later);
    ota_images_trim(images, 3 * later); /* 1 is fresh now: 2 goes, and the sum is still too large */
    assert_false(has(2));
    ota_images_trim(images, 4 * later);
    assert_false(has(1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_load_once_for_all),        TEST(test_failure_wakes_all),
        TEST(test_stop_wakes_all),           TEST(test_trim),
        TEST(test_trim_spares_what_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
