/* SPDX-License-Identifier: BSD-3-Clause */
/* A password_file: it is read and its users are known, or an error names it and nobody is. */
#include "fuzz_file.h"

#include "../../plugin/people.h"

static void check_users(struct ota_people *people, char *text)
{
    struct ota_person person;
    for (char *line = text; *line != '\0';) {
        char *next = fuzz_cut(line, '\n');
        char *hash = fuzz_cut(line, ':');
        struct ota_password password;
        if (line[0] != '#' && ota_password_parse(hash, &password, NULL) == OTA_OK) {
            FUZZ_CHECK(password.rounds >= 0 && password.rounds <= OTA_PASSWORD_ROUNDS_MAX);
            FUZZ_CHECK(password.salt_len <= OTA_PASSWORD_SALT_MAX);
            if (ota_people_find(people, line, &person)) {
                FUZZ_CHECK(strcmp(person.user, line) == 0);
                FUZZ_CHECK(ota_people_role(people, line, person.mark) == person.role);
            }
        }
        line = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_file file;
    struct ota_roles roles = {0};
    struct ota_error error = {0};
    struct ota_person person;
    struct ota_people *people = ota_people_new();
    FUZZ_CHECK(people != NULL);
    fuzz_file_open(&file, data, size);
    char *text = fuzz_text(data, size);
    if (ota_people_read(people, file.path, &roles, &error) != OTA_OK) {
        FUZZ_CHECK(strstr(error.text, file.path) != NULL && ota_people_count(people) == 0);
    }
    check_users(people, text);
    FUZZ_CHECK(!ota_people_find(people, "", &person));
    free(text);
    ota_people_free(people);
    fuzz_file_close(&file);
    return 0;
}
