/* SPDX-License-Identifier: BSD-3-Clause */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4096

static enum ota_exit fail_openssl(const char *what, struct ota_failure *failure)
{
    ERR_clear_error();
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "OpenSSL can't %s", what);
}

/* --- making --------------------------------------------------------------------------------- */

static bool ends_in(const char *text, const char *suffix)
{
    size_t len = strlen(text);
    size_t n = strlen(suffix);
    return len >= n && strcmp(text + len - n, suffix) == 0;
}

static enum ota_exit name_files(const char *name, char private_path[PATH_ROOM],
                                char public_path[PATH_ROOM], struct ota_failure *failure)
{
    if (ends_in(name, ".key") || ends_in(name, ".pub")) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "name",
                        "%s: give the name without .key and .pub, there will be a file of each",
                        name);
    }
    if (name[0] == '\0' || ends_in(name, "/") || strlen(name) + 5 > PATH_ROOM) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "name", "\"%s\" can't be a file's name",
                        name);
    }
    (void)snprintf(private_path, PATH_ROOM, "%s.key", name);
    (void)snprintf(public_path, PATH_ROOM, "%s.pub", name);
    return OTA_EXIT_OK;
}

static bool write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0;
}

/* A file that was there is somebody's key: it is never written to. */
static enum ota_exit write_new(const char *path, mode_t mode, BIO *pem, struct ota_failure *failure)
{
    char *text;
    long len = BIO_get_mem_data(pem, &text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "name", "%s: %s%s", path, strerror(errno),
                        errno == EEXIST ? "; keys are never overwritten, choose another name" : "");
    }
    bool good = write_all(fd, text, (size_t)len);
    int why = errno;
    good = close(fd) == 0 && good;
    if (!good) {
        (void)unlink(path);
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "name", "%s: %s", path, strerror(why));
    }
    return OTA_EXIT_OK;
}

static enum ota_exit write_pair(EVP_PKEY *key, const char *private_path, const char *public_path,
                                struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    BIO *secret = BIO_new(BIO_s_secmem()); /* wiped when it is freed */
    BIO *open = BIO_new(BIO_s_mem());
    if (secret == NULL || open == NULL ||
        PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_PUBKEY(open, key) != 1) {
        rc = fail_openssl("write the keys", failure);
        goto out;
    }
    rc = write_new(private_path, 0600, secret, failure);
    if (rc != OTA_EXIT_OK) {
        goto out;
    }
    rc = write_new(public_path, 0644, open, failure);
    if (rc != OTA_EXIT_OK) {
        (void)unlink(private_path); /* ours, made just now, and of no use alone */
    }
out:
    BIO_free(open);
    BIO_free(secret);
    return rc;
}

enum ota_exit ota_secret_create(const char *name, EVP_PKEY **key, struct ota_failure *failure)
{
    char private_path[PATH_ROOM];
    char public_path[PATH_ROOM];
    enum ota_exit rc = name_files(name, private_path, public_path, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    EVP_PKEY *made = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (made == NULL) {
        return fail_openssl("make an Ed25519 key", failure);
    }
    rc = write_pair(made, private_path, public_path, failure);
    if (rc != OTA_EXIT_OK) {
        EVP_PKEY_free(made);
        return rc;
    }
    *key = made;
    return OTA_EXIT_OK;
}

/* --- reading -------------------------------------------------------------------------------- */

/* Without a terminal OpenSSL would read the passphrase from standard input. */
static int no_passphrase(char *buffer, int size, int writing, void *data)
{
    (void)buffer, (void)size, (void)writing, (void)data;
    return -1;
}

static void warn_of_readers(int fd, const char *path)
{
    struct stat stat;
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && (stat.st_mode & 077) != 0) {
        (void)fprintf(stderr, "otactl: others than you may read %s: chmod 600 it\n", path);
    }
}

static enum ota_exit check_key(const char *path, const EVP_PKEY *key, struct ota_failure *failure)
{
    if (key == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "signKey",
                        "%s holds no private key in PEM form, or its passphrase is missing or "
                        "wrong; otactl key create makes one",
                        path);
    }
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "signKey",
                        "%s holds a key that isn't Ed25519; otactl key create makes one", path);
    }
    return OTA_EXIT_OK;
}

enum ota_exit ota_secret_read(const char *path, EVP_PKEY **key, struct ota_failure *failure)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "signKey", "%s: %s", path, strerror(errno));
    }
    warn_of_readers(fileno(file), path);
    EVP_PKEY *read =
        PEM_read_PrivateKey(file, NULL, isatty(STDIN_FILENO) != 0 ? NULL : no_passphrase, NULL);
    (void)fclose(file);
    ERR_clear_error();
    enum ota_exit rc = check_key(path, read, failure);
    if (rc != OTA_EXIT_OK) {
        EVP_PKEY_free(read);
        return rc;
    }
    *key = read;
    return OTA_EXIT_OK;
}

bool ota_secret_is(const char *path)
{
    char line[128];
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, "-----BEGIN ", 11) == 0 && strstr(line, "PRIVATE KEY") != NULL;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

/* --- using ---------------------------------------------------------------------------------- */

enum ota_exit ota_secret_sign(EVP_PKEY *key, const struct ota_manifest *manifest,
                              char text[OTA_SIGNATURE_TEXT + 1], struct ota_failure *failure)
{
    char signed_text[OTA_MANIFEST_MAX];
    unsigned char signature[OTA_SIGNATURE_BYTES];
    size_t size = sizeof signature;
    size_t len = ota_signature_manifest(manifest, signed_text);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        len > 0 && context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
        EVP_DigestSign(context, signature, &size, (const unsigned char *)signed_text, len) == 1 &&
        size == sizeof signature;
    EVP_MD_CTX_free(context);
    if (!good) {
        return fail_openssl("sign with this key", failure);
    }
    (void)EVP_EncodeBlock((unsigned char *)text, signature, (int)size);
    return OTA_EXIT_OK;
}
