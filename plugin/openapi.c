/* SPDX-License-Identifier: BSD-3-Clause */
#include "openapi.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "command_table.h"
#include "util/error.h"
#include "util/json_text.h"
#include "util/words.h"

extern const char ota_openapi_base[]; /* made from openapi.json */

/* --- values ----------------------------------------------------------------------------------- */

#define NAMES(set, most) "{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9" set "]{1," #most "}$\"}"

/* As fields.c checks them. NULL: made of words, or of the range. */
static const char *const schemas[] = {
    [OTA_PARAM_PRODUCT] = NAMES("_-", 32),
    [OTA_PARAM_DEVICE] = NAMES("_:-", 48),
    [OTA_PARAM_VERSION] = NAMES("._-", 32),
    [OTA_PARAM_NAME] = NAMES("._-", 32),
    [OTA_PARAM_TAG] = NAMES("_.:=-", 32),
    [OTA_PARAM_FILENAME] =
        "{\"type\":\"string\",\"maxLength\":128,"
        "\"pattern\":\"\\\\.([Bb][Ii][Nn]|[Tt][Aa][Rr]|[Gg][Zz]|[Zz][Ii][Pp])$\"}",
    [OTA_PARAM_TEXT] = "{\"type\":\"string\",\"maxLength\":256}",
    [OTA_PARAM_TAGS] = "{\"type\":\"array\",\"maxItems\":16,\"items\":" NAMES("_.:=-", 32) "}",
    [OTA_PARAM_DEVICES] =
        "{\"type\":\"array\",\"minItems\":1,\"maxItems\":1000,\"items\":" NAMES("_:-", 48) "}",
    [OTA_PARAM_BOOL] = "{\"type\":\"boolean\"}",
    [OTA_PARAM_SHA256] = "{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{64}$\"}",
    [OTA_PARAM_CURSOR] = "{\"type\":\"string\",\"maxLength\":128,"
                         "\"description\":\"nextCursor of the page before\"}",
    [OTA_PARAM_TIME] = "{\"type\":\"integer\",\"minimum\":1,\"maximum\":253402300799999,"
                       "\"description\":\"Unix milliseconds\"}",
    [OTA_PARAM_GATE] = "{\"enum\":[\"confirmed\",\"done\"]}",
    [OTA_PARAM_MODE] = "{\"enum\":[\"snapshot\",\"continuous\"]}",
    [OTA_PARAM_RUNNING] = "{\"enum\":[\"finish\",\"cancel\"]}",
    [OTA_PARAM_ROLE] = "{\"enum\":[\"viewer\",\"operator\",\"admin\"]}",
    [OTA_PARAM_RETRY] =
        "{\"type\":\"object\",\"required\":[\"max\"],\"additionalProperties\":false,"
        "\"properties\":{\"max\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":10},"
        "\"delaySeconds\":{\"type\":\"integer\",\"minimum\":30,\"maximum\":604800},"
        "\"on\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":8,\"items\":{\"oneOf\":["
        "{\"type\":\"integer\",\"minimum\":-99999,\"maximum\":99999},{\"const\":\"timeout\"}]}}}}",
    [OTA_PARAM_THRESHOLD] =
        "{\"type\":\"object\",\"required\":[\"percent\",\"minFinished\"],"
        "\"additionalProperties\":false,\"properties\":{"
        "\"percent\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100},"
        "\"minFinished\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10000000}}}",
    [OTA_PARAM_TARGET] =
        "{\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":false,\"properties\":{"
        "\"all\":{\"const\":true},"
        "\"fromVersions\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}},"
        "\"notVersions\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}},"
        "\"devices\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":1000,"
        "\"items\":{\"type\":\"string\"}},"
        "\"tags\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}},"
        "\"online\":{\"type\":\"boolean\"}}}",
    [OTA_PARAM_STAGES] =
        "{\"type\":\"array\",\"minItems\":1,\"maxItems\":20,\"items\":{\"type\":\"object\","
        "\"additionalProperties\":false,"
        "\"oneOf\":[{\"required\":[\"percent\"]},{\"required\":[\"count\"]}],\"properties\":{"
        "\"percent\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":100},"
        "\"count\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10000000},"
        "\"minSuccessPercent\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":100},"
        "\"soakSeconds\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":31536000},"
        "\"advance\":{\"enum\":[\"auto\",\"manual\"]}}}}",
};

static const char *status_at(int i)
{
    return i < OTA_SHOWN_COUNT ? ota_shown_name((enum ota_shown)i) : NULL;
}

static const char *state_at(int i)
{
    return i < OTA_BATCH_STATE_COUNT ? ota_batch_state_name((enum ota_batch_state)i) : NULL;
}

static const char *code_at(int i)
{
    return i + 1 < OTA_AGAIN ? ota_err_name((enum ota_err)(i + 1)) : NULL;
}

/* {"enum":[…]} */
static json_t *words(const char *(*at)(int))
{
    json_t *all = json_array();
    for (int i = 0; at(i) != NULL; i++) {
        (void)json_array_append_new(all, json_string(at(i)));
    }
    return json_pack("{s:o}", "enum", all);
}

static json_t *range(const struct ota_param *param)
{
    json_t *schema = json_pack("{s:s, s:I}", "type", "integer", "minimum", (json_int_t)param->min);
    if (param->max != INT64_MAX) {
        (void)json_object_set_new(schema, "maximum", json_integer(param->max));
    }
    return schema;
}

static json_t *schema_of(const struct ota_param *param)
{
    if (param->type == OTA_PARAM_INT) {
        return range(param);
    }
    if (param->type == OTA_PARAM_STATUS) {
        return words(status_at);
    }
    if (param->type == OTA_PARAM_BATCH_STATE) {
        return words(state_at);
    }
    if (param->type == OTA_PARAM_BASE64) {
        return json_pack("{s:s, s:s, s:I, s:I}", "type", "string", "contentEncoding", "base64",
                         "minLength", (json_int_t)param->min, "maxLength", (json_int_t)param->max);
    }
    return json_loads(schemas[param->type], 0, NULL);
}

/* --- commands --------------------------------------------------------------------------------- */

static void add_text(json_t *properties, const char *key, int most)
{
    (void)json_object_set_new(properties, key,
                              json_pack("{s:s, s:i}", "type", "string", "maxLength", most));
}

static json_t *properties_of(const struct ota_command *command)
{
    json_t *properties = json_pack("{s:{s:s}}", "command", "const", command->name);
    for (const struct ota_param *param = command->params; param->key != NULL; param++) {
        json_t *schema = schema_of(param);
        (void)json_object_set_new(schema, "description", json_string(param->help));
        (void)json_object_set_new(properties, param->key, schema);
    }
    (void)json_object_set_new(properties, "correlationData", json_pack("{s:s}", "type", "string"));
    if (command->writes) {
        add_text(properties, "requestId", OTA_REQUEST_ID_MAX);
    }
    return properties;
}

static json_t *required_of(const struct ota_command *command)
{
    json_t *required = json_pack("[s]", "command");
    for (const struct ota_param *param = command->params; param->key != NULL; param++) {
        if (param->required) {
            (void)json_array_append_new(required, json_string(param->key));
        }
    }
    return required;
}

static json_t *describe(const struct ota_command *command)
{
    return json_pack("{s:s, s:s+, s:s, s:b, s:o, s:b, s:o}", "type", "object", "description",
                     command->help, command->writes ? " (changes something)" : "", "x-role",
                     ota_role_name(command->role), "x-changes", (int)command->writes, "required",
                     required_of(command), "additionalProperties", 0, "properties",
                     properties_of(command));
}

static void add_commands(json_t *all)
{
    json_t *refs = json_array();
    json_t *mapping = json_object();
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        char ref[96];
        (void)snprintf(ref, sizeof ref, "#/components/schemas/%s", command->name);
        (void)json_array_append_new(refs, json_pack("{s:s}", "$ref", ref));
        (void)json_object_set_new(mapping, command->name, json_string(ref));
        (void)json_object_set_new(all, command->name, describe(command));
    }
    (void)json_object_set_new(all, "Command",
                              json_pack("{s:o, s:{s:s, s:o}}", "oneOf", refs, "discriminator",
                                        "propertyName", "command", "mapping", mapping));
}

char *ota_openapi_text(void)
{
    json_t *root = json_loads(ota_openapi_base, JSON_REJECT_DUPLICATES, NULL);
    json_t *all = json_object_get(json_object_get(root, "components"), "schemas");
    (void)json_object_set_new(all, "Code", words(code_at));
    add_commands(all);
    char *text = ota_json_write(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    json_decref(root);
    return text;
}
