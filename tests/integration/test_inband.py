# SPDX-License-Identifier: BSD-3-Clause
"""Downloads over MQTT, and what a device may ask for (device-protocol.md "Download", 2 and 3). The
rules in every detail are in tests/unit/test_inband.c; here: the real broker's part in it."""
import json
import os
import re
import time

import pytest

from harness import TIMEOUT
from packets import Packets
from steps import NEW, OLD, assert_silent, newly_refused, refused, round_trip, stock, upgrade

CONTENT = os.urandom(300_001)
BAD, RANGE, TASK, ENDED, EARLY, RATE, LATER = range(1, 8)


class Fetcher:
    """A device that was sent a notice and takes blocks."""

    def __init__(self, broker, content=CONTENT, name="d", product="p", **settings):
        self.broker, self.content = broker, content
        self.admin = broker.admin()
        self.admin.call("createProduct", product=product)
        self.admin.add_firmware(product, NEW, content)
        self.task, self.device = self.to(name, product, **settings)

    def to(self, name, product="p", **settings):
        device = self.broker.device(product, name)
        device.report_version(OLD)
        task = upgrade(self.admin, device, **settings)
        device.wait_notice()
        return task, device

    def ask(self, offset=0, length=65536, count=1, qos=0, task=None, device=None, **more):
        (device or self.device).report(
            {"type": "request_block", "task": task or self.task, "offset": offset,
             "length": length, "count": count, **more}, qos)

    def blocks(self, count, since=0, device=None):
        """Messages on the block topic, when there are so many."""
        device = device or self.device
        topic = f"$ota/block/{device.product}/{device.name}/"

        def heard():
            found = [m for m in device.messages[since:] if m.topic.startswith(topic)]
            return found if len(found) >= count else None

        return device.wait_for(heard, what=f"{count} blocks")

    def answer(self, since):
        """The next request_block_rsp's code."""
        found = self.device.wait_for(
            lambda: self.device.updates("request_block_rsp", since), what="request_block_rsp")
        return found[0]

    def refusal(self, **fields):
        since = len(self.device.messages)
        self.ask(**fields)
        return self.answer(since)

    def fetch(self, offset=0, length=65536, count=4, qos=0):
        """The image from there on, window by window."""
        got = bytearray()
        while offset < len(self.content):
            since = len(self.device.messages)
            self.ask(offset, length, count, qos)
            expected = min(count, -(-(len(self.content) - offset) // length))
            for message in self.blocks(expected, since):
                assert message.topic.endswith(f"/{self.task}/{offset}"), message.topic
                assert (message.qos, message.retain) == (qos, False)
                got += message.payload
                offset += len(message.payload)
        return bytes(got)


@pytest.fixture
def fetcher(ota):
    return Fetcher(ota)


def waiting(admin):
    return admin.call("getInfo")["blocks"]["waiting"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_whole_image(fetcher, qos):
    assert fetcher.fetch(qos=qos) == CONTENT
    assert fetcher.fetch(offset=100_000, length=10_000, count=32, qos=qos) == CONTENT[100_000:]


def test_without_a_subscription_and_with_one(fetcher):
    """What is asked for comes by client id: a subscription is allowed, and brings nothing twice."""
    device = fetcher.device
    assert device.subscribe(f"$ota/block/p/{device.name}/#") == 0
    fetcher.ask(count=2)
    fetcher.blocks(2)
    round_trip(device)
    assert len(fetcher.blocks(2)) == 2


def test_a_block_leaves_at_once_also_where_nothing_else_happens(fetcher):
    """An idle Mosquitto 2.1 sends what its tick published up to 100 ms later."""
    took = []
    for number in range(20):
        since = len(fetcher.device.messages)
        began = time.monotonic()
        fetcher.ask(offset=number * 1000, length=1000)
        fetcher.blocks(1, since)
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.03, took


def test_nobody_else_hears_it(fetcher):
    listener = fetcher.broker.client("op")
    other = fetcher.broker.device("p", "other")
    for client, topic in ((listener, "$ota/block/#"), (other, "$ota/block/p/d/#"),
                          (listener, "$share/g/$ota/block/p/d/#")):
        assert client.subscribe(topic) >= 128
    since = [len(client.messages) for client in (listener, other)]
    fetcher.ask(count=3)
    fetcher.blocks(3)
    round_trip(listener, other)
    for client, first in zip((listener, other), since):
        assert not [m for m in client.messages[first:] if m.topic.startswith("$ota/block")]


class Deaf(Packets):
    """A client that acknowledges nothing."""

    def _take_publish(self, first, body):
        at = 2 + int.from_bytes(body[:2], "big")
        self.heard.append((body[2:at].decode(), body[at + (2 if first & 6 else 0) :]))


def interrupted(ota, speaker="p/d"):
    """The session of p/d, or of its gateway, whose connection broke while blocks were on their
    way."""
    fetcher = Fetcher(ota)
    fetcher.device.disconnect()
    if speaker != "p/d":
        fetcher.admin.call("createProduct", product="gate")
        fetcher.admin.call("createDevice", product="gate", device="g1")
        fetcher.admin.call("bindDevice", product="p", device="d", gatewayProduct="gate",
                           gateway="g1")
    one = Deaf(ota.port, "session", speaker, v5=False, clean=False)
    one.publish("$ota/report/p/d", ask(fetcher, 32))
    one.wait_heard(f"$ota/block/p/d/{fetcher.task}/0")
    one.settle()
    assert 1 <= len(heard(one)) < 32  # max_inflight_messages; the rest waits
    one.drop()
    return fetcher


def ask(fetcher, count):
    return {"type": "request_block", "task": fetcher.task, "offset": 0, "length": 1000,
            "count": count}


def heard(client):
    return [topic for topic, _ in client.heard if topic.startswith("$ota/block")]


def test_what_was_on_its_way_goes_to_nobody_else(ota):
    """Whoever takes over a client id inherits what the broker has for it: but no blocks."""
    interrupted(ota)
    other = Packets(ota.port, "session", "stranger", v5=False, clean=False)
    other.settle()
    assert heard(other) == []
    other.close()


@pytest.mark.parametrize("speaker", ["p/d", "gate/g1"])
def test_a_session_that_comes_back_hears_the_rest(ota, speaker):
    """And then more: none of them keeps its place among the messages in flight."""
    fetcher = interrupted(ota, speaker)
    again = Packets(ota.port, "session", speaker, v5=False, clean=False)
    last = f"$ota/block/p/d/{fetcher.task}/31000"
    again.wait_heard(last)
    for number in range(3):
        again.publish("$ota/report/p/d", ask(fetcher, 32))
        again.wait_heard(last, number + 2)
    assert len(heard(again)) == 4 * 32
    again.close()


def test_refusals(fetcher):
    size = len(CONTENT)
    assert fetcher.refusal(offset=size)["result_code"] == RANGE
    assert fetcher.refusal(task=fetcher.task + 1)["result_code"] == TASK
    assert fetcher.refusal(length=65537)["result_code"] == BAD
    assert fetcher.refusal(count=33)["result_code"] == BAD
    said = fetcher.refusal(offset=-1)
    assert said["result_code"] == BAD and "offset" in said["result_msg"]
    since = len(fetcher.device.messages)
    fetcher.device.report({"type": "request_block", "task": fetcher.task})
    assert fetcher.answer(since)["result_code"] == BAD
    other_task, _ = fetcher.to("other")
    said = fetcher.refusal(task=other_task, offset=7)
    assert (said["result_code"], said["task"], said["offset"]) == (TASK, other_task, 7)
    counted = fetcher.admin.call("getInfo")["blocks"]
    assert counted["refused"] == counted["requests"] == 7 and counted["bytes"] == 0
    # numbers may be texts, as in any report, and count is 1 where it isn't said
    fetcher.device.report({"type": "request_block", "task": str(fetcher.task), "offset": "300000",
                           "length": "10"})
    assert fetcher.blocks(1)[0].payload == CONTENT[300_000:]


@pytest.mark.parametrize("end", ["cancel", "done", "fail"])
def test_the_end_of_the_task_ends_it(broker, end):
    """At once, also in the middle of a window."""
    fetcher = Fetcher(broker(options={"block_rate": 20000}))
    fetcher.ask(length=1000, count=32)
    fetcher.blocks(1)
    assert fetcher.refusal(offset=len(CONTENT))["result_code"] == RANGE
    fetcher.ask(length=1000, count=32)
    if end == "cancel":
        fetcher.admin.call("cancelTask", task=fetcher.task)
    else:
        fetcher.device.report_progress(end, version=NEW, code=-1)
    assert waiting_ends(fetcher)
    assert fetcher.refusal()["result_code"] == ENDED
    since = len(fetcher.device.messages)  # what was on its way came before that refusal
    assert_silent(fetcher.device, 0.3, since, lambda m: m.topic.startswith("$ota/block"))


def waiting_ends(fetcher):
    deadline = time.monotonic() + TIMEOUT
    while waiting(fetcher.admin):
        assert time.monotonic() < deadline
    return True


def test_a_lost_connection_drops_its_request(broker):
    fetcher = Fetcher(broker(options={"block_rate": 20000}))
    device = fetcher.device
    fetcher.ask(length=10000, count=32)
    got = len(fetcher.blocks(1))
    device.drop()
    assert waiting_ends(fetcher)
    device.messages.clear()
    device.connect()
    device.subscribe(device.update_topic)
    round_trip(device)
    assert not [m for m in device.messages if m.topic.startswith("$ota/block")]
    fetcher.ask(offset=got * 10000, length=1000)
    assert fetcher.blocks(1)[0].payload == CONTENT[got * 10000 :][:1000]


def test_a_task_that_waits_is_not_offered_yet(ota):
    fetcher = Fetcher(ota, retry={"max": 1, "delaySeconds": 60})
    fetcher.device.report_progress("fail", version=NEW, code=-1)
    assert fetcher.refusal()["result_code"] == EARLY
    fetcher.admin.call("cancelTask", task=fetcher.task)
    assert fetcher.refusal()["result_code"] == ENDED


def test_slower_than_it_could(broker):
    """What a device may have in a second is kept to, and so is what all may have."""
    for option in ("block_rate", "block_rate_total"):
        fetcher = Fetcher(broker(options={option: 100_000}), CONTENT[:60_000])
        began = time.monotonic()
        assert fetcher.fetch(length=4096, count=32) == CONTENT[:60_000]
        assert time.monotonic() - began > 0.25  # a quarter of a second's worth comes at once


def test_without_http(broker):
    """Where nothing listens for HTTP, devices that do without it are upgraded all the same."""
    fetcher = Fetcher(broker(options={"download_listen": "off", "download_url": None}))
    notice = fetcher.device.wait_notice(since=0)
    assert "url" not in notice
    assert (notice["task"], notice["file_size"]) == (fetcher.task, len(CONTENT))
    assert fetcher.fetch(count=32) == CONTENT
    info = fetcher.admin.call("getInfo")
    assert info["downloads"] is None and info["blocks"]["bytes"] == len(CONTENT)


def test_metrics_and_history(consoles):
    one = consoles(metrics_public="true")
    fetcher = Fetcher(one.broker)
    fetcher.fetch(count=5)
    fetcher.refusal(offset=10**9)
    text = one.get("/metrics").body.decode()
    for line in ("ota_block_messages_total 5", f"ota_block_bytes_total {len(CONTENT)}",
                 'ota_block_refused_total{reason="out_of_range"} 1', "ota_blocks_waiting 0"):
        assert re.search(rf"^{re.escape(line)}$", text, re.M), line
    events = fetcher.admin.call("getTask", task=fetcher.task)["events"]
    assert [event["status"] for event in events][-1] == "message_sent"  # a request says nothing


# -- request_update -------------------------------------------------------------------------------


def test_the_notice_is_sent_again(ota, admin):
    fetcher = Fetcher(ota)
    device = fetcher.device
    notice = device.wait_notice()
    device.report_progress("downloading", 5, NEW)
    round_trip(device)
    since = len(device.messages)
    device.report({"type": "request_update"})
    assert device.wait_notice(since=since) == notice
    fetcher.admin.call("cancelTask", task=fetcher.task)
    before = refused(admin)
    since = len(device.messages)
    device.report({"type": "request_update"})
    round_trip(device)
    assert not device.updates("update_firmware", since)
    assert newly_refused(admin, before) == {"no_notice": 1}


# -- the courtesy of a cancel ---------------------------------------------------------------------


def cancelled(device):
    return [m["task"] for m in device.updates("cancel_firmware")]


@pytest.mark.parametrize("end", ["batch", "override"])
def test_whoever_cancels_tells_the_device(admin, device, end):
    stock(admin)
    one = device("p", "d")
    one.report_version(OLD)
    batch = admin.call(
        "createBatch", product="p", version=NEW, target={"devices": ["d"]},
    )["batch"]["batch"]
    task = one.wait_notice()["task"]
    if end == "batch":
        admin.call("cancelBatch", batch=batch, running="cancel")
    elif end == "override":
        admin.add_firmware("p", "0.0.3")
        upgrade(admin, one, "0.0.3", override=True)
    one.wait_for(lambda: cancelled(one), what="cancel_firmware")
    round_trip(one)
    assert cancelled(one) == [task]
    assert admin.task(task)["status"] == "cancelled"
    if end == "override":
        kinds = [json.loads(m.payload)["type"] for m in one.messages if m.topic == one.update_topic]
        assert kinds[-2:] == ["cancel_firmware", "update_firmware"]
