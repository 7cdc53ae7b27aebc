/* SPDX-License-Identifier: BSD-3-Clause */
/* A roles_file: it is read, and again without another outcome; or an error names it. */
#include "fuzz_file.h"

#include "../../plugin/roles.h"

/* The user of the line, in front of its last word, has at least that role. */
static void check_line(const struct ota_roles *roles, char *line)
{
    line += strspn(line, " \t");
    line[strcspn(line, "\r")] = '\0';
    if (line[0] == '\0' || line[0] == '#') {
        return;
    }
    char *role = line + strcspn(line, " \t");
    FUZZ_CHECK(*role != '\0');
    *role++ = '\0';
    role += strspn(role, " \t");
    role[strcspn(role, " \t")] = '\0';
    FUZZ_CHECK(ota_role_parse(role) != OTA_ROLE_NONE);
    FUZZ_CHECK(ota_roles_of(roles, line) >= ota_role_parse(role));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_file file;
    struct ota_roles roles = {0};
    struct ota_error error = {0};
    fuzz_file_open(&file, data, size);
    if (ota_roles_add_file(&roles, file.path, &error) == OTA_OK) {
        size_t count = roles.count;
        FUZZ_CHECK(ota_roles_add_file(&roles, file.path, &error) == OTA_OK);
        FUZZ_CHECK(roles.count == count);
        if (memchr(data, '\0', size) == NULL) { /* else the reader's lines aren't ours */
            char *text = fuzz_text(data, size);
            for (char *line = text; *line != '\0';) {
                char *next = fuzz_cut(line, '\n');
                check_line(&roles, line);
                line = next;
            }
            free(text);
        }
    } else {
        FUZZ_CHECK(error.code != OTA_OK && strstr(error.text, file.path) != NULL);
    }
    FUZZ_CHECK(ota_roles_of(&roles, "") == OTA_ROLE_NONE);
    FUZZ_CHECK(ota_roles_of(&roles, NULL) == OTA_ROLE_NONE);
    ota_roles_free(&roles);
    fuzz_file_close(&file);
    return 0;
}
