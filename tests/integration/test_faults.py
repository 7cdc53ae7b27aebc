# SPDX-License-Identifier: BSD-3-Clause
"""The machine and its people at odds with the broker: no file descriptors, clocks that are stepped,
an hour in SIGSTOP, SIGHUP again and again, a stop in the midst of everything. (The disk is in
test_disk_full.py, the database in test_database_faults.py.)"""
import contextlib
import os
import resource
import signal
import socket
import time

import pytest

from common import BROKER_VERSION, TIMEOUT
from crowd import ANYBODY, Crowd, create, stock, wait_batch
from faults import Faults
from harness import ControlError
from steps import NEW, OLD, history, ours, upgrade
from test_downloads import Connection, ask
from test_restart import check_file

HOUR = 3_600_000
SIZE = 2_000_000


class Scene:
    """A device with a task under way, another one that waits, and foreign traffic."""

    def __init__(self, broker, **settings):
        self.broker = broker(**settings)
        self.admin = self.broker.admin()
        self.admin.call("createProduct", product="p")
        self.content = os.urandom(SIZE)
        self.admin.add_firmware("p", NEW, self.content)
        self.device = self.broker.device("p", "d")
        self.device.report_version(OLD)
        self.task = upgrade(self.admin, self.device)
        self.url = self.device.wait_notice()["url"]
        self.admin.call("createDevice", product="p", device="away")
        waiting = self.admin.call("upgradeDevice", product="p", device="away", version=NEW)
        self.waiting = waiting["task"]["task"]
        self.listen()

    def listen(self):
        self.foreign = self.broker.client("foreign")
        self.foreign.subscribe("a/b")

    def foreign_goes_on(self):
        since = len(self.foreign.messages)
        self.foreign.publish("a/b", b"x")
        self.foreign.wait_message(lambda m: m.topic == "a/b", since=since)

    def last_url(self):
        return self.device.updates("update_firmware")[-1]["url"]

    def all_goes_on(self):
        """Reports, commands, downloads, notices."""
        self.foreign_goes_on()
        self.device.report_progress("downloading", 1, NEW)
        assert ask(self.url).body == self.content
        self.device.report_progress("fail", code=-1, version=NEW)
        self.admin.call("retryTask", task=self.task)
        old = self.url
        self.device.wait_for(lambda: self.last_url() != old, TIMEOUT, "notice of the new attempt")
        self.url = self.last_url()
        assert self.admin.task(self.task)["status"] == "message_sent"
        assert self.admin.task(self.waiting)["status"] == "device_offline"


# -- file descriptors -----------------------------------------------------------------------------


def limit_files(broker, number):
    _, hard = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (number, hard))


def is_let_in(broker):
    """Whether a new connection gets its CONNACK."""
    with contextlib.suppress(OSError), socket.create_connection(
        ("127.0.0.1", broker.port), timeout=0.5
    ) as probe:
        probe.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
        return probe.recv(4)[:1] == b"\x20"
    return False


def test_no_file_descriptors(broker, tmp_path):
    """Who is connected is served; the rest as soon as there are some again."""
    scene = Scene(broker, options={"backup_dir": tmp_path})
    limit_files(scene.broker, 3)
    assert not is_let_in(scene.broker)
    scene.foreign_goes_on()
    scene.device.report_version("0.0.7")
    scene.admin.call("createProduct", product="q")
    with pytest.raises(ControlError, match="unavailable.*more file descriptors"):
        scene.admin.call("backup")
    with Connection(scene.url) as waiting:
        waiting.send()
        limit_files(scene.broker, 1024)
        scene.broker.device("p", "new").report_version(OLD)
        with contextlib.suppress(ConnectionError):  # it may have been turned away
            assert waiting.read().body == scene.content
    scene.all_goes_on()
    scene.admin.call("backup")


# -- clocks -----------------------------------------------------------------------------------------


STEPS = {"an hour on": HOUR, "an hour back": -HOUR, "ten years on": 87_600 * HOUR,
         "1970": -int(time.time() * 1000)}  # fmt: skip


# Keepalives of 2.0.21 follow the wall clock: whoever sets it on cuts everybody off.
not_2_0_21 = pytest.mark.skipif(BROKER_VERSION[:2] == (2, 0) and BROKER_VERSION > (2, 0, 11),
                                reason="2.0.21 cuts its clients off when the clock is set on")


@not_2_0_21
@pytest.mark.parametrize("step", STEPS)
def test_the_system_clock_is_stepped(broker, tmp_path, step):
    """No task fails, no history is out of order, and what is said has the new time."""
    faults = Faults(tmp_path / "faults")
    scene = Scene(broker, faults=faults, options={"upgrade_timeout": 900})
    before = scene.admin.call("getInfo")["serviceMs"]
    began = time.monotonic()
    faults.wall_ms = STEPS[step]
    scene.device.report_version("0.0.7")
    scene.all_goes_on()
    scene.device.report_version("0.0.8")
    faults.wall_ms = 0
    scene.device.report_version("0.0.9")
    rows = scene.admin.call("listDeviceHistory", product="p", device="d")["versions"]
    assert [row["version"] for row in rows] == ["0.0.9", "0.0.8", "0.0.7", OLD]
    assert history(scene.admin, scene.task) == ["message_sent", "downloading", "failed",
                                                "task_waiting", "message_sent"]  # fmt: skip
    passed = scene.admin.call("getInfo")["serviceMs"] - before
    assert passed <= (time.monotonic() - began) * 1000 + 200
    new = scene.admin.call("createProduct", product="q")["product"]
    assert abs(new["createdAt"] - time.time() * 1000) < 60_000
    scene.all_goes_on()


@not_2_0_21
def test_a_start_in_1970(broker, tmp_path):
    """A machine without a battery: its clock is set after the broker was started."""
    faults = Faults(tmp_path / "faults")
    scene = Scene(broker, faults=faults)
    scene.broker.stop()
    faults.wall_ms = STEPS["1970"]
    connects = [client.connects for client in (scene.admin, scene.device, scene.foreign)]
    scene.broker.start()
    for client, number in zip((scene.admin, scene.device, scene.foreign), connects):
        client.wait_reconnected(number)
    scene.device.report_version(OLD)
    scene.all_goes_on()
    scene.admin.call("createDevice", product="p", device="later")
    batch = create(scene.admin, startAt=HOUR, target={"devices": ["later"]})["batch"]
    wait_batch(scene.admin, batch, "scheduled")
    faults.wall_ms = 0
    scene.all_goes_on()
    wait_batch(scene.admin, batch, "running", device_offline=1)


@not_2_0_21
def test_a_batch_and_the_clock(broker, tmp_path):
    """startAt and expireAt are of the wall clock, and nothing else is."""
    faults = Faults(tmp_path / "faults")
    one = broker(faults=faults, options=ANYBODY)
    admin = one.admin()
    stock(admin)
    crowd = Crowd(one, 5)
    number = create(admin, startAt=int(time.time() * 1000) + HOUR, maxInFlight=2,
                    expireAt=int(time.time() * 1000) + 3 * HOUR)["batch"]  # fmt: skip
    wait_batch(admin, number, "scheduled")
    faults.wall_ms = -HOUR
    crowd.report_version("0.0.7")
    wait_batch(admin, number, "scheduled")
    faults.wall_ms = 2 * HOUR
    crowd.wait_notices(2)
    faults.wall_ms = -HOUR
    wait_batch(admin, number, "running", message_sent=2, task_waiting=3)
    faults.wall_ms = 4 * HOUR
    wait_batch(admin, number, "running", "expired", message_sent=2, cancelled=3)
    crowd.succeed(*crowd.notices())
    wait_batch(admin, number, "finished", "expired", succeeded=2, cancelled=3)


def test_an_hour_in_sigstop(broker, tmp_path):
    """As a machine that was suspended: the monotonic clock went on, and nobody's time is out."""
    faults = Faults(tmp_path / "faults")
    scene = Scene(broker, faults=faults, options={"upgrade_timeout": 900})
    before = scene.admin.call("getInfo")["serviceMs"]
    connects = scene.device.connects
    scene.broker.process.send_signal(signal.SIGSTOP)
    faults.mono_ms = HOUR
    scene.broker.process.send_signal(signal.SIGCONT)
    if BROKER_VERSION <= (2, 0, 11):  # later ones have a clock that isn't stepped here
        scene.device.wait_reconnected(connects)  # it hasn't been heard of for an hour
    scene.listen()
    scene.admin = scene.broker.admin()  # the other one's acknowledgement may have come after it
    now = scene.admin.task(scene.task)
    assert now["status"] == "message_sent"
    assert scene.admin.call("getInfo")["serviceMs"] - before < 10_000
    since = len(scene.device.messages)
    scene.device.report_version(OLD)
    scene.url = scene.device.wait_notice(since=since)["url"]
    scene.all_goes_on()


# -- signals ----------------------------------------------------------------------------------------


def test_sighup_in_a_loop(broker, tmp_path):
    roles = tmp_path / "roles"
    roles.write_text("chief admin\n")
    scene = Scene(broker, options={"roles_file": roles})
    end = time.monotonic() + 1
    count = 0
    while time.monotonic() < end:
        roles.write_text("chief admin\n" if count % 3 else "chief king\n")
        scene.broker.process.send_signal(signal.SIGHUP)
        scene.foreign_goes_on()
        scene.device.report_version(f"1.{count}")
        count += 1
    roles.write_text("chief viewer\n")
    since = len(scene.broker.log)
    scene.broker.process.send_signal(signal.SIGHUP)
    scene.broker.wait_log("roles were read again", since=since)
    assert any("the roles stay as they were" in line for line in ours(scene.broker))
    scene.broker.admin("chief").call("listProducts")
    with pytest.raises(ControlError, match="forbidden"):
        scene.broker.admin("chief").call("createProduct", product="q")
    scene.device.report_version(OLD)
    scene.all_goes_on()


@pytest.mark.slow_asan
@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_the_end_during_100_downloads_and_a_batch(broker, end):
    one = broker(options=ANYBODY)
    admin = one.admin()
    admin.call("createProduct", product="p")
    content = os.urandom(SIZE)
    admin.add_firmware("p", NEW, content)
    crowd = Crowd(one, 110)
    number = create(admin, stages=[{"count": 100}, {"percent": 100}])["batch"]
    notices = crowd.wait_notices(100)
    urls = {name: notice["url"] for name, notice in crowd.notices().items()}
    with contextlib.ExitStack() as stack:
        for url in urls.values():
            running = stack.enter_context(Connection(url, SO_RCVBUF=32768))
            running.send()
            assert running.read_head().status == 200
        connects, reached = crowd.connects, admin.connects
        began = time.monotonic()
        getattr(one, end)()
        assert time.monotonic() - began < 5, "it waits for nobody's download"
    check_file(one)
    one.start()
    admin.wait_reconnected(reached)
    crowd.wait_reconnected(connects)
    for url in list(urls.values())[:5]:
        part = ask(url, lines=["Range: bytes=1000000-"])
        assert (part.status, part.body) == (206, content[1_000_000:])
    wait_batch(admin, number, "running", message_sent=100, device_offline=10)
    crowd.report_version(OLD)
    crowd.succeed(*notices)
    crowd.succeed(*crowd.names[:0], *(set(crowd.wait_notices(110)) - set(notices)))
    wait_batch(admin, number, "finished", timeout=TIMEOUT, succeeded=110)
