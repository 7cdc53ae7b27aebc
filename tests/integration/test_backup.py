# SPDX-License-Identifier: BSD-3-Clause
"""Backups while the broker works, and what is restored from them."""
import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import threading
import time

import pytest

from clients import CONTROL
from control_help import read_all, refuse
from harness import TIMEOUT, ControlError
from steps import stock, upgrade
from wire import Lost, Wire

PART = ".ota-backup.part"
LOADED = 20  # devices that report all the time


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "backups"
    made.mkdir()
    return made


@pytest.fixture
def ota(broker, folder):
    return broker(options={"backup_dir": folder, "max_report_rate": 1000})


def make_big(ota, megabytes):
    """So that a backup takes a moment: requests that are stored for a day."""
    ota.stop()
    now = int(time.time() * 1000)
    with contextlib.closing(sqlite3.connect(ota.db_path)) as db, db:
        db.executemany(
            "INSERT INTO request (user, request_id, digest, data, at) VALUES ('u', ?, ?, ?, ?)",
            ((f"r{n}", b"d" * 32, "x" * 100_000, now) for n in range(megabytes * 10)),
        )
    ota.start()


def whole(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
        return path


class Load:
    """Devices that report one version after the other, as fast as they are acknowledged."""

    def __init__(self, port):
        self.acknowledged = [0] * LOADED
        self._port = port
        self._going = True
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self):
        self._thread.start()
        while min(self.acknowledged) < 5:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self._going = False
        self._thread.join(TIMEOUT)

    async def _run(self):
        await asyncio.gather(*(self._report(number) for number in range(LOADED)))

    async def _report(self, number):
        wire = Wire(f"load{number}", f"load/d{number}", lambda topic, payload: None)
        await wire.connect(self._port)
        while self._going:
            version = {"version": str(self.acknowledged[number] + 1)}
            with contextlib.suppress(Lost):
                await wire.publish(f"$ota/report/load/d{number}",
                                   {"type": "report_version", "report": version})  # fmt: skip
                self.acknowledged[number] += 1
        wire.close()


def everything(admin):
    """All that is stored, but of the product that is under load; and the audit."""
    seen = {key: value for key, value in read_all(admin).items() if "load" not in key}
    products = [row for row in seen["listProducts",] if row["product"] != "load"]
    audit = [row for row in admin.list_all("listAudit", "entries") if row["command"] != "backup"]
    return {**seen, ("listProducts",): products, "audit": audit}


def versions(admin, number):
    rows = admin.list_all("listDeviceHistory", "versions", product="load", device=f"d{number}")
    return [row["version"] for row in reversed(rows)]


def test_a_backup_under_load_is_restored_on_another_broker(ota, broker, folder):
    admin = ota.admin()
    stock(admin, "p", "1", "2")
    admin.call("createProduct", product="load")
    make_big(ota, 20)
    admin.wait_reconnected(1)
    device = ota.device("p", "d")
    device.report_version("1")
    upgrade(admin, device, "2", timeoutSeconds=600)
    device.run_upgrade()
    waiting = ota.device("p", "e", subscribe=False)
    waiting.report_version("1")
    waiting.disconnect()
    upgrade(admin, waiting, "2")
    with Load(ota.port) as load:
        before = list(load.acknowledged)
        made = admin.call("backup", name="night.db")
        after = list(load.acknowledged)
        while min(now - then for now, then in zip(load.acknowledged, after)) < 5:
            time.sleep(0.01)  # it goes on all the same
    path = folder / "night.db"
    assert made == {"path": str(path), "bytes": path.stat().st_size}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(folder) == ["night.db"]
    shutil.copy(path, folder / "restored.db")
    other = broker(options={"db_path": whole(folder / "restored.db"), "admins": "admin"})
    restored = other.admin()
    for number in range(LOADED):
        stored = versions(restored, number)
        assert before[number] <= len(stored) <= after[number] + 1
        assert stored == versions(admin, number)[: len(stored)]
    assert everything(restored) == everything(admin)
    assert everything(restored)["audit"]
    again = other.device("p", "e")  # and what waited goes on there
    again.report_version("1")
    again.run_upgrade()
    assert other.device("p", "f").report_version("1")


def test_one_at_a_time_and_never_over_another(ota, folder):
    admin, other = ota.admin(), ota.admin()
    made = admin.call("backup")
    (name,) = os.listdir(folder)
    assert made["path"] == str(folder / name)
    assert time.strftime("ota-%Y%m%d-", time.gmtime()) in name and name.endswith(".db")
    refuse(admin, "backup", "already_exists", "name", name=name)
    for wrong in ("", "../x", "a b", ".x", "x" * 65, "x-wal"):
        refuse(admin, "backup", "invalid_request", "name", name=wrong)
    make_big(ota, 60)
    admin.wait_reconnected(1)
    other.wait_reconnected(1)
    command = {"commands": [{"command": "backup", "name": "a", "correlationData": "a"}]}
    admin.publish(CONTROL, command, wait=False)
    ota_waits_for(folder / PART)
    assert "running" in refuse(other, "backup", "conflict", name="b")
    assert other.call("getInfo")["version"]  # nobody else waits
    admin.wait_for(lambda: [m for m in admin.messages if b'"a"' in m.payload], what="answer")
    assert sorted(os.listdir(folder)) == ["a", name]
    codes = {row["target"]: row["code"] for row in admin.list_all(
        "listAudit", "entries", action="backup") if row["target"]}
    assert codes == {"a": "ok", name: "ok"}


def ota_waits_for(path):
    deadline = time.monotonic() + TIMEOUT
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_broker_that_ends_meanwhile(ota, folder, end):
    admin = ota.admin()
    make_big(ota, 150)
    admin.wait_reconnected(1)
    command = {"commands": [{"command": "backup", "name": "a"}]}
    admin.publish(CONTROL, command, qos=0, wait=False)  # nobody sends it again
    ota_waits_for(folder / PART)
    began = time.monotonic()
    getattr(ota, end)()
    left = set(os.listdir(folder))
    assert not left if end == "stop" else {PART} <= left <= {PART, f"{PART}-journal"}
    assert time.monotonic() - began < 5
    ota.start()
    admin.wait_reconnected(2)
    admin.call("backup", name="a")
    assert os.listdir(folder) == ["a"]
    whole(folder / "a")


def test_without_a_directory(broker, tmp_path):
    admin = broker().admin()
    assert "backup_dir" in refuse(admin, "backup", "unavailable")
    elsewhere = broker(options={"backup_dir": tmp_path / "none"})
    assert elsewhere.wait_log("backup_dir")
    with pytest.raises(ControlError, match="backup_dir"):
        elsewhere.admin().call("backup")


def test_otactl_makes_one(ota, folder):
    shown = ota.otactl("backup", "--name", "mine.db")
    assert "mine.db" in shown.stdout
    assert whole(folder / "mine.db")
