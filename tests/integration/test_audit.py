# SPDX-License-Identifier: BSD-3-Clause
"""The audit: who asked for which change, and what came of it."""
import json
import time

from clients import CONTROL
from control_help import announce, base64_of, refuse
from steps import OLD, round_trip, stock


def entries(admin, **fields):
    """Newest first, without their times."""
    rows = admin.list_all("listAudit", "entries", **fields)
    assert all(abs(row["at"] - time.time() * 1000) < 60_000 for row in rows)
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    return [{key: row[key] for key in row if key != "at"} for row in rows]


def wait_entries(admin, count, **fields):
    """Refusals are written by the next tick, and counts within a second."""
    deadline = time.monotonic() + 10
    while sum(row["count"] for row in entries(admin, **fields)) < count:
        assert time.monotonic() < deadline, entries(admin, **fields)
        time.sleep(0.02)
    return entries(admin, **fields)


def test_accepted_refused_and_forbidden_commands(ota, admin):
    op = ota.admin("op", client_id="the-op")
    admin.call("createProduct", product="p", requestId="once")
    admin.call("createProduct", product="p", requestId="once")
    admin.call("getInfo")
    refuse(admin, "createProduct", "already_exists", "product", product="p")
    refuse(admin, "createDevice", "invalid_request", "bogus", product="p", device="d", bogus="x")
    refuse(op, "deleteProduct", "forbidden", product="p")
    refuse(op, "listAudit", "forbidden")
    for _ in range(5):
        refuse(op, "cancelTask", "not_found", "task", task=77)
    refuse(op, "noSuch", "invalid_request", "command")
    wait_entries(admin, 10)
    mine, the_op = admin.client_id, "the-op"
    expected = [
        ("admin", mine, "createProduct", "p", "ok", 1),
        ("admin", mine, "createProduct", "p", "already_exists", 1),
        ("admin", mine, "createDevice", "p/d", "invalid_request", 1),
        ("op", the_op, "deleteProduct", "p", "forbidden", 1),
        ("op", the_op, "listAudit", None, "forbidden", 1),
        ("op", the_op, "cancelTask", "task 77", "not_found", 5),
        ("op", the_op, "noSuch", None, "invalid_request", 1),
    ]
    keys = ("user", "client", "command", "target", "code", "count")
    found = [tuple(row[key] for key in keys) for row in entries(admin)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert [row["code"] for row in entries(admin, user="op", action="deleteProduct")] == [
        "forbidden"
    ]
    assert not entries(admin, since=int(time.time() * 1000) + 1000)


def test_each_change_has_an_entry_and_no_entry_has_a_secret(ota, admin):
    secret = "hush-hush"
    admin.call("createProduct", product="p", description=secret)
    admin.call("updateProduct", product="p", description=secret)
    content = secret.encode() * 100
    for version in ("1", "2"):
        upload = admin.call("addFirmware", **announce("p", version, content))["upload"]
        for at in range(0, len(content), 90):
            data = base64_of(content[at : at + 90])
            admin.call("uploadFirmwareBlock", upload=upload, offset=at, data=data)
        admin.call("commitFirmware", upload=upload)
    admin.call("abortFirmware", upload=admin.call("addFirmware", **announce("p", "3", b"x"))[
        "upload"])
    admin.call("createDevice", product="p", device="d", tags=[secret])
    admin.call("updateDevice", product="p", device="d", description=secret)
    task = admin.call("upgradeDevice", product="p", device="d", version="1")["task"]["task"]
    admin.call("cancelTask", task=task)
    admin.call("retryTask", task=task)
    admin.call("cancelTask", task=task)
    batch = admin.call("createBatch", product="p", version="1", name=secret,
                       target={"all": True}, draft=True)["batch"]["batch"]
    admin.call("addBatchDevices", batch=batch, devices=["d"])
    admin.call("cancelBatch", batch=batch)
    admin.call("createBatch", product="p", version="1", target={"all": True}, dryRun=True)
    admin.call("deleteFirmware", product="p", version="2")
    admin.call("deleteDevice", product="p", device="d")
    admin.call("deleteProduct", product="p", force=True)
    rows = entries(admin)
    assert all(row["code"] == "ok" and row["count"] == 1 for row in rows)
    assert [(row["command"], row["target"]) for row in reversed(rows)] == [
        ("createProduct", "p"), ("updateProduct", "p"),
        ("addFirmware", "p 1 (upload 1)"), ("commitFirmware", "upload 1"),
        ("addFirmware", "p 2 (upload 2)"), ("commitFirmware", "upload 2"),
        ("addFirmware", "p 3 (upload 3)"), ("abortFirmware", "upload 3"),
        ("createDevice", "p/d"), ("updateDevice", "p/d"),
        ("upgradeDevice", f"p/d 1 (task {task})"), ("cancelTask", f"task {task}"),
        ("retryTask", f"task {task}"), ("cancelTask", f"task {task}"),
        ("createBatch", f"p 1 (batch {batch})"), ("addBatchDevices", f"batch {batch}"),
        ("cancelBatch", f"batch {batch}"), ("deleteFirmware", "p 2"), ("deleteDevice", "p/d"),
        ("deleteProduct", "p"),
    ]  # fmt: skip
    assert secret not in json.dumps(rows)


def test_kill9_separates_no_command_from_its_entry(ota, admin):
    """As many entries as products, whichever of them the broker lived to make."""
    for number in range(3):
        mass = ota.admin(client_id=f"mass{number}")
        for part in range(40):
            commands = [{"command": "createProduct", "product": f"p{number}-{part}-{n}"}
                        for n in range(25)]  # fmt: skip
            mass.publish(CONTROL, {"commands": commands}, qos=0, wait=False)
        mass.wait_message(lambda m: True)
        ota.kill9()
        ota.start()
        admin.wait_reconnected(number + 1)
        made = admin.list_all("listProducts", "products", limit=200)
        told = entries(admin, action="createProduct", limit=200)
        assert len(made) >= 25
        assert sorted(row["target"] for row in told) == sorted(p["product"] for p in made)


def test_false_identities_are_counted(ota, admin):
    stock(admin)
    ota.device("p", "d").report_version(OLD)
    liar = ota.client("p/liar", client_id="liar")
    report = {"type": "report_version", "report": {"version": OLD}}
    for _ in range(30):
        liar.publish("$ota/report/p/d", report)
    round_trip(liar)
    (entry,) = wait_entries(admin, 30, action="identity")
    assert entry == {"user": "p/liar", "client": "liar", "command": "identity", "target": "p/d",
                     "code": "forbidden", "count": 30}  # fmt: skip


def test_entries_survive_a_stop(ota, admin):
    admin.call("createProduct", product="p")
    for _ in range(7):
        refuse(admin, "createProduct", "already_exists", "product", product="p")
    ota.restart()
    admin.wait_reconnected(1)
    assert [(row["code"], row["count"]) for row in entries(admin)] == [
        ("already_exists", 7), ("ok", 1),
    ]  # fmt: skip


def test_otactl_shows_it(ota, admin):
    admin.call("createProduct", product="p")
    shown = ota.otactl("audit", "--json")
    assert '"createProduct"' in shown.stdout
    assert "createProduct" in ota.otactl("audit", "--user", "admin").stdout
