# SPDX-License-Identifier: BSD-3-Clause
"""Gateways: one connection speaks for devices that aren't clients (device-protocol.md)."""
import json
import subprocess

import pytest

from clients import Client
from console_help import wait_until
from harness import OTASIM, TIMEOUT, ControlError
from steps import NEW, OLD, history, newly_refused, refused, round_trip, stock

OPERATION, RESULT = "$gateway/operation/gate/g1", "$gateway/operation/result/gate/g1"
UNDER_WAY = {"message_sent", "downloading", "downloaded", "upgrading"}
NAMES = ("d1", "d2", "d3")
VERSION = {"type": "report_version", "report": {"version": OLD}}


class Gateway(Client):
    """The client of gate/g1, driven step by step."""

    def __init__(self, broker, **settings):
        super().__init__(broker, "gate/g1", client_id="gateg1", **settings)
        if self.connected:
            assert self.subscribe(RESULT, 1) < 128

    def ask(self, kind, *names, product="p"):
        """The results by device."""
        since = len(self.messages)
        devices = [{"product_id": product, "device_name": name} for name in names]
        self.publish(OPERATION, {"type": kind, "payload": {"devices": devices}}, qos=0, wait=False)
        message = self.wait_message(lambda m: m.topic == RESULT, since=since, what="result")
        answer = json.loads(message.payload)
        assert answer["type"] == kind
        return {one["device_name"]: one["result"] for one in answer["payload"]["devices"]}

    def report(self, name, payload):
        self.publish(f"$ota/report/p/{name}", payload)

    def bring_up(self, *names):
        """As the vendor's sample: announced, subscribed, reported."""
        for name in names:
            assert self.ask("online", name) == {name: 0}
            assert self.subscribe(f"$ota/update/p/{name}", 1) < 128
            self.report(name, VERSION)
            self.wait_message(lambda m, n=name: m.topic.endswith(n) and b"version_rsp" in m.payload)

    def notices(self):
        """Of which devices there were notices, in order."""
        return [m.topic.split("/")[-1] for m in self.messages if b"update_firmware" in m.payload]


def bond(name):
    return {"product": "p", "device": name, "gatewayProduct": "gate", "gateway": "g1"}


@pytest.fixture
def bound(admin):
    """The admin of a broker where three devices are bound to gate/g1."""
    stock(admin)
    admin.call("createProduct", product="gate")
    admin.call("createDevice", product="gate", device="g1")
    for name in NAMES:
        admin.call("createDevice", product="p", device=name)
        admin.call("bindDevice", **bond(name))
    return admin


def online(admin):
    rows = admin.call("listDevices", product="p")["devices"]
    return [row["device"] for row in rows if row["online"]]


# -- whole upgrades ---------------------------------------------------------------------------------


def simulate(ota, *words):
    return [
        OTASIM, "-h", "127.0.0.1", "-p", str(ota.port), "--product", "p", "--version", OLD,
        "--device", "d%d", "--count", "3", "--gateway", "gate/g1", "--json", *words,
    ]  # fmt: skip


def test_three_devices_one_after_the_other(ota, bound):
    """In whatever order they are told: never two at once, and each to its end."""
    assert bound.subscribe("$ota/event/p/+") < 128
    bound.call("createBatch", product="p", version=NEW, target={"all": True})
    run = subprocess.run(
        simulate(ota, "--burn-ms", "20", "--reboot-ms", "20", "--exit-when-done"),
        capture_output=True, text=True, timeout=TIMEOUT * 2, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    round_trip(bound)
    events = [
        (m.topic.split("/")[-1], json.loads(m.payload)) for m in bound.messages
        if m.topic.startswith("$ota/event/p/d")
    ]
    at_it, ended = set(), []
    for name, event in events:
        if event["type"] != "task":
            continue
        if event["status"] in UNDER_WAY:
            at_it.add(name)
            assert len(at_it) == 1, events
        elif name in at_it and event["status"] == "succeeded":
            at_it.discard(name)
            ended.append(name)
    assert sorted(ended) == list(NAMES)
    rows = bound.call("listDevices", product="p")["devices"]
    assert {row["version"] for row in rows} == {NEW}
    assert {row["task"]["confirmation"] for row in rows} == {"confirmed"}
    presence = [event["online"] for name, event in events
                if name == "d1" and event["type"] == "presence"]
    assert presence[0] and False in presence  # it rebooted, and the gateway said so
    assert "ignored" not in {json.loads(line)["event"] for line in run.stdout.splitlines()}


def test_three_vendor_devices(ota, bound):
    """The vendor's gateway sample: it lives on after `done`, and compares no versions, so that a
    notice too many would be a download too many."""
    tasks = [
        bound.call("upgradeDevice", product="p", device=name, version=NEW)["task"]["task"]
        for name in NAMES
    ]
    run = subprocess.run(
        simulate(ota, "--vendor", "--stays", "--burning", "--haste", "20", "--allow-port",
                 "--exit-when-done"),
        capture_output=True, text=True, timeout=TIMEOUT * 2, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    events = [json.loads(line) for line in run.stdout.splitlines()]
    for name, task in zip(NAMES, tasks):
        mine = [event["event"] for event in events if event.get("device") == name]
        assert mine.count("download_start") == mine.count("done") == 1, mine
        assert history(bound, task)[-2:] == ["upgrading", "succeeded"]


def test_step_by_step(ota, bound):
    gateway = ota._keep(Gateway(ota))
    gateway.bring_up(*NAMES)
    tasks = {
        name: bound.call("upgradeDevice", product="p", device=name, version=NEW)["task"]["task"]
        for name in NAMES
    }
    told = []
    for _ in NAMES:
        gateway.wait_for(lambda: len(set(gateway.notices())) > len(told), what="the next notice")
        name = gateway.notices()[-1]
        told.append(name)
        waiting = set(NAMES) - set(told)
        for other in waiting:
            task = bound.task(tasks[other])
            assert (task["status"], task["waitReason"]) == ("task_waiting", "gateway")
            why = bound.call("explainDevice", product="p", device=other)
            assert why["reason"] == "gateway" and name in why["sentence"]
        progress = {"progress": {"state": "done"}, "version": NEW}
        gateway.report(name, {"type": "report_progress", "report": progress})
        bound.wait_status(tasks[name], "succeeded")
    assert sorted(told) == list(NAMES)


def test_interrupted_and_killed(ota, bound):
    """What a connection announced goes with it; bindings and whose turn it is stay."""
    gateway = ota._keep(Gateway(ota))
    gateway.bring_up(*NAMES)
    assert online(bound) == list(NAMES)
    for name in NAMES:
        bound.call("upgradeDevice", product="p", device=name, version=NEW)
    gateway.wait_for(gateway.notices, what="notice")
    first = gateway.notices()[0]
    gateway.drop()
    wait_until(lambda: online(bound) == [], "that its devices are offline")
    connects = bound.connects
    ota.kill9()
    ota.start()
    bound.wait_reconnected(connects)
    assert online(bound) == []
    again = ota._keep(Gateway(ota))
    again.bring_up(*NAMES)
    again.wait_for(again.notices, what="notice")
    assert set(again.notices()) == {first}
    rows = bound.call("listDevices", product="p")["devices"]
    assert [row["gateway"] for row in rows] == ["g1", "g1", "g1"]


# -- what is refused ----------------------------------------------------------------------------------


def test_only_what_is_bound(ota, bound):
    gateway = ota._keep(Gateway(ota))
    bound.call("createDevice", product="p", device="free")
    assert gateway.ask("online", "d1", "free", "none") == {"d1": 0, "free": -1, "none": -1}
    assert gateway.ask("bind", "free") == {"free": 808}
    assert gateway.ask("bind", "d1") == {"d1": 0}
    assert gateway.ask("unbind", "d1") == {"d1": 808}
    assert gateway.ask("offline", "d1") == {"d1": 0}
    assert gateway.ask("online", "d1", product="gate") == {"d1": -1}
    for name in ("free", "none"):
        assert gateway.subscribe(f"$ota/update/p/{name}") >= 128
        before = refused(bound)
        gateway.report(name, VERSION)
        assert newly_refused(bound, before) in ({"identity": 1}, {"unknown_device": 1})
    with pytest.raises(ControlError):
        bound.call("bindDevice", **{**bond("d1"), "gatewayProduct": "p", "gateway": "free"})


def test_unbound_at_once(ota, bound):
    gateway = ota._keep(Gateway(ota))
    gateway.bring_up("d1", "d2")
    assert online(bound) == ["d1", "d2"]
    bound.call("unbindDevice", **bond("d1"))
    assert online(bound) == ["d2"]
    before = refused(bound)
    gateway.report("d1", {"type": "report_version", "report": {"version": "9"}})
    assert newly_refused(bound, before) == {"identity": 1}
    assert bound.call("getDevice", product="p", device="d1")["device"]["version"] == OLD
    assert gateway.subscribe("$ota/update/p/d1") >= 128
    # its subscription of before hears nothing: what is for d1 goes to its own connection
    own = ota.device("p", "d1")
    own.report_version(OLD)
    bound.call("upgradeDevice", product="p", device="d1", version=NEW)
    own.wait_notice(NEW)
    assert gateway.notices() == []


def test_bad_operations(ota, bound):
    gateway = ota._keep(Gateway(ota))
    operation = {"type": "online", "payload": {"devices": [{"product_id": "p",
                                                            "device_name": "d1"}]}}
    ways = [
        ("not_json", b"x", False), ("type", {"type": "change", "payload": {}}, False),
        ("shape", {"type": "online"}, False), ("retained", operation, True),
        ("too_large", json.dumps(operation) + " " * 4096, False),
    ]  # fmt: skip
    for reason, payload, retain in ways:
        before = refused(bound)
        gateway.publish(OPERATION, payload, retain=retain)
        assert newly_refused(bound, before) == {reason: 1}
    before = refused(bound)
    Client(ota, "gate/g1", will=(OPERATION, json.dumps(operation))).drop()
    wait_until(lambda: newly_refused(bound, before) == {"will": 1}, "a refused will")
    round_trip(gateway)
    assert [m for m in gateway.messages if m.topic == RESULT] == []
    assert online(bound) == []


# -- people -----------------------------------------------------------------------------------------


def test_by_otactl(ota, bound):
    ota.otactl("device", "unbind", "p", "d2", "gate", "g1")
    listed = json.loads(ota.otactl("device", "list", "p", "--gateway", "g1", "--json").stdout)
    assert [row["device"] for row in listed["devices"]] == ["d1", "d3"]
    ota.otactl("device", "bind", "p", "d2", "gate", "g1")
    table = ota.otactl("device", "list", "p").stdout
    assert "gateway" in table.splitlines()[0] and table.count("g1") == 3
    entry = bound.call("listAudit", action="bindDevice", limit=1)["entries"][0]
    assert entry["target"] == "p/d2 gateway gate/g1"


# -- blocks -----------------------------------------------------------------------------------------


def test_a_gateway_asks_for_blocks(ota, bound):
    """Of the device that it upgrades, over its own connection; and for no other's."""
    content = bytes(range(256)) * 40
    bound.add_firmware("p", "0.0.9", content)
    gateway = Gateway(ota)
    gateway.bring_up(*NAMES)
    task = bound.call("upgradeDevice", product="p", device="d2", version="0.0.9")["task"]["task"]
    gateway.wait_for(gateway.notices, what="notice")

    def ask(name, offset):
        gateway.report(name, {"type": "request_block", "task": task, "offset": offset,
                              "length": 4096, "count": 2})

    got = b""
    while len(got) < len(content):
        since, offset = len(gateway.messages), len(got)
        ask("d2", offset)
        for at in range(offset, min(offset + 8192, len(content)), 4096):
            block = gateway.wait_message(
                lambda m, at=at: m.topic == f"$ota/block/p/d2/{task}/{at}", since=since,
                what="block")
            got += block.payload
    assert got == content
    since = len(gateway.messages)
    ask("d1", 0)  # d1's gateway, too; but the task is d2's
    said = json.loads(gateway.wait_message(
        lambda m: m.topic == "$ota/update/p/d1" and b"request_block_rsp" in m.payload,
        since=since, what="refusal").payload)
    assert (said["result_code"], said["task"]) == (3, task)
    bound.call("unbindDevice", **bond("d2"))
    since = len(gateway.messages)
    ask("d2", 0)
    round_trip(gateway)
    assert not [m for m in gateway.messages[since:] if m.topic.startswith("$ota/block")]
    assert bound.call("getInfo")["blocks"]["waiting"] == 0


def test_what_a_gateway_asked_for_goes_with_it(broker):
    """Where its connection ends, or it says that the device is offline, nothing waits any more."""
    one = broker(options={"block_rate": 20_000})
    admin = one.admin()
    admin.call("createProduct", product="p")
    admin.add_firmware("p", NEW, bytes(300_000))
    admin.call("createProduct", product="gate")
    admin.call("createDevice", product="gate", device="g1")
    admin.call("createDevice", product="p", device="d1")
    admin.call("bindDevice", **bond("d1"))
    gateway = Gateway(one)
    gateway.bring_up("d1")
    task = admin.call("upgradeDevice", product="p", device="d1", version=NEW)["task"]["task"]
    gateway.wait_for(gateway.notices, what="notice")
    for end in ("offline", "gone"):
        gateway.report("d1", {"type": "request_block", "task": task, "offset": 0,
                              "length": 2000, "count": 32})
        gateway.wait_message(lambda m: m.topic.startswith("$ota/block/p/d1/"), what="block")
        assert admin.call("getInfo")["blocks"]["waiting"] == 1
        if end == "offline":
            assert gateway.ask("offline", "d1") == {"d1": 0}
        else:
            gateway.drop()
        wait_until(lambda: admin.call("getInfo")["blocks"]["waiting"] == 0, "it waits on")
        gateway.messages.clear()
        if end == "offline":
            gateway.bring_up("d1")
