# SPDX-License-Identifier: BSD-3-Clause
"""The notice: what is in it, to whom it goes and when; and events (device-protocol.md)."""
import hashlib
import json
import os
import time

import pytest

from steps import NEW, OLD, assert_silent, history, round_trip, stock, under_way, upgrade

EVERY_SECOND = {"notice_interval": 1}
GRACE = 3.0  # what a device that only subscribed is given to report


@pytest.fixture
def fast(broker):
    """A broker that repeats notices every second."""
    return broker(options=EVERY_SECOND)


def is_notice(message):
    return message.topic.startswith("$ota/update/") and b"update_firmware" in message.payload


def notices(device, since=0):
    return device.updates("update_firmware", since)


def wait_notices(device, count, timeout=10):
    device.wait_for(lambda: len(notices(device)) >= count, timeout, f"{count} notices")


def packet_size(message):
    """The bytes of a QoS 0 PUBLISH on the wire."""
    remaining = 2 + len(message.topic.encode()) + len(message.payload)
    return 1 + (1 if remaining < 128 else 2 if remaining < 16384 else 3) + remaining


# -- contents -------------------------------------------------------------------------------------


def test_what_a_notice_says(admin, device):
    content = os.urandom(70_000)
    admin.call("createProduct", product="p")
    admin.add_firmware("p", NEW, content)
    one = device("p", "d")
    one.report_version(OLD)
    task = upgrade(admin, one)
    message = one.wait_message(is_notice)
    notice = json.loads(message.payload)
    assert list(notice)[:5] == ["type", "version", "url", "md5sum", "file_size"]
    url = notice.pop("url")
    assert notice == {
        "type": "update_firmware",
        "version": NEW,
        "md5sum": hashlib.md5(content).hexdigest(),
        "file_size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "task": task,
    }
    assert url.startswith(f"http://127.0.0.1:{one.broker.http_port}/")
    assert b"\\" not in message.payload
    assert (message.qos, message.retain) == (0, False)
    assert one.download({"url": url}) == content


def test_the_longest_notice_fits_a_vendor_device(broker):
    base = "https://" + "h" * 63 + "/" + "p" * (255 - 8 - 63 - 1)
    one = broker(options={"download_url": base, "topic_prefix": "$" + "o" * 31})
    admin = one.admin()
    product, name, version = "P" * 32, "d" * 48, "v" * 32
    stock(admin, product, version)
    device = one.device(product, name, subscribe=False)
    prefix = one.options["topic_prefix"]
    device.report_topic = f"{prefix}/report/{product}/{name}"
    device.update_topic = f"{prefix}/update/{product}/{name}"
    assert device.subscribe(device.update_topic) == 0
    device.report_version(OLD)
    upgrade(admin, device, version)
    message = device.wait_message(lambda m: b"update_firmware" in m.payload)
    notice = json.loads(message.payload)
    assert notice["url"].startswith(base + "/")
    assert len(notice["url"]) <= 512
    assert packet_size(message) <= 2048
    assert b"\\" not in message.payload


def test_the_url_names_no_port_where_the_base_names_none(broker):
    one = broker(options={"download_url": "http://fw.example.com"})
    admin = one.admin()
    stock(admin)
    device = one.device("p", "d")
    device.report_version(OLD)
    upgrade(admin, device)
    assert device.wait_notice()["url"].startswith("http://fw.example.com/")


def test_a_notice_is_for_the_devices_connection_alone(ota, admin, device):
    stock(admin)
    first = device("p", "d", client_id="first")
    one = device("p", "d", client_id="second")
    other = device("p", "other")
    viewer = ota.client("viewer")
    assert viewer.subscribe("$ota/event/#") == 0
    other.report_version(OLD)
    one.report_version(OLD)
    upgrade(admin, one)
    one.wait_notice()
    late = device("p", "d", client_id="late", subscribe=False)
    assert late.subscribe(late.update_topic) == 0
    round_trip(first, other, viewer, late)
    for client in (first, other, viewer, late):
        assert not [m for m in client.messages if is_notice(m)], client.client_id


# -- when -----------------------------------------------------------------------------------------


def test_at_once_for_a_device_that_is_online(admin, device):
    stock(admin)
    one = device("p", "d")
    one.report_version(OLD)
    began = time.monotonic()
    task = upgrade(admin, one)
    one.wait_notice()
    assert time.monotonic() - began < 1
    assert admin.task(task)["status"] == "message_sent"


def test_at_once_after_a_version_report(admin, device):
    stock(admin)
    admin.call("createDevice", product="p", device="d")
    one = device("p", "d", connect=False)
    task = upgrade(admin, one)
    assert admin.task(task)["status"] == "device_offline"
    one.connect()
    one.subscribe(one.update_topic)
    assert admin.task(task)["status"] == "task_waiting"
    assert_silent(one, 0.5)
    one.report_version(OLD)
    began = time.monotonic()
    one.wait_notice()
    assert time.monotonic() - began < 1
    assert [json.loads(m.payload)["type"] for m in one.messages] == [
        "report_version_rsp", "update_firmware",
    ], "a vendor device loses a notice that comes before the answer"


def test_three_seconds_after_a_subscribe_without_a_report(fast):
    admin = fast.admin()
    stock(admin)
    admin.call("createDevice", product="p", device="d")
    one = fast.device("p", "d", connect=False)
    task = upgrade(admin, one)
    one.connect()
    began = time.monotonic()
    one.subscribe(one.update_topic)
    one.wait_notice()
    assert GRACE - 0.1 < time.monotonic() - began < GRACE + 1
    assert admin.wait_status(task, "message_sent")


def test_repeated_until_the_first_progress_report_and_never_after(fast):
    admin = fast.admin()
    stock(admin)
    one = fast.device("p", "d")
    one.report_version(OLD)
    task = upgrade(admin, one)
    began = time.monotonic()
    wait_notices(one, 3)
    assert 1.8 < time.monotonic() - began < 3.5, "every second"
    told = notices(one)
    assert all(notice == told[0] for notice in told), "the same attempt, the same URL"
    one.report_progress("downloading", 0, NEW)
    since = len(one.messages)
    assert one.subscribe(one.update_topic) == 0
    one.report_version(OLD)
    assert_silent(one, 1.6, since, is_notice)
    assert history(admin, task).count("message_sent") == 1, "a repeated notice is no step"


def test_no_notice_after_the_attempts_end(fast):
    admin = fast.admin()
    stock(admin)
    one = fast.device("p", "d")
    for end in ("cancel", "fail", "done"):
        one.report_version(OLD)
        task = upgrade(admin, one)
        one.wait_notice(since=len(one.messages))
        if end == "cancel":
            admin.call("cancelTask", task=task)
        else:
            one.report_progress(end, version=NEW, code=-1)
        round_trip(one)
        since = len(one.messages)
        one.report_version(OLD)
        one.subscribe(one.update_topic)
        assert_silent(one, 1.4, since, is_notice)


def test_a_new_connection_starts_afresh(fast):
    admin = fast.admin()
    stock(admin)
    one = fast.device("p", "d")
    one.report_version(OLD)
    task = upgrade(admin, one)
    first = one.wait_notice()
    one.report_progress("downloading", 40)
    one.drop()
    again = fast.device("p", "d")  # the vendor's device drops the download and reports again
    again.report_version(OLD)
    began = time.monotonic()
    notice = again.wait_notice()
    assert time.monotonic() - began < 1
    assert notice == first, "the attempt goes on: its URL still lives"
    assert admin.task(task)["status"] == "downloading"
    wait_notices(again, 2)
    again.run_upgrade(notice)
    assert admin.task(task)["status"] == "succeeded"
    assert_silent(again, 1.3, test=is_notice)


def test_a_device_in_mid_download_that_only_subscribes_again(fast):
    admin = fast.admin()
    one, _ = under_way(admin, fast.device)
    one.report_progress("downloading", 40)
    one.drop()
    began = time.monotonic()
    again = fast.device("p", "d")
    again.wait_notice()
    assert GRACE - 0.1 < time.monotonic() - began < GRACE + 1


def test_a_device_that_goes_on_reporting_after_it_reconnected_needs_no_notice(fast):
    admin = fast.admin()
    one, task = under_way(admin, fast.device)
    one.report_progress("downloading", 40)
    one.drop()
    again = fast.device("p", "d")
    again.report_progress("downloading", 50, NEW)
    assert admin.task(task)["percent"] == 50
    assert_silent(again, GRACE + 0.5, test=is_notice)


def test_a_device_that_may_be_booting_is_told_only_after_a_report_of_another_version(fast):
    admin = fast.admin()
    one, task = under_way(admin, fast.device)
    one.report_progress("burning")
    one.drop()
    again = fast.device("p", "d")
    assert_silent(again, GRACE + 0.5, test=is_notice)
    assert admin.task(task)["status"] == "upgrading"
    again.report_version(OLD)
    wait_notices(again, 2)


def test_the_last_connection_that_subscribed_or_reported_is_the_devices(fast):
    admin = fast.admin()
    stock(admin)
    first = fast.device("p", "d", client_id="first")
    first.report_version(OLD)
    upgrade(admin, first)
    first.wait_notice()
    second = fast.device("p", "d", client_id="second")  # subscribes
    since = len(first.messages)
    wait_notices(second, 1)
    assert not notices(first, since)
    first.report_version(OLD)
    since = len(second.messages)
    wait_notices(first, 3)
    assert not notices(second, since)
    first.disconnect()
    round_trip(second)
    since = len(second.messages)
    assert_silent(second, 1.2, since, is_notice)
    assert not admin.call("getDevice", product="p", device="d")["device"]["online"]
    second.report_version(OLD)
    second.wait_notice(since=since)


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "persistent"])
def test_a_device_that_comes_back_under_its_client_id_stays_online(fast, clean):
    """The broker ends the old connection after the new one is there: that is no absence."""
    admin = fast.admin()
    stock(admin)
    old = fast.device("p", "d", client_id="same", clean=clean)
    old.report_version(OLD)
    task = upgrade(admin, old)
    old.wait_notice()
    old.mqtt.reconnect_delay_set(60, 60)
    new = fast.device("p", "d", client_id="same", clean=clean)
    new.report_version(OLD)
    old.wait_for(lambda: not old.connected, what="end of the old connection")
    round_trip(new)
    assert admin.call("getDevice", product="p", device="d")["device"]["online"]
    wait_notices(new, 2)
    new.run_upgrade()
    assert admin.task(task)["status"] == "succeeded"
    new.disconnect()
    assert not admin.call("getDevice", product="p", device="d")["device"]["online"]


def test_a_notice_is_not_kept_for_a_device_that_is_away(fast):
    admin = fast.admin()
    stock(admin)
    one = fast.device("p", "d", clean=False)
    one.subscribe(one.update_topic, 1)
    one.report_version(OLD)
    one.disconnect()
    task = upgrade(admin, one)
    assert admin.task(task)["status"] == "device_offline"
    again = fast.device("p", "d", clean=False, subscribe=False)
    assert_silent(again, 1.2, 0)
    again.report_version(OLD)
    again.wait_notice()


def test_a_device_that_runs_the_target_already_gets_no_notice(fast):
    admin = fast.admin()
    stock(admin)
    admin.call("createDevice", product="p", device="d")
    one = fast.device("p", "d", connect=False)
    task = upgrade(admin, one)
    one.connect()
    one.subscribe(one.update_topic)
    one.report_version(NEW)
    now = admin.task(task)
    assert (now["status"], now["confirmation"]) == ("succeeded", "confirmed")
    round_trip(one)
    assert not notices(one)


def test_one_client_may_speak_for_many_devices(broker):
    one = broker(options={"device_identity": "none"})
    admin = one.admin()
    stock(admin)
    client = one.client()
    for name in "abc":
        client.subscribe(f"$ota/update/p/{name}")
        client.publish(f"$ota/report/p/{name}", {"type": "report_version",
                                                 "report": {"version": OLD}})
        admin.call("upgradeDevice", product="p", device=name, version=NEW)
        client.wait_message(lambda m, n=name: is_notice(m) and m.topic.endswith(n))
    assert admin.call("getInfo")["online"] == 3
    client.disconnect()
    assert admin.call("getInfo")["online"] == 0


def test_a_client_id_taken_over_gets_no_notice(fast):
    admin = fast.admin()
    stock(admin)
    one = fast.device("p", "d", client_id="coveted", clean=False)
    one.report_version(OLD)
    upgrade(admin, one)
    one.wait_notice()
    one.mqtt.on_disconnect = None
    one.mqtt.reconnect_delay_set(60, 60)
    thief = fast.client("somebody", client_id="coveted", clean=False)
    assert_silent(thief, 2.2, 0)
    admin.call("updateDevice", product="p", device="d", description="x")
    assert not admin.call("getDevice", product="p", device="d")["device"]["online"]


def test_a_held_device_gets_no_first_notice(fast):
    admin = fast.admin()
    stock(admin)
    admin.call("createDevice", product="p", device="d")
    one = fast.device("p", "d", connect=False)
    task = upgrade(admin, one)
    admin.call("updateDevice", product="p", device="d", hold=True)
    one.connect()
    one.subscribe(one.update_topic)
    one.report_version(OLD)
    assert_silent(one, 1.2, test=is_notice)
    now = admin.task(task)
    assert (now["status"], now["waitReason"]) == ("task_waiting", "held")
    admin.call("updateDevice", product="p", device="d", hold=False)
    one.wait_notice()


# -- cancel, a new attempt ------------------------------------------------------------------------


def test_cancelling_tells_the_device(admin, device):
    one, task = under_way(admin, device)
    assert admin.call("cancelTask", task=task)["task"]["status"] == "cancelled"
    message = one.wait_message(lambda m: b"cancel_firmware" in m.payload)
    assert json.loads(message.payload) == {
        "type": "cancel_firmware", "version": NEW, "task": task,
    }
    assert (message.topic, message.qos, message.retain) == (one.update_topic, 0, False)


def test_a_task_that_was_never_sent_is_cancelled_in_silence(admin, device):
    stock(admin)
    admin.call("createDevice", product="p", device="d")
    one = device("p", "d", connect=False)
    task = upgrade(admin, one)
    one.connect()
    one.subscribe(one.update_topic)
    admin.call("cancelTask", task=task)
    round_trip(one)
    assert not [m for m in one.messages if m.topic == one.update_topic]


def test_a_new_attempt_gets_a_new_url(admin, device):
    stock(admin)
    one = device("p", "d")
    one.report_version(OLD)
    task = upgrade(admin, one)
    first = one.wait_notice()
    one.report_progress("fail", code=-1)
    since = len(one.messages)
    admin.call("retryTask", task=task)
    second = one.wait_notice(since=since)
    assert second["url"] != first["url"] and second["task"] == task
    assert admin.task(task)["attempt"] == 2
    one.run_upgrade(second)
    assert admin.task(task)["status"] == "succeeded"


# -- status and percent ---------------------------------------------------------------------------


def test_status_words_all_the_way(admin, device):
    stock(admin)
    admin.call("createDevice", product="p", device="d")
    one = device("p", "d", connect=False)
    task = upgrade(admin, one)
    seen = [admin.task(task)["status"]]
    one.connect()
    one.subscribe(one.update_topic)
    seen.append(admin.task(task)["status"])
    one.report_version(OLD)
    one.wait_notice()
    seen.append(admin.wait_status(task, "message_sent")["status"])
    for state, percent in [("downloading", 0), ("downloading", 100), ("burning", None),
                           ("done", None)]:
        one.report_progress(state, percent)
        seen.append(admin.task(task)["status"])
    assert seen == [
        "device_offline", "task_waiting", "message_sent", "downloading", "downloaded", "upgrading",
        "succeeded",
    ]
    assert history(admin, task) in (
        wanted := ["message_sent", "downloading", "downloaded", "upgrading", "succeeded"],
        wanted[::-1],
    )


def test_a_lost_connection_changes_no_status_once_the_notice_is_out(admin, device):
    one, task = under_way(admin, device)
    one.disconnect()
    now = admin.task(task)
    assert (now["status"], now["online"]) == ("message_sent", False)


def test_a_percentage_is_seen_at_once(admin, device):
    one, task = under_way(admin, device)
    for percent in (1, 2, 50, 49, 99):
        one.report_progress("downloading", percent)
        assert admin.task(task)["percent"] == percent
    assert history(admin, task).count("downloading") == 1, "percentages are no history"
    listed = admin.call("listTasks", product="p")["tasks"]
    assert [row["percent"] for row in listed] == [99]


def test_percentages_survive_an_orderly_restart(ota, admin, device):
    one, task = under_way(admin, device)
    one.report_progress("downloading", 5)
    one.report_progress("downloading", 42)
    connects = admin.connects
    ota.restart()
    admin.wait_reconnected(connects)
    assert admin.task(task)["percent"] == 42


# -- events ---------------------------------------------------------------------------------------


def events(client, kind, topic="$ota/event/p/d"):
    heard = [json.loads(m.payload) for m in client.messages if m.topic == topic]
    return [event for event in heard if event["type"] == kind]


@pytest.mark.parametrize("role", ["viewer", "op", "admin"])
def test_events_of_one_upgrade(ota, role):
    admin = ota.admin()
    listener = ota.client(role)
    assert listener.subscribe("$ota/event/#", 1) == 1
    began = int(time.time() * 1000)
    stock(admin)
    one = ota.device("p", "d")
    one.report_version(OLD)
    task = upgrade(admin, one)
    one.run_upgrade()
    one.disconnect()
    listener.wait_for(
        lambda: any(not e["online"] for e in events(listener, "presence")), what="offline event"
    )
    steps = [(e["task"], e["status"], e["version"]) for e in events(listener, "task")]
    assert [status for _, status, _ in steps][-5:] == [
        "message_sent", "downloading", "downloaded", "upgrading", "succeeded",
    ] or [status for _, status, _ in steps][-6:] == [
        "message_sent", "downloading", "downloaded", "upgrading", "succeeded", "succeeded",
    ]
    assert {(number, version) for number, _, version in steps} == {(task, NEW)}
    assert events(listener, "task")[-1]["confirmation"] == "confirmed"
    assert [e["version"] for e in events(listener, "version")] == [OLD, NEW]
    assert [e["online"] for e in events(listener, "presence")] == [True, False]
    assert [e["version"] for e in events(listener, "firmware", "$ota/event/p")] == [NEW]
    assert all("percent" in event for event in events(listener, "task"))
    now = int(time.time() * 1000)
    for message in listener.messages:
        assert began <= json.loads(message.payload)["at"] <= now
        assert not message.retain


def test_percentage_events_come_at_most_every_five_seconds(ota, admin, device):
    stock(admin)
    listener = ota.client("viewer")
    listener.subscribe("$ota/event/p/d")
    one = device("p", "d")
    one.report_version(OLD)
    upgrade(admin, one)
    one.wait_notice()
    began = time.monotonic()
    for percent in range(60):
        one.report_progress("downloading", percent, qos=0)
    round_trip(one)
    round_trip(listener)
    heard = [e for e in events(listener, "task") if e["status"] == "downloading"]
    seconds = time.monotonic() - began
    assert 1 <= len(heard) <= 2 + seconds / 5, "one for the status, and one for a percentage"
    time.sleep(max(0.0, 5.2 - seconds))  # the rule is about time
    one.report_progress("downloading", 77)
    listener.wait_for(lambda: events(listener, "task")[-1]["percent"] == 77, what="77 %")
    one.report_progress("downloading", 78)
    one.report_progress("burning")
    listener.wait_for(lambda: events(listener, "task")[-1]["status"] == "upgrading")
    assert 78 not in [e["percent"] for e in events(listener, "task")[:-1]]
