# SPDX-License-Identifier: BSD-3-Clause
"""The document that this project grew from, line by line: how its readers use the service."""
import os
import time

import pytest

from control_help import announce, archive, refuse, send_blocks, statuses, stored

PRODUCT, DEVICE = "testProduct", "testDevice0"


@pytest.fixture
def cloud(ota, admin):
    """testProduct with firmware 0.0.2; its device isn't connected yet."""
    admin.call("createProduct", product=PRODUCT)
    admin.add_firmware(PRODUCT, "0.0.2", os.urandom(5000))
    return admin


def upgrade(admin, **fields):
    return admin.call(
        "upgradeDevice", product=PRODUCT, device=DEVICE, version="0.0.2", **fields
    )["task"]["task"]


# -- Adding Firmware


def test_the_firmware_version_field(cloud):
    """1 to 32 English letters, numbers, dots, underscores and dashes."""
    for good in ("1", "a" * 32, "Rel_1.0-b", "0.0.1"):
        cloud.add_firmware(PRODUCT, good, b"x", filename="f.bin")
    for bad in ("", "a" * 33, "1 0", "1/0", "1+0", "\u0661", "\u00fc", "1\n", "v:1"):
        refuse(cloud, "addFirmware", "invalid_request", "version", **announce(PRODUCT, bad, b"x"))


def test_the_uploaded_firmware_file(cloud):
    """A .bin file or a .tar, .gz or .zip package."""
    for kind in ("tar", "gz", "zip"):
        cloud.add_firmware(PRODUCT, kind, archive(kind), filename=f"package.{kind}")
    cloud.add_firmware(PRODUCT, "bin", b"\x7fELF", filename="firmware.bin")
    for bad in ("firmware.exe", "firmware", "firmware.bin.sig", "firmware.rar", "firmware.7z"):
        text = refuse(
            cloud, "addFirmware", "invalid_request", "filename", **announce(PRODUCT, "x", b"x", bad)
        )
        assert ".bin" in text and ".tar" in text and ".gz" in text and ".zip" in text


def test_the_file_cannot_exceed_10_mb(cloud):
    fields = announce(PRODUCT, "big", b"x")
    refuse(cloud, "addFirmware", "too_large", "size", **{**fields, "size": 10 * 2**20 + 1})
    cloud.call("addFirmware", **{**fields, "size": 10 * 2**20})


def test_up_to_50_pieces_of_firmware(cloud):
    """If you want to upload more, you need to delete some old ones first."""
    for n in range(49):
        cloud.add_firmware(PRODUCT, f"v{n}", b"x")
    text = refuse(
        cloud, "addFirmware", "limit_exceeded", "product", **announce(PRODUCT, "more", b"x")
    )
    assert "delete some old ones first" in text
    cloud.call("deleteFirmware", product=PRODUCT, version="v0")
    cloud.add_firmware(PRODUCT, "more", b"x")


def test_once_the_upload_is_completed_the_firmware_appears_in_the_list(cloud):
    def listed():
        return [row["version"] for row in cloud.call("listFirmware", product=PRODUCT)["firmware"]]

    content = os.urandom(70_000)
    upload = cloud.call("addFirmware", **announce(PRODUCT, "0.0.3", content))["upload"]
    assert listed() == ["0.0.2"]
    send_blocks(cloud, upload, content)
    assert listed() == ["0.0.2"]
    cloud.call("commitFirmware", upload=upload)
    assert listed() == ["0.0.3", "0.0.2"]


# -- Single-device Upgrade


def test_the_version_list_has_all_uploaded_and_all_reported(ota, cloud):
    for name, version in (("a", "0.0.1"), ("b", "0.0.1"), ("c", "1.5")):
        ota.device(PRODUCT, name).report_version(version)
    rows = cloud.call("listVersions", product=PRODUCT)["versions"]
    assert {row["version"]: row["uploaded"] for row in rows} == {
        "0.0.1": False,
        "0.0.2": True,
        "1.5": False,
    }


def test_the_version_list_has_versions_that_were_reported_once(ota, cloud):
    device = ota.device(PRODUCT, DEVICE)
    for version in ("0.0.0", "0.0.1"):
        device.report_version(version)
    rows = cloud.call("listVersions", product=PRODUCT)["versions"]
    assert {row["version"]: row["devices"] for row in rows} == {"0.0.0": 0, "0.0.1": 1, "0.0.2": 0}


def test_a_device_over_tls_is_filtered_by_its_version_and_upgraded(broker, certificates):
    """testDevice0 is connected by MQTT over TLS (asymmetric encryption) and reports 0.0.1."""
    ota = broker(options={"device_identity": "username:%p%d"}, tls=certificates)
    admin = ota.admin()
    admin.call("createProduct", product=PRODUCT)
    content = os.urandom(200_000)
    admin.add_firmware(PRODUCT, "0.0.2", content)
    device = ota.device(PRODUCT, DEVICE, tls=PRODUCT + DEVICE)
    assert device.report_version("0.0.1")["result_code"] == 0
    admin.call("createDevice", product=PRODUCT, device="other")
    found = admin.call("listDevices", product=PRODUCT, version="0.0.1")["devices"]
    assert [row["device"] for row in found] == [DEVICE]
    task = admin.call("upgradeDevice", product=PRODUCT, device=found[0]["device"], version="0.0.2")
    assert device.run_upgrade() == content
    done = admin.wait_status(task["task"]["task"], "succeeded")
    assert (done["fromVersion"], done["confirmation"]) == ("0.0.1", "confirmed")
    assert admin.call("listDevices", product=PRODUCT, version="0.0.1")["devices"] == []


def test_every_status_and_its_history(ota, cloud):
    """device offline, task waiting, message successfully sent, downloading, downloaded, upgrading,
    upgraded successfully."""
    start = int(time.time() * 1000)
    cloud.call("createDevice", product=PRODUCT, device=DEVICE)
    task = upgrade(cloud)

    def now():
        row = cloud.task(task)
        listed = cloud.call("listTasks", product=PRODUCT, status=row["status"])["tasks"]
        assert stored(listed) == [stored(row)]  # the upgrade status list, filtered
        return row["status"], row["percent"]

    assert now() == ("device_offline", 0)
    device = ota.device(PRODUCT, DEVICE)
    assert now() == ("task_waiting", 0)  # connected; it gets its notice after its report
    device.report_version("0.0.1")
    notice = device.wait_notice("0.0.2")
    assert now() == ("message_sent", 0)
    for percent in (0, 10, 99):
        device.report_progress("downloading", percent)
        assert now() == ("downloading", percent)
    device.download(notice)
    device.report_progress("downloading", 100)
    assert now() == ("downloaded", 100)
    device.report_progress("burning")
    assert now() == ("upgrading", 100)
    device.report_progress("done")
    assert now() == ("succeeded", 100)
    assert cloud.task(task)["confirmation"] == "pending"
    device.report_version("0.0.2")
    assert cloud.task(task)["confirmation"] == "confirmed"

    answer = cloud.call("getTask", task=task)
    assert statuses(answer) == [
        "message_sent", "downloading", "downloaded", "upgrading", "succeeded", "succeeded",
    ]  # fmt: skip
    times = [event["at"] for event in answer["events"]]
    assert times == sorted(times) and start <= times[0] and times[-1] <= time.time() * 1000
    row = answer["task"]
    assert row["sentAt"] == times[0] and row["finishedAt"] == times[-2]
    assert row["updatedAt"] == times[-1] and row["deadlineAt"] is None
    assert [event["percent"] for event in answer["events"]] == [0, 0, 100, 100, 100, 100]


def test_upgrade_failed(ota, cloud):
    device = ota.device(PRODUCT, DEVICE)
    device.report_version("0.0.1")
    task = upgrade(cloud)
    device.wait_notice("0.0.2")
    device.report_progress("downloading", 30)
    device.report_progress("fail", code=-1, message="time_out")
    row = cloud.task(task)
    assert (row["status"], row["resultCode"], row["percent"]) == ("failed", -1, 30)
    assert (row["resultMessage"], row["deviceMessage"]) == ("download timed out", "time_out")
    answer = cloud.call("getTask", task=task)
    assert statuses(answer) == ["message_sent", "downloading", "failed"]
    assert answer["events"][-1]["at"] == row["finishedAt"]
    assert answer["events"][-1]["percent"] == 30


def test_cancelled(ota, cloud):
    cloud.call("createDevice", product=PRODUCT, device=DEVICE)
    task = upgrade(cloud)
    cloud.call("cancelTask", task=task)
    assert cloud.task(task)["status"] == "cancelled"
    assert statuses(cloud.call("getTask", task=task)) == ["cancelled"]


def test_fifteen_minutes_are_the_default(ota, cloud):
    device = ota.device(PRODUCT, DEVICE)
    device.report_version("0.0.1")
    task = upgrade(cloud)
    device.wait_notice("0.0.2")
    row = cloud.wait_status(task, "message_sent")
    assert abs(row["deadlineAt"] - row["sentAt"] - 15 * 60 * 1000) < 5000


@pytest.mark.parametrize("last", [None, "downloading", "burning"])
def test_no_success_in_that_time_is_a_failure_due_to_timeout(broker, last):
    """Only "upgraded successfully" stops the clock, no other report does."""
    ota = broker(options={"upgrade_timeout": 2})
    admin = ota.admin()
    admin.call("createProduct", product=PRODUCT)
    admin.add_firmware(PRODUCT, "0.0.2")
    device = ota.device(PRODUCT, DEVICE)
    device.report_version("0.0.1")
    task = upgrade(admin)
    device.wait_notice("0.0.2")
    if last:
        device.report_progress(last, 50)
    row = admin.wait_status(task, "failed")
    assert row["resultMessage"] == "timeout"
    assert 1900 <= row["finishedAt"] - row["sentAt"] < 30_000
