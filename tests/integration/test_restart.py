# SPDX-License-Identifier: BSD-3-Clause
"""What was answered or acknowledged is there after the broker ended, however it ended."""
import contextlib
import os
import sqlite3
import time

import pytest

from control_help import announce, bulk, read_all, refuse, send_blocks, statuses


def end_and_start(ota, admin, how):
    connects = admin.connects
    if how == "stop":
        ota.stop()
    else:
        ota.kill9()
    check_file(ota)
    ota.start()
    admin.wait_reconnected(connects)


def rows(ota, query):
    with contextlib.closing(sqlite3.connect(f"file:{ota.db_path}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def check_file(ota):
    assert rows(ota, "PRAGMA integrity_check") == [("ok",)]
    assert rows(ota, "PRAGMA foreign_key_check") == []


def fill(ota, admin, image=os.urandom):
    """A bit of everything: by every changing command and every report. Nobody stays connected.
    image(size) gives a firmware file's content."""
    bulk(
        admin,
        [{"command": "createProduct", "product": p, "description": p * 2} for p in ("p", "q", "r")],
    )
    admin.call("updateProduct", product="q", description="\u65e5\u672c\u8a9e <b> \U0001f680")
    admin.call("deleteProduct", product="r")
    for version, more in (("1", {}), ("2", {"order": 50}), ("3", {"description": "third"})):
        admin.add_firmware("p", version, image(70_000), **more)
    admin.add_firmware("q", "x", b"abc", filename="\u00e9.bin")
    admin.add_firmware("q", "y")
    admin.call("deleteFirmware", product="q", version="y")
    gone = admin.call("addFirmware", **announce("p", "gone", b"abc"))["upload"]
    admin.call("abortFirmware", upload=gone)
    waiting = ["offline", "cancelled", "retried", "held"]
    working = ["sent", "loading", "loaded", "burning", "done", "proved", "lying", "failed", "late"]
    bulk(
        admin,
        [
            {"command": "createDevice", "product": "p", "device": name, "tags": ["t", name]}
            for name in waiting
        ],
    )
    devices = {name: ota.device("p", name) for name in working}
    for device in devices.values():
        device.report_version("0")
        device.report_version("1")
    tasks = {
        name: admin.call(
            "upgradeDevice", product="p", device=name, version="2", timeoutSeconds=1000,
            retry={"max": 3, "delaySeconds": 60, "on": [-99, "timeout"]},
        )["task"]["task"]
        for name in waiting + working
    }  # fmt: skip
    for name, device in devices.items():
        device.wait_notice("2")
        admin.wait_status(tasks[name], "message_sent")
    for name in ("cancelled", "retried", "late"):
        admin.call("cancelTask", task=tasks[name])
    admin.call("retryTask", task=tasks["retried"])
    admin.call("updateDevice", product="p", device="held", hold=True, description="held back")
    reports = {
        "loading": ["downloading"],
        "loaded": ["downloading", "downloaded"],
        "burning": ["burning"],
        "done": ["done"],
        "proved": ["done"],
        "lying": ["done"],
        "failed": ["downloading", "fail"],
        "late": ["done"],
    }
    for name, states in reports.items():
        for state in states:
            percent = 37 if state == "downloading" else None
            devices[name].report_progress(state, percent, code=-4, message="\u00e4<'\n>")
    devices["proved"].report_version("2")
    devices["lying"].report_version("1.0-rollback")
    bulk(admin, [{"command": "createDevice", "product": "q", "device": "short"}])
    admin.call("deleteDevice", product="q", device="short")
    for device in devices.values():
        device.disconnect()
    while admin.call("getInfo")["online"]:
        pass
    return tasks


def without_percent(value):
    """A percentage may be some seconds old after a kill: it isn't written at each report."""
    if isinstance(value, dict):
        live = value.get("status") == "downloading" and "percent" in value
        return {k: without_percent(v) for k, v in value.items() if not (live and k == "percent")}
    return [without_percent(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_everything_is_read_again(ota, admin, how):
    tasks = fill(ota, admin)
    before = read_all(admin)
    by_name = {name: admin.task(task) for name, task in tasks.items()}
    assert {name: task["status"] for name, task in by_name.items()} == {
        "offline": "device_offline", "cancelled": "cancelled", "retried": "device_offline",
        "held": "device_offline", "sent": "message_sent", "loading": "downloading",
        "loaded": "downloaded", "burning": "upgrading", "done": "succeeded",
        "proved": "succeeded", "lying": "succeeded", "failed": "failed", "late": "succeeded",
    }  # fmt: skip
    for _ in range(2):
        end_and_start(ota, admin, how)
        after = read_all(admin)
        if how == "kill":
            before, after = without_percent(before), without_percent(after)
        for key, value in before.items():
            assert after[key] == value, key
        assert after.keys() == before.keys()
    # The clock goes on where it was.
    for name in ("sent", "loading", "loaded", "burning"):
        was, now = by_name[name]["deadlineAt"], admin.task(tasks[name])["deadlineAt"]
        assert -1000 < now - was < 60_000


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_running_upgrade_goes_on(ota, admin, how):
    admin.call("createProduct", product="p")
    content = os.urandom(300_000)
    admin.add_firmware("p", "2", content)
    device = ota.device("p", "d")
    device.report_version("1")
    task = admin.call("upgradeDevice", product="p", device="d", version="2")["task"]["task"]
    notice = device.wait_notice("2")
    device.report_progress("downloading", 0)
    first = device.download(notice, 0, 149_999)
    connects, since = device.connects, len(device.messages)
    end_and_start(ota, admin, how)
    device.wait_reconnected(connects)
    # The URL is the same; a device that only goes on with its download needs nothing else.
    assert first + device.download(notice, 150_000) == content
    # A device that begins again is told again.
    device.report_version("1")
    assert device.wait_notice("2", since)["url"] == notice["url"]
    device.report_progress("downloading", 100)
    device.report_progress("burning")
    connects = device.connects
    end_and_start(ota, admin, how)
    device.wait_reconnected(connects)
    device.report_progress("done")
    assert admin.task(task)["confirmation"] == "pending"
    connects = device.connects
    end_and_start(ota, admin, how)
    device.wait_reconnected(connects)
    device.report_version("2")
    done = admin.task(task)
    assert (done["status"], done["confirmation"], done["attempt"]) == ("succeeded", "confirmed", 1)
    assert statuses(admin.call("getTask", task=task)) == [
        "message_sent", "downloading", "downloaded", "upgrading", "succeeded", "succeeded",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_late_truth_and_confirmation_after_a_restart(ota, admin, how):
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "2")
    tasks = {}
    for name in ("late", "done", "failed"):
        device = ota.device("p", name)
        device.report_version("1")
        tasks[name] = admin.call("upgradeDevice", product="p", device=name, version="2")["task"][
            "task"
        ]
        device.wait_notice("2")
        device.disconnect()
    devices = {name: ota.device("p", name) for name in tasks}
    admin.call("cancelTask", task=tasks["late"])
    devices["done"].report_progress("done", version="2")
    devices["failed"].report_progress("fail", version="2", code=-2)
    connects = {name: device.connects for name, device in devices.items()}
    end_and_start(ota, admin, how)
    for name, device in devices.items():
        device.wait_reconnected(connects[name])
    devices["late"].report_progress("done", version="2")
    devices["done"].report_version("1")
    devices["failed"].report_progress("fail", version="2", code=-1)  # still the same failure
    assert admin.task(tasks["late"])["status"] == "succeeded"
    assert admin.task(tasks["done"])["confirmation"] == "contradicted"
    assert admin.task(tasks["failed"])["resultCode"] == -2


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_request_acts_once_over_a_restart(ota, admin, how):
    requests = {
        "createProduct": {"product": "p", "requestId": "r1"},
        "addFirmware": {**announce("p", "1", b"abc"), "requestId": "r2"},
        "createDevice": {"product": "p", "device": "d", "requestId": "r3"},
    }
    answers = {name: admin.call(name, **fields) for name, fields in requests.items()}
    end_and_start(ota, admin, how)
    for name, fields in requests.items():
        assert admin.call(name, **fields) == answers[name]
    refuse(admin, "createDevice", "conflict", "requestId", product="p", device="e", requestId="r3")
    assert len(admin.call("listDevices", product="p")["devices"]) == 1


def test_a_request_whose_answer_was_lost(ota, admin):
    """The broker is killed in the midst of a hundred commands: each is done once or not at all."""
    commands = [
        {"command": "createProduct", "product": f"p{n}", "requestId": f"r{n}"} for n in range(100)
    ]
    admin.publish("$CONTROL/ota/v1", {"commands": commands})
    end_and_start(ota, admin, "kill")
    data = bulk(admin, commands)
    assert [one["product"]["product"] for one in data] == [f"p{n}" for n in range(100)]
    assert len(admin.call("listProducts")["products"]) == 100


def test_time_in_which_the_broker_is_down_does_not_count(broker):
    ota = broker(options={"upgrade_timeout": 2})
    admin = ota.admin()
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "2")
    device = ota.device("p", "d")
    device.report_version("1")
    task = admin.call("upgradeDevice", product="p", device="d", version="2")["task"]["task"]
    device.wait_notice("2")
    before = admin.wait_status(task, "message_sent")
    connects = admin.connects
    ota.stop()
    time.sleep(2)  # what is tested is that this pause is none to the clock
    ota.start()
    admin.wait_reconnected(connects)
    after = admin.task(task)
    assert after["status"] == "message_sent"
    assert 1900 < after["deadlineAt"] - before["deadlineAt"] < 60_000
    failed = admin.wait_status(task, "failed")
    assert failed["finishedAt"] - failed["sentAt"] >= 3900


def test_a_product_that_is_being_deleted_stays_deleted(ota, admin):
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "1", os.urandom(500_000))
    devices = [{"command": "createDevice", "product": "p", "device": f"d{n}"} for n in range(600)]
    bulk(admin, devices)
    admin.call("deleteProduct", product="p", force=True)
    end_and_start(ota, admin, "kill")
    assert admin.call("listProducts")["products"] == []
    assert admin.call("getInfo")["devices"] == 0
    admin.call("createProduct", product="p")
    assert admin.call("listDevices", product="p")["devices"] == []
    # In the end nothing is left of it in the file, either.
    deadline = time.monotonic() + 20
    while rows(ota, "SELECT count(*) FROM device") != [(0,)] or rows(
        ota, "SELECT count(*) FROM image_block"
    ) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert rows(ota, "SELECT count(*) FROM product") == [(1,)]


def test_an_upload_goes_on_where_its_last_answer_was(ota, admin):
    admin.call("createProduct", product="p")
    content = os.urandom(250_000)
    fields = announce("p", "1", content)
    upload = admin.call("addFirmware", **fields)["upload"]
    offset = 0
    while offset < len(content):
        offset = send_blocks(admin, upload, content[: offset + 60_000], offset)
        end_and_start(ota, admin, "kill")
        assert admin.call("addFirmware", **fields)["offset"] == offset
    assert admin.call("commitFirmware", upload=upload)["firmware"]["size"] == len(content)
