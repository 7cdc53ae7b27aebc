# SPDX-License-Identifier: BSD-3-Clause
"""otasim's downloads over MQTT, whole upgrades of them, against the real broker."""
import json
import os
import subprocess
import threading
import time

import pytest

from harness import OTASIM, TIMEOUT
from steps import NEW, OLD, upgrade

CONTENT = os.urandom(400_001)


class Sim:
    """One simulated device; its happenings as they come."""

    def __init__(self, broker, *words):
        self.process = subprocess.Popen(
            [OTASIM, "-h", "127.0.0.1", "-p", str(broker.port), "--product", "p", "--device", "d",
             "--version", OLD, "--burn-ms", "20", "--reboot-ms", "20", "--progress-ms", "50",
             "--json", "--inband", *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.seen = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.seen.append(json.loads(line))
                self.changed.notify_all()

    def events(self, name):
        return [event for event in self.seen if event["event"] == name]

    def wait(self, name, count=1, test=lambda event: True):
        """The last of so many of them."""

        def there():
            found = [event for event in self.events(name) if test(event)]
            return found if len(found) >= count else None

        with self.changed:
            found = self.changed.wait_for(there, TIMEOUT)
        assert found, (name, self.seen[-20:])
        return found[-1]

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.reader.join()
        self.process.stdout.close()


@pytest.fixture
def simulate():
    made = []

    def start(broker, *words):
        made.append(Sim(broker, *words))
        return made[-1]

    yield start
    for one in made:
        one.stop()


class Place:
    def __init__(self, broker):
        self.broker, self.admin = broker, broker.admin()
        self.admin.call("createProduct", product="p")
        self.admin.add_firmware("p", NEW, CONTENT)
        self.admin.call("createDevice", product="p", device="d")
        self.product, self.name = "p", "d"

    def upgrade(self, **fields):
        return upgrade(self.admin, self, **fields)

    def confirmed(self, task):
        self.admin.wait_status(task, "succeeded")
        return self.admin.task(task)["confirmation"] == "confirmed"

    def blocks(self):
        return self.admin.call("getInfo")["blocks"]


@pytest.mark.parametrize("words", [
    ("--block-qos", 0), ("--block-qos", 1, "--block-length", 5000, "--block-count", 32),
    ("--block-qos", 2, "--block-length", 65536, "--block-count", 3),
])
def test_a_whole_upgrade(ota, simulate, tmp_path, words):
    place, saved = Place(ota), tmp_path / "image"
    sim = simulate(ota, "--save", saved, "--exit-when-done", *words)
    task = place.upgrade()
    assert sim.process.wait(TIMEOUT) == 0
    assert place.confirmed(task)
    assert saved.read_bytes() == CONTENT
    assert sim.wait("verified")["digests"] == "md5, sha256"
    counted = place.blocks()
    assert (counted["bytes"], counted["refused"], counted["waiting"]) == (len(CONTENT), 0, 0)
    assert place.admin.call("getInfo")["downloads"]["requests"] == 0


def test_an_upgrade_without_http(broker, simulate):
    one = broker(options={"download_listen": "off", "download_url": None})
    place = Place(one)
    sim = simulate(one, "--exit-when-done")
    task = place.upgrade()
    assert sim.process.wait(TIMEOUT) == 0 and place.confirmed(task)


def test_a_reboot_in_the_middle(ota, simulate):
    place = Place(ota)
    sim = simulate(ota, "--fault", "reboot@50", "--exit-when-done", "--block-qos", 1)
    task = place.upgrade()
    assert sim.process.wait(TIMEOUT) == 0 and place.confirmed(task)
    assert [event["offset"] for event in sim.events("download_start")][1] >= len(CONTENT) // 2
    assert place.blocks()["bytes"] < len(CONTENT) * 3 // 2  # it went on where it was cut off


@pytest.mark.parametrize("qos", [0, 1])
def test_a_broker_that_dies_in_the_middle(broker, simulate, qos):
    """The same device, the same image: it asks for the rest."""
    one = broker(options={"block_rate": 200_000})
    place = Place(one)
    sim = simulate(one, "--exit-when-done", "--block-qos", qos)
    task = place.upgrade()
    sim.wait("downloading", test=lambda event: event["percent"] > 20)
    connects = place.admin.connects
    one.kill9()
    cut = sim.wait("download_cut")
    assert cut["reason"] == "connection lost" and cut["offset"] > len(CONTENT) // 10
    one.options["block_rate"] = 100_000_000
    one.start()
    place.admin.wait_reconnected(connects)
    assert sim.process.wait(TIMEOUT) == 0 and place.confirmed(task)
    assert place.blocks()["bytes"] <= len(CONTENT) - cut["offset"]
    assert len(sim.events("download_start")) == 1


def test_a_cancel_in_the_middle(broker, simulate):
    one = broker(options={"block_rate": 200_000})
    place = Place(one)
    sim = simulate(one)
    task = place.upgrade()
    sim.wait("downloading", test=lambda event: event["percent"] > 5)
    place.admin.call("cancelTask", task=task)
    sim.wait("cancelled")
    deadline = time.monotonic() + TIMEOUT
    while place.blocks()["waiting"]:  # dropped when its turn comes
        assert time.monotonic() < deadline
    assert place.blocks()["bytes"] < len(CONTENT)
    task = place.upgrade()  # and then another
    place.admin.call("cancelTask", task=task)
    task = place.upgrade()
    assert place.admin.wait_status(task, "succeeded")


def test_held_to_a_speed(ota, simulate):
    place = Place(ota)
    sim = simulate(ota, "--speed", 4_000_000, "--exit-when-done")
    task = place.upgrade()
    assert sim.process.wait(TIMEOUT) == 0 and place.confirmed(task)
    assert place.blocks()["messages"] == -(-len(CONTENT) // 16384)


def test_a_whole_fleet(ota):
    """Fifty at once, with faults, all through one loop."""
    place = Place(ota)
    process = subprocess.Popen(
        [OTASIM, "-h", "127.0.0.1", "-p", str(ota.port), "--product", "p", "--count", "50",
         "--device", "f%02d", "--version", OLD, "--burn-ms", "20", "--reboot-ms", "20", "--quiet",
         "--inband", "--exit-when-done", "--mix", "ok=80,reboot@30=20", "--seed", "3",
         "--block-length", "32768"], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        admin = place.admin
        while admin.call("listProducts")["products"][0]["online"] < 50:
            assert process.poll() is None
        admin.call("createBatch", product="p", version=NEW, target={"fromVersions": [OLD]},
                   maxInFlight=50)
        assert process.wait(2 * TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
    counted = place.blocks()
    assert counted["bytes"] >= 50 * len(CONTENT)


def test_it_is_none_of_the_vendors():
    run = subprocess.run([OTASIM, "--product", "p", "--vendor", "--inband"], capture_output=True,
                         text=True, timeout=TIMEOUT, check=False)
    assert run.returncode == 2 and "--inband" in run.stderr
