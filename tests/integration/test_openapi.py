# SPDX-License-Identifier: BSD-3-Clause
"""The description of the HTTP interface: what the service answers is docs/openapi.json, it is whole,
and what the tests exchange (docs/api-examples.json) fits it.

    OTA_RECORD=1 python3 -m pytest tests/integration/test_openapi.py
"""
import json
import os
import re

from common import ROOT
from control_help import command_rows

FILE = ROOT / "docs" / "openapi.json"
METHODS = {"get", "put", "post", "delete"}


def walk(value, path=""):
    """(path, object) of every object in it."""
    if isinstance(value, dict):
        yield path, value
        for key, member in value.items():
            yield from walk(member, f"{path}/{key}")
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from walk(member, f"{path}/{number}")


def resolve(root, schema):
    while "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def trouble(root, schema, value, at="$"):
    """Why the value doesn't fit the schema: as much of JSON Schema as we use. "" where it does."""
    schema = resolve(root, schema)
    known = {"type", "const", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
             "exclusiveMinimum", "required", "properties", "additionalProperties", "minProperties",
             "items", "minItems", "maxItems", "oneOf", "description", "discriminator",
             "contentEncoding", "x-role", "x-changes", "format"}
    assert set(schema) <= known, set(schema) - known
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
             "number": (int, float)}
    wanted = types[schema["type"]] if "type" in schema else object
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted in (int, (int, float))):
        return f"{at} is no {schema['type']}"
    if "const" in schema and value != schema["const"]:
        return f"{at} isn't {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} isn't in {schema['enum']}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30):
            return f"{at}: its length"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"{at} isn't like {schema['pattern']}"
    if isinstance(value, (int, float)) and not (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and value > schema.get("exclusiveMinimum", value - 1)):
        return f"{at}: its range"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1 << 30):
            return f"{at}: its length"
        parts = [trouble(root, schema["items"], v, f"{at}[{i}]") for i, v in enumerate(value)]
        return next(filter(None, parts), "")
    if isinstance(value, dict):
        missing = set(schema.get("required", [])) - set(value)
        properties = schema.get("properties", {})
        if missing or len(value) < schema.get("minProperties", 0):
            return f"{at} lacks {missing}"
        if schema.get("additionalProperties") is False and set(value) - set(properties):
            return f"{at} has {set(value) - set(properties)}"
        for key in set(value) & set(properties):
            if found := trouble(root, properties[key], value[key], f"{at}.{key}"):
                return found
    if "oneOf" in schema:
        fits = [one for one in schema["oneOf"] if not trouble(root, one, value, at)]
        return "" if len(fits) == 1 else f"{at} fits {len(fits)} of {len(schema['oneOf'])}"
    return ""


def read():
    return json.loads(FILE.read_text())


def body_schema(root):
    control = root["paths"]["/api/v1/control"]["post"]
    return (control["requestBody"]["content"]["application/json"]["schema"],
            control["responses"]["200"]["content"]["application/json"]["schema"])


def test_the_service_answers_what_stands_in_docs(console):
    answer = console.get("/api/v1/openapi.json")  # anybody
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    if os.environ.get("OTA_RECORD"):
        FILE.write_bytes(answer.body + b"\n")
    assert answer.json == read(), "OTA_RECORD=1 writes it anew"


def test_it_is_whole():
    root = read()
    assert root["openapi"].startswith("3.1.") and {"title", "version"} <= set(root["info"])
    operations = [(path, method, operation) for path, item in root["paths"].items()
                  for method, operation in item.items()]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names) == 9
    for path, method, operation in operations:
        assert method in METHODS and operation["responses"] and operation["summary"]
        named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        assert set(operation["tags"]) <= {tag["name"] for tag in root["tags"]}
    schemes = set(root["components"]["securitySchemes"])
    assert all(set(one) <= schemes for one in root["security"])
    refs = 0
    for path, value in walk(root):
        if "$ref" in value:
            assert resolve(root, value), path
            refs += 1
        if "required" in value and isinstance(value["required"], list) and "properties" in value:
            assert set(value["required"]) <= set(value["properties"]), path
    assert refs > 50


def test_every_command_is_as_the_table_has_it():
    schemas = read()["components"]["schemas"]
    rows = {row["command"]: row for row in command_rows()}
    refs = [one["$ref"].rpartition("/")[2] for one in schemas["Command"]["oneOf"]]
    assert sorted(refs) == sorted(rows) == sorted(schemas["Command"]["discriminator"]["mapping"])
    for name, row in rows.items():
        assert schemas[name]["x-role"] == row["role"]
        assert ("requestId" in schemas[name]["properties"]) == row["writes"]
        assert schemas[name]["properties"]["command"] == {"const": name}


def test_the_paths_are_those_of_the_service(console):
    for path, item in read()["paths"].items():
        for method in item:
            answer = console.ask(method.upper(), path.replace("{upload}", "1"))
            assert answer.status not in (404, 405), path


def test_what_the_tests_exchanged_fits():
    root = read()
    request, response = body_schema(root)
    examples = json.loads((ROOT / "docs" / "api-examples.json").read_text())
    for name, said in examples.items():
        assert trouble(root, request, said["request"]) == "", name
        assert trouble(root, response, said["response"]) == "", name
    good = examples["createBatch"]["request"]
    for key, value in (("gate", "never"), ("product", "a b"), ("stages", []), ("more", 1),
                       ("requestId", "x" * 65), ("command", "noSuch"), ("draft", 1)):
        bad = json.loads(json.dumps(good))
        bad["commands"][0][key] = value
        assert trouble(root, request, bad), key
