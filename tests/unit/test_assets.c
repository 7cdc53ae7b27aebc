/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../plugin/assets.h"

static void the_page_is_compiled_in(void **state)
{
    (void)state;
    const struct ota_asset *page = ota_asset_find("/");
    assert_non_null(page);
    assert_ptr_equal(page, ota_asset_find("/index.html"));
    assert_non_null(memmem(page->plain, page->plain_len, "<html", 5));
    assert_memory_equal(page->gzip, "\x1f\x8b", 2);
    assert_null(ota_asset_find("/index.htm"));
    assert_null(ota_asset_find("//index.html"));
    assert_null(ota_asset_find("/../index.html"));
    for (size_t i = 0; i < ota_asset_count; i++) {
        assert_non_null(ota_asset_type(ota_assets[i].path));
        assert_true(strlen(ota_assets[i].digest) >= 24);
    }
}

static void types_follow_the_ending(void **state)
{
    (void)state;
    assert_string_equal(ota_asset_type("/"), "text/html; charset=utf-8");
    assert_string_equal(ota_asset_type("/js/a.js"), "text/javascript; charset=utf-8");
    assert_string_equal(ota_asset_type("/a.css"), "text/css; charset=utf-8");
    assert_string_equal(ota_asset_type("/a.svg"), "image/svg+xml");
    assert_string_equal(ota_asset_type("/a.png"), "image/png");
    assert_string_equal(ota_asset_type("/a.webmanifest"), "application/manifest+json");
    assert_null(ota_asset_type("/a.jsx"));
    assert_null(ota_asset_type("/.js"));
    assert_null(ota_asset_type("/js"));
}

static void who_takes_gzip(void **state)
{
    static const char *const yes[] = {
        "gzip", "GZIP",       "br, gzip",      "deflate;q=0.5,gzip;q=0.001",
        "*",    "gzip ; q=1", "gzip;q=0.5, br"};
    static const char *const no[] = {"",      "br",    "gzip;q=0", "gzip; q=0.000",
                                     "xgzip", "gzipx", "identity", "*;q=0"};
    (void)state;
    assert_false(ota_asset_takes_gzip(NULL));
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (!ota_asset_takes_gzip(yes[i])) {
            fail_msg("%s", yes[i]);
        }
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        if (ota_asset_takes_gzip(no[i])) {
            fail_msg("%s", no[i]);
        }
    }
}

static void write_file(const char *folder, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(name, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_folder_isnt_left(void **state)
{
    static const char *const no[] = {
        "/../out.js", "/js/../a.js", "/./a.js", "/.hidden.js", "/js",
        "/js/",       "//a.js",      "/a.txt",  "/missing.js", "/a.js/",
        "/a b.js",    "/a%2ejs",     "",        "/js//b.js",   "/a\\.js"};
    char folder[] = "/tmp/ota-assets.XXXXXX";
    char command[64];
    char *bytes = NULL;
    size_t len = 0;
    (void)state;
    assert_non_null(mkdtemp(folder));
    char js[64];
    (void)snprintf(js, sizeof js, "%s/js", folder);
    assert_int_equal(mkdir(js, 0700), 0);
    write_file(folder, "index.html");
    write_file(folder, "a.js");
    write_file(folder, "a.txt");
    write_file(folder, ".hidden.js");
    write_file(folder, "js/b.js");
    assert_true(ota_asset_read(folder, "/js/b.js", &bytes, &len));
    assert_int_equal(len, 7);
    assert_memory_equal(bytes, "js/b.js", 7);
    free(bytes);
    assert_true(ota_asset_read(folder, "/", &bytes, &len));
    free(bytes);
    bytes = NULL;
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        if (ota_asset_read(folder, no[i], &bytes, &len)) {
            fail_msg("%s", no[i]);
        }
    }
    assert_null(bytes);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_compiled_in),
        cmocka_unit_test(types_follow_the_ending),
        cmocka_unit_test(who_takes_gzip),
        cmocka_unit_test(a_folder_isnt_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
