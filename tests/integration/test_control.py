# SPDX-License-Identifier: BSD-3-Clause
"""The door of the admin commands: envelope, roles, fields, requestId, cursors, queue."""
import json
import time

import pytest

import matrix
from clients import CONTROL, CONTROL_RESPONSE
from control_help import LISTS, announce, bulk, command_rows, read_all, refuse, request_id

COMMANDS = matrix.commands()
READS = {name for name in COMMANDS if name.startswith(("list", "get", "explain"))}

GOOD = {
    "product": "p",
    "device": "d",
    "version": "1",
    "description": "x",
    "tags": ["t"],
    "filename": "f.bin",
    "size": 1,
    "sha256": "0" * 64,
    "upload": 1,
    "offset": 0,
    "data": "AAAA",
    "task": 1,
    "batch": 1,
    "devices": ["d"],
    "gatewayProduct": "p",
    "gateway": "g",
    "name": "ci",
    "role": "viewer",
    "token": 1,
}

NO_TEXT = [None, 1, 1.5, True, [], {}, ["p"]]
NO_NAME = NO_TEXT + ["", "a b", "\u00e9", "a/b", "a+", "#", "a\nb", "a'", "x" * 49]
NO_DESCRIPTION = NO_TEXT + ["x" * 257, "\u00e9" * 129, "a\nb", "\t", "\x1f", "\x7f"]
NO_BOOL = [None, 0, 1, "true", "", [], {}]
NO_NUMBER = [None, "1", "", 1.0, 1.5, True, [], {}, -1]
NO_RETRY = [
    None, 1, True, "x", [], {}, {"max": -1}, {"max": 11}, {"max": "1"}, {"max": 1.0},
    {"max": 1, "delaySeconds": 29}, {"max": 1, "delaySeconds": "30"}, {"delaySeconds": 30},
    {"max": 1, "on": []}, {"max": 1, "on": ["later"]}, {"max": 1, "on": [1.5]},
    {"max": 1, "on": -1}, {"max": 1, "on": [None]}, {"max": 1, "more": 1}, {"max": None},
]  # fmt: skip

NO_THRESHOLD = [
    None, 1, "10%", [], {}, {"percent": 10}, {"minFinished": 1}, {"percent": 0, "minFinished": 1},
    {"percent": 101, "minFinished": 1}, {"percent": 10, "minFinished": 0},
    {"percent": 10.5, "minFinished": 1}, {"percent": 10, "minFinished": 1, "more": 1},
]  # fmt: skip
NO_TARGET = [
    None, 1, "all", True, [], {}, {"all": False}, {"all": 1}, {"all": True, "online": True},
    {"fromVersions": []}, {"fromVersions": "1"}, {"fromVersions": ["a b"]}, {"fromVersions": [1]},
    {"fromVersions": ["1"] * 101}, {"notVersions": [None]}, {"devices": []}, {"devices": ["a.b"]},
    {"devices": ["d"] * 1001}, {"tags": []}, {"tags": ["a b"]}, {"tags": ["t"] * 17},
    {"online": 1}, {"online": None}, {"versions": ["1"]},
]  # fmt: skip
ALL = {"percent": 100}
NO_STAGES = [
    None, 1, "10", {}, [], [1], [{}], [{"percent": 50}], [{"count": 5}], [{"percent": 0}, ALL],
    [{"percent": -1}, ALL], [{"percent": "1"}, ALL], [{"percent": 101}], [{"count": 0}, ALL],
    [{"count": 1.5}, ALL], [{"percent": 1, "count": 1}, ALL], [{"percent": 9}, {"percent": 9}, ALL],
    [{"percent": 9}, {"percent": 5}, ALL], [{"count": 9}, {"count": 5}, ALL], [ALL, ALL],
    [{"percent": 1, "minSuccessPercent": 101}, ALL], [{"percent": 1, "soakSeconds": -1}, ALL],
    [{"percent": 1, "advance": "later"}, ALL], [{"percent": 1, "more": 1}, ALL],
    [{"percent": n} for n in range(1, 21)] + [ALL],
]  # fmt: skip

BAD = {
    "target": NO_TARGET,
    "stages": NO_STAGES,
    "devices": [None, 1, "d", {}, [], [1], ["a.b"], [""], ["d"] * 1001],
    "name": NO_DESCRIPTION,
    "ratePerMinute": NO_NUMBER + [0],
    "maxInFlight": NO_NUMBER + [0],
    "failureThreshold": NO_THRESHOLD,
    "gate": NO_TEXT + ["", "Confirmed", "failed"],
    "mode": NO_TEXT + ["", "once"],
    "running": NO_TEXT + ["", "stop"],
    "state": NO_TEXT + ["", "waiting", "Running"],
    "startAt": NO_NUMBER + [0, 10**15],
    "expireAt": NO_NUMBER + [0, 10**15],
    "since": NO_NUMBER + [0, 10**15],
    "user": NO_DESCRIPTION,
    "action": NO_DESCRIPTION,
    "draft": NO_BOOL,
    "dryRun": NO_BOOL,
    "product": NO_NAME + ["x" * 33, "a:b", "a.b"],
    "device": NO_NAME + ["a.b"],
    "version": NO_NAME + ["x" * 33, "1:0"],
    "prefix": NO_NAME + ["a.b"],
    "gatewayProduct": NO_NAME + ["x" * 33, "a:b", "a.b"],
    "gateway": NO_NAME + ["a.b"],
    "description": NO_DESCRIPTION,
    "filename": NO_DESCRIPTION + ["f.exe", "", "a/b.bin", "x" * 125 + ".bin"],
    "tags": [None, 1, True, "t", {}, [1], [None], [""], ["a b"], ["x" * 33], ["t"] * 17],
    "tag": NO_NAME + ["x" * 33],
    "force": NO_BOOL,
    "hold": NO_BOOL,
    "online": NO_BOOL,
    "override": NO_BOOL,
    "reinstall": NO_BOOL,
    "allowDowngrade": NO_BOOL,
    "size": NO_NUMBER + [0],
    "upload": NO_NUMBER + [0],
    "task": NO_NUMBER + [0],
    "token": NO_NUMBER + [0],
    "role": NO_TEXT + ["", "none", "Admin", "root"],
    "batch": NO_NUMBER + [0],
    "offset": NO_NUMBER,
    "order": [None, "1", 1.5, True, [], 10**13, -(10**13)],
    "timeoutSeconds": NO_NUMBER + [0, 9, 604801],
    "limit": NO_NUMBER + [0, 201],
    "cursor": [None, 1, True, [], {}, "x" * 129],
    "sha256": NO_TEXT + ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, " " + "0" * 63],
    "data": NO_TEXT + ["", "A", "AAA", "AAAAA", "A===", "AA=A", "AA A", "\u00e9A"],
    "signature": NO_TEXT + ["", "AAAA", "*" * 88],
    "secret": NO_TEXT + ["", "A" * 20, "A" * 68, "*" * 24, "A" * 21 + "B=="],
    "status": NO_TEXT + ["", "online", "Succeeded", "upgraded successfully"],
    "retry": NO_RETRY,
}


def good_fields(name):
    return {key: GOOD[key] for key, required in COMMANDS[name][1].items() if required}


def wrong_requests(name):
    """(field that the refusal must name, fields)"""
    fields = COMMANDS[name][1]
    good = good_fields(name)
    for key, required in fields.items():
        beside = {"product": "p"} if name == "listTasks" and key == "device" else {}
        for value in BAD[key]:
            yield key, {**good, **beside, key: value}
        if required:
            yield key, {k: v for k, v in good.items() if k != key}
    for key in ("bogus", "Product", "products", "", "request_id", "x" * 31):
        yield key, {**good, key: "p"}
    if name in READS:
        yield "requestId", {**good, "requestId": "r"}
    else:
        for value in (None, 1, True, [], {}, "", "x" * 65):
            yield "requestId", {**good, "requestId": value}


def send_all(admin, commands):
    """The responses of any number of commands, good or bad."""
    responses = []
    for at in range(0, len(commands), 100):
        responses += admin.call_raw({"commands": commands[at : at + 100]})["responses"]
    assert len(responses) == len(commands)
    return responses


@pytest.fixture
def stocked(ota, admin):
    """Something of everything, so that a command that got through would be seen."""
    admin.call("createProduct", product="p", description="a product")
    admin.add_firmware("p", "1")
    admin.add_firmware("p", "2")
    admin.call("createDevice", product="p", device="d", tags=["u"])
    admin.call("upgradeDevice", product="p", device="d", version="2")
    admin.call("addFirmware", **announce("p", "3", b"x" * 9))
    return admin


# -- the table


def test_the_table_is_as_promised():
    found = {}
    for row in command_rows():
        keys = {p["key"]: p["required"] for p in row["params"] if not p["local"]}
        known = found.setdefault(row["command"], (row["role"], keys))
        known[1].update(keys)  # more than one verb of otactl may come to the same command
        assert row["writes"] == (row["command"] not in READS), row["command"]
    assert found.keys() == COMMANDS.keys()
    for name, (role, fields) in COMMANDS.items():
        # limit is otactl's own: it walks the pages.
        assert found[name][0] == role, name
        assert found[name][1].keys() >= fields.keys() - {"limit"}, name


# -- fields


def test_wrong_fields_are_named_and_change_nothing(stocked):
    before = read_all(stocked)
    for name in COMMANDS:
        wrong = list(wrong_requests(name))
        responses = send_all(stocked, [{"command": name, **fields} for _, fields in wrong])
        for (field, fields), response in zip(wrong, responses):
            assert response.get("code") == "invalid_request", (name, fields, response)
            assert response.get("field", "") == field, (name, fields, response)
            assert response["command"] == name and "data" not in response
            assert len(response["error"]) > 10
            if field:
                assert field in response["error"], response
    assert read_all(stocked) == before


@pytest.mark.parametrize("name", ["createProduct", "getInfo"])
def test_unknown_keys_of_any_length_and_script_are_named(admin, name):
    keys = ["\u00e9" * n for n in range(1, 40)] + ["a" + "\u65e5" * n for n in range(1, 60)]
    keys += ["\U0001f680" * 300, "k" * 5000, "%s%n", '"']
    responses = send_all(admin, [{"command": name, key: 1, **good_fields(name)} for key in keys])
    for key, response in zip(keys, responses):
        assert response["code"] == "invalid_request", key
        assert response["field"] and key.startswith(response["field"])
        assert key[:8] in response["error"]


def test_fields_come_before_existence(admin):
    """Checks, in this order: envelope, role, fields, existence, state."""
    refuse(admin, "createDevice", "invalid_request", "tags", product="none", device="d", tags="x")
    refuse(admin, "addFirmware", "invalid_request", "bogus", bogus=1, **announce("none", "1", b"x"))
    refuse(admin, "uploadFirmwareBlock", "invalid_request", "data", upload=77, offset=0,
           data="A*AA")
    refuse(admin, "listTasks", "invalid_request", "status", product="none", status="x")


# -- roles: what each may is in matrix.py


def test_the_highest_role_counts(broker):
    ota = broker(options={"viewers": "admin, op", "operators": "op,x", "admins": "y , admin"})
    ota.admin("admin").call("createProduct", product="p")
    for user in ("y", "x", "op"):
        assert ota.admin(user).call("listProducts")["products"]
    refuse(ota.admin("op"), "createProduct", "forbidden", product="q")


def test_roles_file_is_read_again_on_sighup(broker, tmp_path):
    path = tmp_path / "roles"
    path.write_text("# USER ROLE\nann viewer\nbob operator\n\ncid admin\n")
    ota = broker(options={"roles_file": path})
    ann, bob, cid = (ota.admin(user) for user in ("ann", "bob", "cid"))
    cid.call("createProduct", product="p")
    cid.call("createDevice", product="p", device="d")
    bob.call("updateDevice", product="p", device="d", hold=True)
    refuse(ann, "updateDevice", "forbidden", product="p", device="d", hold=False)
    path.write_text("ann admin\ncid viewer\n")
    ota.reload()
    ann.call("createProduct", product="q")
    refuse(cid, "createProduct", "forbidden", product="r")
    ota.admin("admin").call("createProduct", product="r")  # the options' own roles stay
    # bob has no role any more: no answer.
    since = len(bob.messages)
    bob.publish(CONTROL, {"commands": [{"command": "listProducts"}]})
    bob.subscribe("barrier")
    bob.publish("barrier", "x")
    bob.wait_message(lambda m: m.topic == "barrier", since=since)
    assert all(m.topic == "barrier" for m in bob.messages[since:])


# -- the envelope

UNREADABLE = [
    b"",
    b"nonsense",
    b"\xff\xfe\x00",
    b'{"commands":[{"command":"getInfo"}]',
    b'{"commands":[{"command":"getInfo"}]} x',
    b'{"commands":[{"command":"getInfo","command":"getInfo"}]}',
    b'{"commands":[{"command":"getInfo"}],"commands":[]}',
    b'{"commands":[{"command":"getInfo","correlationData":"\\u0000"}]}',
    b'{"commands":[{"command":"getInfo","correlationData":"\xff"}]}',
    b'{"commands":[{"command":"listProducts","limit":99999999999999999999}]}',
    b"[" * 100_000,
    b'{"commands":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b"null",
    b"[]",
    b'"commands"',
    b"{}",
    b'{"commands":{}}',
    b'{"commands":null}',
    b'{"commands":[]}',
    b'{"commands":[{"command":"getInfo"}],"more":1}',
    b'{"command":"getInfo"}',
    json.dumps({"commands": [{"command": "getInfo"}] * 101}).encode(),
    "\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e".encode(),
    b'"\xc3',
    b'{"\xe6\x97": 1}',
]


def test_unreadable_envelopes(admin):
    for envelope in UNREADABLE:
        answer = admin.call_raw(envelope)
        assert list(answer) == ["responses"]
        (response,) = answer["responses"]
        assert response["code"] == "invalid_request", (envelope[:80], response)
        assert response["error"].isprintable() and len(response["error"]) > 10
        assert "command" not in response and "data" not in response
    assert admin.call("getInfo")["version"]


def test_a_message_too_large(admin):
    big = {"commands": [{"command": "getInfo", "correlationData": "x" * 140_000}]}
    assert admin.call_raw(big)["responses"][0]["code"] == "too_large"
    good = {"commands": [{"command": "getInfo", "correlationData": "x" * 120_000}]}
    assert admin.call_raw(good)["responses"][0]["correlationData"] == "x" * 120_000


def test_an_envelope_that_begins_with_spaces(admin):
    text = b' \n\t{ "commands" : [ { "command" : "getInfo" } ] } \n'
    assert "data" in admin.call_raw(text)["responses"][0]


def test_entries_that_are_no_commands(admin):
    entries = [1, "getInfo", None, [], {}, {"command": 1}, {"command": None}, {"command": ""},
               {"command": "noSuch"}, {"command": "getinfo"}, {"command": "\u00e9" * 200},
               {"command": "x" * 100_000}, {"command": "a" + "\u65e5" * 100}]  # fmt: skip
    good = {"command": "getInfo"}
    responses = admin.call_raw({"commands": [good, *entries, good]})["responses"]
    assert len(responses) == len(entries) + 2
    assert "data" in responses[0] and "data" in responses[-1]
    for entry, response in zip(entries, responses[1:-1]):
        assert (response["code"], response["field"]) == ("invalid_request", "command"), entry


def test_one_entry_a_command_in_order_each_its_own_transaction(admin):
    commands = []
    for n in range(50):
        command = {"command": "createProduct", "product": f"p{n}"}
        commands.append({**command, "correlationData": f"{n}"})
        commands.append({**command, "correlationData": "again"})
    responses = admin.call_raw({"commands": commands})["responses"]
    for n in range(50):
        first, second = responses[2 * n : 2 * n + 2]
        assert first["data"]["product"]["product"] == f"p{n}"
        assert first["correlationData"] == f"{n}" and first["command"] == "createProduct"
        assert second["code"] == "already_exists" and second["correlationData"] == "again"
    assert len(admin.call("listProducts")["products"]) == 50


def test_correlation_data(admin):
    for text in ("", "x", "\u00e9\U0001f680\u2028", "<b>\"'\\", "x" * 10_000, "a\nb"):
        for name in ("getInfo", "noSuch", "getTask"):
            command = {"command": name, "correlationData": text}
            (response,) = admin.call_raw({"commands": [command]})["responses"]
            assert response["correlationData"] == text
    for wrong in (None, 1, [], {}, True):
        command = {"command": "getInfo", "correlationData": wrong}
        response = admin.call_raw({"commands": [command]})["responses"][0]
        assert (response["code"], response["field"]) == ("invalid_request", "correlationData")
        assert "correlationData" not in response
    assert "correlationData" not in admin.call_raw({"commands": [{"command": "getInfo"}]})[
        "responses"
    ][0]


def test_the_response_is_the_requesters_alone(ota, admin):
    others = [ota.admin("admin"), ota.client("viewer")]
    for other in others:
        assert other.subscribe(CONTROL_RESPONSE) < 128
        assert other.subscribe("$CONTROL/#") >= 0
    admin.call("createProduct", product="p")
    for other in others:
        other.subscribe("barrier")
    admin.publish("barrier", "x")
    for other in others:
        other.wait_message(lambda m: m.topic == "barrier")
        assert [m.topic for m in other.messages] == ["barrier"]


def test_a_client_of_mqtt_5(ota):
    admin = ota.admin(v5=True)
    admin.call("createProduct", product="p")
    refuse(admin, "createProduct", "already_exists", "product", product="p")


# -- once and only once


def test_a_request_acts_once(admin):
    command = {"command": "createProduct", "product": "p", "requestId": "r-1"}
    first = admin.call_raw({"commands": [{**command, "correlationData": "one"}]})["responses"][0]
    admin.call("updateProduct", product="p", description="changed since")
    for correlation in ("two", None):
        again = dict(reversed(command.items()))  # the order of the keys doesn't matter
        if correlation:
            again["correlationData"] = correlation
        response = admin.call_raw({"commands": [again]})["responses"][0]
        assert response["data"] == first["data"]
        assert response.get("correlationData") == correlation
    assert admin.call("listProducts")["products"][0]["description"] == "changed since"


def test_a_request_id_for_something_else_is_a_conflict(admin):
    admin.call("createProduct", product="p", requestId="r")
    before = read_all(admin)
    for name, fields in (
        ("createProduct", {"product": "q"}),
        ("createProduct", {"product": "p", "description": ""}),
        ("updateProduct", {"product": "p", "description": "x"}),
        ("deleteProduct", {"product": "p"}),
    ):
        refuse(admin, name, "conflict", "requestId", requestId="r", **fields)
    assert read_all(admin) == before


def test_only_a_success_is_stored(admin):
    refuse(admin, "updateProduct", "not_found", "product", product="p", description="x",
           requestId="r")
    admin.call("createProduct", product="p")
    data = admin.call("updateProduct", product="p", description="x", requestId="r")
    assert data["product"]["description"] == "x"
    refuse(admin, "createProduct", "already_exists", "product", product="p", requestId="s")
    admin.call("createProduct", product="q", requestId="s")


def test_request_ids_are_each_users_own(broker):
    ota = broker(options={"admins": "admin,boss"})
    admin, boss = ota.admin(), ota.admin("boss")
    admin.call("createProduct", product="p", requestId="r")
    boss.call("createProduct", product="q", requestId="r")
    refuse(boss, "createProduct", "conflict", "requestId", product="p", requestId="r")
    # The same user by another connection is the same user.
    again = ota.admin("boss").call("createProduct", product="q", requestId="r")
    assert again["product"]["product"] == "q"


def test_good_request_ids(admin):
    texts = ["x", "x" * 64, "\u00e9" * 64, "\U0001f680" * 64, " ", "a\nb", "'"]
    for n, text in enumerate(texts):
        first = admin.call("createProduct", product=f"p{n}", requestId=text)
        assert admin.call("createProduct", product=f"p{n}", requestId=text) == first
        refuse(admin, "createProduct", "conflict", "requestId", product="q", requestId=text)
    refuse(admin, "createProduct", "invalid_request", "requestId", product="q",
           requestId="\u00e9" * 65)


def test_a_request_twice_in_one_message(admin):
    command = {"command": "createProduct", "product": "p", "requestId": "r"}
    first, second = admin.call_raw({"commands": [command, command]})["responses"]
    assert first == second and "data" in first


def test_every_changing_command_acts_once(ota, admin):
    """Each one twice, with the same id: the same answer, and nothing changes the second time."""

    def twice(name, **fields):
        fields["requestId"] = request_id()
        first = admin.call(name, **fields)
        seen = read_all(admin)
        assert admin.call(name, **fields) == first
        assert read_all(admin) == seen
        return first

    twice("createProduct", product="p")
    twice("updateProduct", product="p", description="x")
    for version in ("1", "2"):
        upload = twice("addFirmware", **announce("p", version, b"abc"))["upload"]
        twice("uploadFirmwareBlock", upload=upload, offset=0, data="YWJj")
        twice("commitFirmware", upload=upload)
    twice("abortFirmware", upload=twice("addFirmware", **announce("p", "3", b"abc"))["upload"])
    twice("createDevice", product="p", device="d")
    twice("updateDevice", product="p", device="d", description="y")
    task = twice("upgradeDevice", product="p", device="d", version="1")["task"]["task"]
    twice("cancelTask", task=task)
    twice("retryTask", task=task)
    twice("upgradeDevice", product="p", device="d", version="2", override=True)
    twice("cancelTask", task=admin.call("listTasks")["tasks"][0]["task"])
    twice("deleteFirmware", product="p", version="1")
    twice("deleteDevice", product="p", device="d")
    twice("deleteProduct", product="p", force=True)


# -- cursors


@pytest.fixture
def pages(admin):
    admin.call("createProduct", product="p")
    admin.call("createProduct", product="q")
    for product in ("p", "q"):
        admin.add_firmware(product, "1")
        admin.add_firmware(product, "2")
    devices = [
        {"command": "createDevice", "product": product, "device": f"d{n}", "tags": ["t"]}
        for n in range(5)
        for product in ("p", "q")
    ]
    bulk(admin, devices)
    for device in devices:
        admin.call("upgradeDevice", product=device["product"], device=device["device"], version="2")
    return admin


def test_a_cursor_belongs_to_its_filters(pages):
    first = {
        "listProducts": {},
        "listFirmware": {"product": "p"},
        "listDevices": {"product": "p", "tag": "t"},
        "listVersions": {"product": "p"},
        "listTasks": {"product": "p"},
    }
    other = {
        "listFirmware": [{"product": "q"}],
        "listDevices": [{"product": "q", "tag": "t"}, {"product": "p"},
                        {"product": "p", "tag": "u"},
                        {"product": "p", "tag": "t", "prefix": "d"},
                        {"product": "p", "tag": "t", "online": False}],
        "listVersions": [{"product": "q"}],
        "listTasks": [{"product": "q"}, {}, {"product": "p", "status": "device_offline"}],
    }  # fmt: skip
    cursors = {}
    for name, fields in first.items():
        page = pages.call(name, limit=1, **fields)
        cursors[name] = cursor = page["nextCursor"]
        rest = pages.call(name, limit=200, cursor=cursor, **fields)  # another limit is fine
        rows = page[LISTS[name]] + rest[LISTS[name]]
        assert rows == pages.call(name, limit=200, **fields)[LISTS[name]]
        assert "nextCursor" not in rest
        for fields in other.get(name, []):
            refuse(pages, name, "invalid_request", "cursor", cursor=cursor, **fields)
    for name, fields in first.items():
        for whose, cursor in cursors.items():
            if whose != name:
                refuse(pages, name, "invalid_request", "cursor", cursor=cursor, **fields)
        for made_up in ("x", "0", "\u00e9", "x" * 128, "-1", "00000000", "0000000099"):
            refuse(pages, name, "invalid_request", "cursor", cursor=made_up, **fields)


def test_a_walk_goes_on_while_rows_come_and_go(pages):
    page = pages.call("listDevices", product="p", limit=2)
    assert [row["device"] for row in page["devices"]] == ["d0", "d1"]
    pages.call("cancelTask", task=page["devices"][1]["task"]["task"])
    pages.call("deleteDevice", product="p", device="d1")
    pages.call("createDevice", product="p", device="d00")
    pages.call("createDevice", product="p", device="d11")
    rest = pages.list_all("listDevices", "devices", product="p") and pages.call(
        "listDevices", product="p", limit=200, cursor=page["nextCursor"]
    )
    assert [row["device"] for row in rest["devices"]] == ["d11", "d2", "d3", "d4"]


def test_a_cursor_outlives_a_restart(ota, pages):
    cursor = pages.call("listTasks", limit=3)["nextCursor"]
    before = pages.call("listTasks", cursor=cursor)
    connects = pages.connects
    ota.restart()
    pages.wait_reconnected(connects)
    assert pages.call("listTasks", cursor=cursor) == before


# -- the queue


def test_many_messages_at_once_are_answered_in_order(ota):
    clients = [ota.admin() for _ in range(3)]
    for client in clients:
        for n in range(60):
            envelope = {"commands": [{"command": "getInfo", "correlationData": f"{n}.{k}"}
                                     for k in range(3)]}  # fmt: skip
            client.publish(CONTROL, envelope, wait=False)
    for client in clients:
        client.wait_for(lambda c=client: len(c.messages) == 60)
        heard = [
            response["correlationData"]
            for message in client.messages
            for response in json.loads(message.payload)["responses"]
        ]
        assert heard == [f"{n}.{k}" for n in range(60) for k in range(3)]


def test_a_full_queue_is_told_and_the_broker_goes_on(ota, admin):
    """Long work is done in slices of 5 ms: other clients hardly notice."""
    products = [{"command": "createProduct", "product": f"p{n}"} for n in range(200)]
    bulk(admin, products)
    slow = json.dumps({"commands": [{"command": "listProducts", "limit": 200}] * 100})
    floods = [ota.admin() for _ in range(20)]  # the broker takes one message a client and loop
    for flood in floods:
        for _ in range(60):
            flood.publish(CONTROL, slow, qos=0, wait=False)
    flood = floods[-1]

    def is_refusal(message):
        response = json.loads(message.payload)["responses"][0]
        return response.get("code") == "unavailable"

    refused = json.loads(flood.wait_message(is_refusal).payload)["responses"]
    assert len(refused) == 1 and "again" in refused[0]["error"]
    answered = sum(len(one.messages) for one in floods)
    other = ota.client("other")
    other.subscribe("ping")
    for n in range(20):
        since = len(other.messages)
        other.publish("ping", str(n))
        other.wait_message(lambda m: m.topic == "ping", since=since)
    # Twenty round trips took less time than the thousand messages that wait.
    assert sum(len(one.messages) for one in floods) - answered < 500
    ota.stop()  # with a full queue


def test_a_message_of_a_client_that_leaves_is_done_all_the_same(ota, admin):
    leaver = ota.admin()
    commands = [{"command": "createProduct", "product": f"p{n}"} for n in range(100)]
    leaver.publish(CONTROL, {"commands": commands})
    leaver.disconnect()
    deadline = time.monotonic() + 10
    while len(admin.call("listProducts")["products"]) < 100:
        assert time.monotonic() < deadline


def test_info(ota, admin):
    started = int(time.time() * 1000)
    info = admin.call("getInfo")
    assert info["version"] and info["brokerVersion"].startswith("2.") and info["schemaVersion"] >= 1
    assert abs(started - info["startedAt"]) < 60_000
    assert info["databaseBytes"] > 0 and info["warnings"] == []
    assert (info["devices"], info["online"], info["activeTasks"]) == (0, 0, 0)
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "2")
    ota.device("p", "d").report_version("1")
    admin.call("createDevice", product="p", device="e")
    for device in ("d", "e"):
        admin.call("upgradeDevice", product="p", device=device, version="2")
    info = admin.call("getInfo")
    assert (info["devices"], info["online"], info["activeTasks"]) == (2, 1, 2)


def test_without_http_it_is_said_whom_that_excludes(broker):
    ota = broker(options={"download_listen": "off", "download_url": None})
    admin = ota.admin()
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "2")
    admin.call("createDevice", product="p", device="d")
    admin.call("upgradeDevice", product="p", device="d", version="2")
    [warning] = admin.call("getInfo")["warnings"]
    assert "MQTT" in warning


def test_a_command_waits_for_no_tick(admin):
    """An idle Mosquitto 2.1 sends what its tick published up to 100 ms later."""
    times = []
    for _ in range(20):
        began = time.monotonic()
        admin.call("getInfo")
        times.append(time.monotonic() - began)
    assert min(times) < 0.05, times
