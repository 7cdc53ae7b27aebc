/* SPDX-License-Identifier: BSD-3-Clause */
#include <curl/curl.h>
#include <mosquitto.h>
#include <stdio.h>

#include "fleet.h"
#include "options.h"

#define OTA_EXIT_START 2

int main(int argc, char **argv)
{
    struct ota_options options;
    struct ota_error error = {0};
    int exit_code = OTA_EXIT_START;
    enum ota_err err = ota_options_parse(argc, argv, &options, &error);
    if (err == OTA_OK && options.help) {
        ota_options_print(stdout);
        return 0;
    }
    if (err == OTA_OK && options.man_page) {
        ota_options_print_man(stdout);
        return 0;
    }
    if (err == OTA_OK) {
        mosquitto_lib_init();
        curl_global_init(CURL_GLOBAL_DEFAULT);
        err = ota_fleet_run(&options, &exit_code, &error);
        curl_global_cleanup();
        mosquitto_lib_cleanup();
    }
    if (err != OTA_OK) {
        fprintf(stderr, "otasim: %s\n", error.text);
        return OTA_EXIT_START;
    }
    return exit_code;
}
