/* SPDX-License-Identifier: BSD-3-Clause */
/* User name, a line feed, password, as a client sends them: what is read is what stands there. */
#include "fuzz.h"

#include "../../plugin/vendor_login.h"

static const unsigned char secret[16] = {1, 2, 3};

static void check_name(const char *username)
{
    struct ota_vendor_name name = {.names_len = SIZE_MAX};
    if (!ota_vendor_parse_name(username, &name)) {
        FUZZ_CHECK(name.names_len == SIZE_MAX);
        return;
    }
    size_t marks = 0;
    for (const char *c = username; *c != '\0'; c++) {
        marks += *c == ';';
    }
    FUZZ_CHECK(marks == 3 && strlen(username) <= 80 + 33 + 33 + 19);
    FUZZ_CHECK(name.names == username && name.names[name.names_len] == ';');
    FUZZ_CHECK(name.expiry >= 0);
    FUZZ_CHECK(memchr(name.names, '/', name.names_len) == NULL);
}

static void check_mac(const char *password, const char *username)
{
    static const char digits[] = "0123456789abcdef";
    struct ota_vendor_mac mac = {.len = SIZE_MAX};
    if (!ota_vendor_parse_mac(password, &mac)) {
        FUZZ_CHECK(mac.len == SIZE_MAX);
        return;
    }
    FUZZ_CHECK(mac.len == 20 || mac.len == 32);
    for (size_t i = 0; i < mac.len; i++) { /* there is one way to write it */
        FUZZ_CHECK(password[2 * i] == digits[mac.bytes[i] >> 4]);
        FUZZ_CHECK(password[2 * i + 1] == digits[mac.bytes[i] & 15]);
    }
    FUZZ_CHECK(strcmp(password + 2 * mac.len, mac.len == 20 ? ";hmacsha1" : ";hmacsha256") == 0);
    bool right;
    (void)ota_vendor_check_mac(&mac, secret, sizeof secret, username, &right);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *username = fuzz_text(data, size);
    char *password = strdup(fuzz_cut(username, '\n'));
    FUZZ_CHECK(password != NULL);
    check_name(username);
    check_mac(password, username);
    free(password);
    free(username);
    return 0;
}
