# SPDX-License-Identifier: BSD-3-Clause
"""A disk that takes nothing any more, from any write on, and room again later (and a database that
another program keeps locked): what was acknowledged is there, what was not changed nothing, foreign
traffic goes on, and nobody restarts anything."""
import asyncio
import base64
import contextlib
import errno
import itertools
import os
import sqlite3
import subprocess
import time

import pytest

from common import TIMEOUT
from control_help import announce
from crowd import ANYBODY, Crowd, create, get, tasks, until, wait_batch
from faults import Faults
from harness import BrokerDied, ControlError
from steps import NEW, ours, stock
from test_restart import check_file
from wire import Lost, Wire

SENTENCES = {errno.ENOSPC: "free some space", errno.EIO: "check the disk",
             errno.EROFS: "check the disk"}  # fmt: skip


def is_acknowledged(broker, name, report):
    """Whether the report got its PUBACK; else the connection is closed."""

    async def once():
        wire = Wire(f"p-{name}", f"p/{name}", lambda *_: None)
        await wire.connect(broker.port)
        try:
            await wire.publish(f"$ota/report/p/{name}", report)
            return True
        except Lost:
            return False
        finally:
            wire.close()

    return asyncio.run(once())


def version(text):
    return {"type": "report_version", "report": {"version": text}}


class Acts:
    """One thing of each kind, numbered. do() says whether it was acknowledged, there() whether it is
    done."""

    def __init__(self, broker, numbers, words):
        self.broker, self.admin, self.words = broker, broker.admin(), words
        stock(self.admin)
        self.tasks, self.batches = {}, {}
        for n in numbers:
            self.admin.call("createDevice", product="p", device=f"t{n}")
            task = self.admin.call("upgradeDevice", product="p", device=f"t{n}", version=NEW)
            self.tasks[n] = task["task"]["task"]
        self.admin.call("createDevice", product="p", device="v")
        self.foreign = broker.client("foreign")
        self.foreign.subscribe("a/b")

    def is_accepted(self, command, /, **fields):
        return self.answer(command, **fields) is not None

    def answer(self, command, /, **fields):
        try:
            return self.admin.call(command, **fields)
        except ControlError as error:
            assert error.code == "unavailable" and self.words in error.text, error
            return None

    def device(self, name):
        try:
            return self.admin.call("getDevice", product="p", device=name)["device"]
        except ControlError as error:
            assert error.code == "not_found"
            return {"version": None, "device": None}

    def do_register(self, n):
        return is_acknowledged(self.broker, f"r{n}", version("1"))

    def there_register(self, n):
        return self.device(f"r{n}")["version"] == "1"

    def do_version(self, n):
        return is_acknowledged(self.broker, "v", version(f"1.{n}"))

    def there_version(self, n):
        history = self.admin.call("listDeviceHistory", product="p", device="v")["versions"]
        return f"1.{n}" in [row["version"] for row in history]

    def do_progress(self, n):
        progress = {"state": "burning", "result_code": "0"}
        report = {"type": "report_progress", "report": {"progress": progress, "version": NEW}}
        return is_acknowledged(self.broker, f"t{n}", report)

    def there_progress(self, n):
        return self.admin.task(self.tasks[n])["status"] == "upgrading"

    def do_command(self, n):
        return self.is_accepted("createDevice", product="p", device=f"c{n}")

    def there_command(self, n):
        return self.device(f"c{n}")["device"] == f"c{n}"

    def do_batch(self, n):
        return self.is_accepted("createBatch", product="p", version=NEW, name=f"b{n}", draft=True,
                                target={"devices": ["v"]})  # fmt: skip

    def there_batch(self, n):
        return f"b{n}" in [row["name"] for row in self.admin.list_all("listBatches", "batches")]

    def do_upload(self, n):
        fields = announce("p", f"u{n}", bytes(50_000))
        upload = self.answer("addFirmware", **fields)
        if upload is None:
            return False
        data = base64.b64encode(bytes(50_000)).decode()
        if upload["offset"] == 0 and not self.is_accepted(
            "uploadFirmwareBlock", upload=upload["upload"], offset=0, data=data
        ):
            return False
        return self.is_accepted("commitFirmware", upload=upload["upload"])

    def there_upload(self, n):
        rows = self.admin.call("listFirmware", product="p")["firmware"]
        return f"u{n}" in [row["version"] for row in rows]

    def foreign_goes_on(self):
        since = len(self.foreign.messages)
        self.foreign.publish("a/b", b"x")
        self.foreign.wait_message(lambda m: m.topic == "a/b", since=since)

    def try_one(self, kind, n, break_disk, mend_disk):
        """Whether it was acknowledged while the disk was broken."""
        do, there = getattr(self, f"do_{kind}"), getattr(self, f"there_{kind}")
        break_disk()
        done = do(n)
        self.foreign_goes_on()
        mend_disk()
        assert there(n) == done, f"{kind} {n}: acknowledged {done}, there {not done}"
        if not done:
            end = time.monotonic() + TIMEOUT
            while not do(n):
                assert time.monotonic() < end, f"{kind} {n}: not even with room"
            assert there(n)
        return done

    def check(self, kinds, numbers):
        for kind, n in itertools.product(kinds, numbers):
            assert getattr(self, f"there_{kind}")(n), f"{kind} {n} is lost"


KINDS = ("register", "version", "progress", "command", "batch", "upload")
AFTER = (0, 1, 2, 3, 5, 8, 13, 21, 200)


@pytest.mark.slow_asan
@pytest.mark.parametrize("reason, after", [(errno.ENOSPC, AFTER), (errno.EIO, (0, 1, 4, 200)),
                                           (errno.EROFS, (0, 200))])  # fmt: skip
def test_writes_that_fail(broker, tmp_path, reason, after):
    faults = Faults(tmp_path / "faults")
    one = broker(faults=faults)
    acts = Acts(one, after, SENTENCES[reason])
    seen = {kind: set() for kind in KINDS}
    for n, kind in itertools.product(after, KINDS):
        done = acts.try_one(kind, n, lambda n=n: faults.fail_writes(reason, n), faults.heal)
        seen[kind].add(done)
    assert all(outcomes == {True, False} for outcomes in seen.values()), seen
    assert any(SENTENCES[reason] in line for line in ours(one)), "the log says what to do"
    connects = acts.admin.connects
    one.kill9()
    check_file(one)
    one.start()
    acts.admin.wait_reconnected(connects)
    acts.check(KINDS, after)


@pytest.mark.slow_asan
@pytest.mark.parametrize("after", [0, 30, 70])
def test_while_a_batch_is_made_and_sent(broker, tmp_path, after):
    """It waits, and goes on: every device has its task, and got its notice once."""
    faults = Faults(tmp_path / "faults")
    one = broker(faults=faults, options=ANYBODY)
    admin = one.admin()
    stock(admin)
    crowd = Crowd(one, 300)
    faults.fail_writes(after=after)
    with contextlib.suppress(ControlError):
        create(admin, name="b")
    one.wait_log("free some space")
    faults.heal()
    batches = admin.call("listBatches")["batches"]
    number = batches[0]["batch"] if batches else create(admin)["batch"]
    wait_batch(admin, number, "running", message_sent=300)
    crowd.wait_notices(300)
    assert all(task["attempt"] == 1 for task in tasks(admin, number).values())
    crowd.succeed(*crowd.names)
    wait_batch(admin, number, "finished", succeeded=300)
    assert get(admin, number)["confirmed"] == 300


def test_another_program_keeps_it_locked(broker):
    one = broker()
    acts = Acts(one, range(1), "end the other program")
    with contextlib.closing(sqlite3.connect(one.db_path, isolation_level=None)) as db:
        seen = {acts.try_one(kind, 0, lambda: db.execute("BEGIN IMMEDIATE"), db.rollback)
                for kind in KINDS}  # fmt: skip
    assert seen == {False}
    assert any("end the other program" in line for line in ours(one))
    acts.check(KINDS, range(1))


# -- a real one -----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class Filler:
    """Takes all room of a folder's disk, and gives it back."""

    def __init__(self, folder):
        self.path = folder / "filler"

    def fill(self):
        with open(self.path, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def remove(self):
        self.path.unlink()


def test_a_small_disk(broker, small_disk):
    filler = Filler(small_disk)
    one = broker(options={"db_path": small_disk / "ota.db"})
    acts = Acts(one, range(2), "free some space")
    seen = {acts.try_one(kind, n, filler.fill, filler.remove)
            for n, kind in itertools.product(range(2), KINDS)}  # fmt: skip
    assert False in seen, "it was never full"
    acts.check(KINDS, range(2))
    filler.fill()
    one.stop()
    filler.remove()
    one.start()


def test_a_start_on_a_full_disk(broker, small_disk):
    filler = Filler(small_disk)
    filler.fill()
    options = {"db_path": small_disk / "ota.db"}
    with pytest.raises(BrokerDied, match="mosquitto-ota: .*(free some space|make room)"):
        broker(options=options)
    filler.remove()
    one = broker(options=options)
    stock(one.admin())
    one.stop()
    filler.fill()
    with contextlib.suppress(BrokerDied):  # where nothing is to be written it may well start
        one.start()
        assert len(one.admin().call("listProducts")["products"]) == 1
        one.stop()
    filler.remove()
    one.start()
    until(lambda: one.admin().call("listProducts")["products"], "product")
