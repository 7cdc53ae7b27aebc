# SPDX-License-Identifier: BSD-3-Clause
"""A database that can't be used as it is. The broker says what to do, and either doesn't start and
leaves the file alone, or goes on with what is there: it never begins a new one in its place."""
import contextlib
import errno
import os
import random
import shutil
import sqlite3

import pytest

import campaign
from faults import Faults
from harness import Broker, BrokerDied, ControlError
from steps import ours, stock, upgrade

SUFFIXES = ("", "-wal", "-shm", "-journal")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with the database of a broker that was stopped, and one that was killed."""
    folder = tmp_path_factory.mktemp("original")
    one = Broker(folder).start()
    admin = one.admin()
    stock(admin)
    for number in range(30):
        device = one.device("p", f"d{number}")
        device.report_version("0.0.1")
        if number % 3 == 0:
            upgrade(admin, device)
    one.stop()
    shutil.copy(one.db_path, folder / "whole.db")
    one.start()
    device = one.device("p", "late")
    for number in range(9):
        device.report_version(f"0.0.{number}")
    one.kill9()
    one.close()
    return folder


class Place:
    """A broker on a copy of that database, which was damaged."""

    def __init__(self, broker, original, folder, killed=False, **settings):
        folder.mkdir(exist_ok=True)
        self.path = folder / "ota.db"
        for suffix in SUFFIXES if killed else ():
            if (source := original / f"ota.db{suffix}").exists():
                shutil.copy(source, f"{self.path}{suffix}")
        if not killed:
            shutil.copy(original / "whole.db", self.path)
        self.broker, self.settings = broker, {"options": {"db_path": self.path}, **settings}

    def beside(self, suffix):
        return self.path.with_name(self.path.name + suffix)

    def start(self):
        return self.broker(**self.settings)

    def refuses(self, *words):
        """It doesn't start, its sentence has these words, and the files are as they were."""
        before = self.bytes()
        with pytest.raises(BrokerDied) as died:
            self.start()
        said = [line for line in str(died.value).split("\n") if line.startswith("mosquitto-ota:")]
        assert said and all(word in said[-1] for word in (*words, str(self.path))), said
        assert self.bytes() == before

    def bytes(self):
        files = [self.beside(suffix) for suffix in ("", "-wal")]
        return [file.read_bytes() if file.is_file() else b"" for file in files]


@pytest.fixture
def place(broker, original, tmp_path):
    return lambda **settings: Place(broker, original, tmp_path / "place", **settings)


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS])
def test_read_only_or_somebody_elses(place, tmp_path, reason):
    faults = Faults(tmp_path / "faults")
    one = place(faults=faults)
    faults.open_errno = reason
    one.refuses("let the broker's user write")
    faults.heal()
    assert one.start().admin().call("getInfo")["devices"] == 30


def test_read_only_but_for_its_directory(place, tmp_path):
    """The lock can be made: only the file itself can't be written."""
    one = place()
    faults = Faults(tmp_path / "faults", alone=True)
    one.settings["faults"] = faults
    faults.open_errno = errno.EACCES
    one.refuses("let the broker's user write")


def test_a_directory(place):
    one = place()
    one.path.unlink()
    one.path.mkdir()
    one.refuses("set db_path to a file")


def test_a_second_broker(place):
    one = place()
    first = one.start()
    admin = first.admin()
    with pytest.raises(BrokerDied, match=f"stop the other broker .*process {first.process.pid}"):
        one.start()
    admin.call("createProduct", product="q")
    first.stop()
    assert len(one.start().admin().call("listProducts")["products"]) == 2


def test_zero_bytes_where_a_database_was(place):
    one = place()
    one.start().stop()
    one.path.write_bytes(b"")
    one.refuses("from a backup", "empty")


def test_a_new_database_is_told(broker):
    one = broker()
    assert any("new database" in line for line in ours(one))
    one.restart()
    assert sum("new database" in line for line in ours(one)) == 1


def test_another_programs(place):
    one = place()
    one.path.unlink()
    with contextlib.closing(sqlite3.connect(one.path)) as db:
        db.execute("CREATE TABLE t (a)")
    one.refuses("belongs to another program", "set db_path")


def test_a_newer_one(place):
    one = place()
    with contextlib.closing(sqlite3.connect(one.path)) as db:
        db.execute("PRAGMA user_version = 999")
    one.refuses("install the newer mosquitto-ota", "999")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_cut_off(place, share):
    one = place()
    content = one.path.read_bytes()
    one.path.write_bytes(content[: int(len(content) * share)])
    one.refuses("from a backup")


def test_random_bytes(place):
    one = place()
    one.path.write_bytes(random.Random(1).randbytes(20_000))
    one.refuses("from a backup", "isn't a SQLite database")


# -- the WAL ----------------------------------------------------------------------------------------


def test_the_wal_is_read(place):
    one = place(killed=True)
    broker = one.start()
    assert broker.admin().call("getDevice", product="p", device="late")["device"]["version"]
    assert not any("damaged" in line for line in ours(broker))


def damage(wal, how):
    content = bytearray(wal.read_bytes())
    assert len(content) > 20_000
    if how == "cut":
        content = content[:10_000]
    elif how == "garbage":
        content = bytearray(random.Random(1).randbytes(len(content)))
    else:
        content[8_000] ^= 1
    wal.write_bytes(content)


@pytest.mark.parametrize("how", ["garbage", "flipped", "cut"])
def test_a_damaged_wal(place, how):
    """What it held is gone. That is told, where it can be known; what was in the file is there."""
    one = place(killed=True)
    damage(one.beside("-wal"), how)
    one.beside("-shm").unlink(missing_ok=True)
    broker = one.start()
    admin = broker.admin()
    assert admin.call("getInfo")["devices"] == 30
    told = [line for line in ours(broker) if "-wal" in line and "damaged" in line]
    assert bool(told) == (how != "cut"), ours(broker)
    admin.call("createProduct", product="q")
    broker.stop()
    with contextlib.closing(sqlite3.connect(one.path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- page by page -------------------------------------------------------------------------------------


def look_around(admin):
    """Reads and writes everywhere; a refusal is an answer."""
    rows = {}
    for name, fields in {
        "listProducts": {}, "listFirmware": {"product": "p"}, "listDevices": {"product": "p"},
        "listVersions": {"product": "p"}, "listTasks": {"product": "p"}, "getStats": {"product": "p"},
        "listAudit": {}, "getTask": {"task": 1},
        "createProduct": {"product": "q"}, "createDevice": {"product": "p", "device": "new"},
        "cancelTask": {"task": 1},
    }.items():  # fmt: skip
        try:
            rows[name] = admin.call(name, **fields)
        except ControlError as error:
            assert error.code in ("internal", "unavailable", "not_found", "conflict"), error
            assert len(error.text) > 10
    return rows


def flip(one, page, rng):
    """Some bytes of that page; gives whether the broker started with it."""
    content = bytearray(one.path.read_bytes())
    for _ in range(rng.choice([1, 20])):
        content[page * 4096 + rng.randrange(4096)] ^= rng.randrange(1, 256)
    one.path.write_bytes(content)
    try:
        broker = one.start()
    except BrokerDied as died:
        assert "mosquitto-ota: " in str(died), died
        assert one.path.read_bytes() == content
        return False
    look_around(broker.admin())
    device = broker.device("p", "d1")
    device.publish(device.report_topic, b'{"type":"report_version"}', qos=0, wait=False)
    foreign = broker.client("foreign")
    foreign.subscribe("a/b")
    foreign.publish("a/b", b"x")
    foreign.wait_message(lambda m: m.topic == "a/b")
    broker.close()
    return True


def flip_pages(broker, original, folder, pages, rng):
    started = 0
    for number, page in enumerate(pages):
        one = Place(broker, original, folder / str(number))
        started += flip(one, page, rng)
        shutil.rmtree(folder / str(number))
    return started


def page_count(original):
    return (original / "whole.db").stat().st_size // 4096


@pytest.mark.slow_asan
def test_flipped_bytes(broker, original, tmp_path):
    rng = random.Random(os.environ.get("OTA_SEED", "1"))
    pages = [0, *rng.sample(range(1, page_count(original)), 9)]
    flip_pages(broker, original, tmp_path, pages, rng)


@pytest.mark.campaign
def test_damage(broker, original, tmp_path):
    rounds, seed = campaign.count(3), campaign.seed()
    rng, result = random.Random(seed), "FAILED"
    try:
        pages = list(range(page_count(original))) * rounds
        started = flip_pages(broker, original, tmp_path, pages, rng)
        result = (f"ok: {len(pages)} damaged pages, {len(pages) - started} refused with a sentence,"
                  f" {started} not needed for a start; no crash, no new database")
    finally:
        campaign.record("damage", rounds, f"{result} (OTA_SEED={seed})")
