/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: known answers, made with the openssl command line alone; the private keys are gone:
 *
 *       openssl genpkey -algorithm ed25519 -out k.key; openssl pkey -in k.key -pubout
 *       printf 'mosquitto-ota/1\ndoor\n3.0\n7\n11\nb94d…\n' > m; openssl pkeyutl -sign -rawin
 *           -inkey k.key -in m | base64 -w0; openssl pkey -pubin -in k.pub -outform DER | sha256sum
 * Thread: any; constants.
 * Frees: nothing.
 */
#ifndef OTA_TEST_SIGNATURE_ANSWERS_H
#define OTA_TEST_SIGNATURE_ANSWERS_H

#define PEM(body) "-----BEGIN PUBLIC KEY-----\n" body "\n-----END PUBLIC KEY-----\n"

#define KEY_1 PEM("MCowBQYDK2VwAyEAdnYH7hmUXHro1kzP4YNt3JSe9r86LJmihbV5VYnpcBs=")
#define KEY_2 PEM("MCowBQYDK2VwAyEAr0qQxrRMvkkRF5zeMykkTG/9CMRkO2QUekssvug0tEI=")

#define KEY_1_FINGERPRINT "96be26b869420f224d3dc9346a22654d4275b88328ddeb6cd09dfed5ab74388c"
#define KEY_2_FINGERPRINT "69ec16b27397a1240c45e9fadff25aca6d70d578a0e3eb0a59bb32064b2d542b"

/* What was signed: "hello world" as product door, version 3.0, order 7. */
#define SIGNED_BYTES   "hello world"
#define SIGNED_PRODUCT "door"
#define SIGNED_VERSION "3.0"
#define SIGNED_ORDER   7
#define SIGNED_SIZE    11
#define SIGNED_SHA256  "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"

#define BY_KEY_1                                                                                   \
    "UIJ00qlhpU7z1dvN1eF3KZft19/zX6sYPHjH4Zo5DYWxP/2gnHWuE6BXH0c3FZwTEqRPRTombDFwfxZkAP0FAQ=="
#define BY_KEY_2                                                                                   \
    "asaCtCiTUwIsrGETsdvr3+jIvaNt06+TNxw6/dDbsIXSOK1k/B6bwD6jtm411c/ECFBfuXtkUvj7HQVO/FhdBw=="

#endif
