/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines `KEY VALUE`, as behind plugin_opt_; each value is read as roles and as an identity, too. */
#include "fuzz.h"

#include "../../plugin/access.h"
#include "../../plugin/options.h"

#define LINES 24

static void check_options(const char *const *keys, const char *const *values, int count)
{
    struct ota_options options;
    struct ota_error error = {0};
    if (ota_options_read(keys, values, count, &options, &error) != OTA_OK) {
        FUZZ_CHECK(error.code != OTA_OK && strstr(error.text, "plugin_opt_") != NULL);
        return;
    }
    FUZZ_CHECK(error.code == OTA_OK && options.topic_prefix[0] == '$');
    FUZZ_CHECK(strpbrk(options.topic_prefix, "/+#") == NULL);
    FUZZ_CHECK(options.upgrade_timeout >= 1 && options.upgrade_timeout <= 604800);
    FUZZ_CHECK(options.max_firmware_size >= 1 && options.max_firmware_size <= 1073741824);
    FUZZ_CHECK(strlen(options.download_url) <= 255);
    ota_options_free(&options);
}

static void check_roles(const char *list)
{
    struct ota_roles roles = {0};
    if (ota_roles_add_list(&roles, list, OTA_ROLE_VIEWER, NULL) == OTA_OK) {
        size_t count = roles.count;
        FUZZ_CHECK(ota_roles_add_list(&roles, list, OTA_ROLE_ADMIN, NULL) == OTA_OK);
        FUZZ_CHECK(roles.count == count);
        FUZZ_CHECK(strpbrk(list, ", \t") != NULL || list[0] == '\0' ||
                   ota_roles_of(&roles, list) == OTA_ROLE_ADMIN);
    }
    FUZZ_CHECK(ota_roles_of(&roles, "") == OTA_ROLE_NONE);
    ota_roles_free(&roles);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *keys[LINES];
    const char *values[LINES];
    struct ota_access access = {0};
    int count = 0;
    char *text = fuzz_text(data, size);
    for (char *line = text; *line != '\0' && count < LINES; count++) {
        char *next = fuzz_cut(line, '\n');
        keys[count] = line;
        values[count] = fuzz_cut(line, ' ');
        check_roles(values[count]);
        bool good = ota_access_parse_identity(values[count], &access, NULL) == OTA_OK;
        FUZZ_CHECK(!good || (access.form_count >= 1 && access.form_count <= 4));
        line = next;
    }
    check_options(keys, values, count);
    free(text);
    return 0;
}
