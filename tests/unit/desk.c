/* SPDX-License-Identifier: BSD-3-Clause */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/token_book.h"

#define TICKS_MAX 10000

static void start_device_auth(struct desk *desk)
{
    char path[128];
    struct ota_error error = {0};
    (void)snprintf(path, sizeof path, "%s/secret.key", desk->fix.dir);
    const struct ota_device_auth_config config = {.keyfile = path};
    if (ota_device_auth_start(&desk->fix.core, &config, &desk->around.device_auth, &error) !=
        OTA_OK) {
        fail_msg("%s", error.text);
    }
    ota_device_auth_note_in(desk->around.device_auth, desk->around.trail);
}

void desk_open_device_auth(struct desk *desk)
{
    desk->has_device_auth = true;
    start_device_auth(desk);
}

static void take_seat(struct desk *desk)
{
    struct ota_core *core = &desk->fix.core;
    desk->intake = (struct ota_intake){.core = core, .trail = ota_trail_new(core)};
    desk->around = (struct ota_surroundings){.core = core,
                                             .access = &desk->access,
                                             .intake = &desk->intake,
                                             .dispatch = &desk->fix.dispatch,
                                             .uploads = ota_uploads_new(core->store),
                                             .trail = desk->intake.trail,
                                             .tokens = ota_tokens_new(),
                                             .backup_dir = desk->fix.dir,
                                             .broker_version = "2.0"};
    desk->control = ota_control_new(&desk->around);
    desk->traffic = (struct ota_traffic){.around = &desk->around, .control = desk->control};
    assert_non_null(desk->around.uploads);
    assert_non_null(desk->around.trail);
    assert_non_null(desk->control);
    if (desk->has_device_auth) {
        start_device_auth(desk);
    }
    assert_non_null(desk->around.tokens);
    assert_int_equal(ota_token_book_load(core, &desk->roles, desk->around.tokens, NULL), OTA_OK);
}

static void leave_seat(struct desk *desk)
{
    ota_control_free(desk->control);
    ota_uploads_free(desk->around.uploads);
    ota_device_auth_free(desk->around.device_auth);
    ota_trail_free(desk->around.trail);
    ota_tokens_free(desk->around.tokens);
}

int desk_setup(void **state)
{
    struct desk *desk = calloc(1, sizeof *desk);
    assert_non_null(desk);
    fixture_open(&desk->fix);
    desk->access = (struct ota_access){
        .fleet = &desk->fix.core.fleet, .roles = &desk->roles, .prefix = "$ota", .prefix_len = 4};
    desk->admin = (struct mosquitto){.id = "otactl-1", .username = "ann"};
    assert_int_equal(ota_roles_add_list(&desk->roles, "ann", OTA_ROLE_ADMIN, NULL), OTA_OK);
    take_seat(desk);
    *state = desk;
    return 0;
}

int desk_teardown(void **state)
{
    struct desk *desk = *state;
    leave_seat(desk);
    fixture_close(&desk->fix);
    ota_roles_free(&desk->roles);
    free(desk);
    return 0;
}

void desk_stop(struct desk *desk, bool kill)
{
    if (!kill) {
        ota_trail_finish(desk->around.trail);
        ota_token_book_finish(&desk->fix.core, desk->around.tokens);
    }
    leave_seat(desk);
    fixture_stop(&desk->fix, kill);
}

void desk_start(struct desk *desk)
{
    fixture_start(&desk->fix);
    take_seat(desk);
}

void desk_reload(struct desk *desk)
{
    leave_seat(desk);
    fixture_reload(&desk->fix);
    take_seat(desk);
}

void desk_restart(struct desk *desk, bool kill)
{
    desk_stop(desk, kill);
    desk_start(desk);
}

void desk_send(struct desk *desk, enum ota_role role, const char *command)
{
    size_t size = strlen(command) + 64;
    char *envelope = malloc(size);
    assert_non_null(envelope);
    int len = snprintf(envelope, size, "{\"commands\":[{%s}]}", command);
    fake_broker_clear_messages();
    ota_control_receive(desk->control, &desk->admin, role, envelope, (size_t)len);
    free(envelope);
}

void desk_tick(struct desk *desk)
{
    ota_control_tick(desk->control);
}

json_t *desk_response(void)
{
    json_t *root = fixture_last(OTA_CONTROL_RESPONSE);
    json_t *response = json_incref(json_array_get(json_object_get(root, "responses"), 0));
    json_decref(root);
    return response;
}

json_t *desk_ask(struct desk *desk, enum ota_role role, const char *command)
{
    json_t *response = NULL;
    desk_send(desk, role, command);
    for (int i = 0; i < TICKS_MAX && response == NULL; i++) {
        desk_tick(desk);
        response = desk_response();
    }
    assert_non_null(response);
    return response;
}

json_t *desk_data(struct desk *desk, const char *command)
{
    json_t *response = desk_ask(desk, OTA_ROLE_ADMIN, command);
    json_t *data = json_incref(json_object_get(response, "data"));
    if (data == NULL) {
        fail_msg("%s: %s", command, json_string_value(json_object_get(response, "error")));
    }
    json_decref(response);
    return data;
}

void desk_good(struct desk *desk, const char *command)
{
    json_decref(desk_data(desk, command));
}

void desk_bad(struct desk *desk, const char *command, const char *code)
{
    json_t *response = desk_ask(desk, OTA_ROLE_ADMIN, command);
    const char *have = json_string_value(json_object_get(response, "code"));
    if (have == NULL) {
        fail_msg("%s: wanted %s, and it was done", command, code);
    }
    assert_string_equal(have, code);
    assert_true(json_string_length(json_object_get(response, "error")) > 10);
    json_decref(response);
}

void desk_later(struct desk *desk, int64_t ms)
{
    fixture_tick(&desk->fix, ms);
    desk_tick(desk);
    ota_trail_tick(desk->around.trail);
}
