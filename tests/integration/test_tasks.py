# SPDX-License-Identifier: BSD-3-Clause
"""upgradeDevice, listTasks, getTask, cancelTask, retryTask, and the rules about tasks."""
import hashlib
import os
import socket
import time
import urllib.error
import urllib.parse

import pytest

from control_help import bulk, read_all, refuse, statuses, walk

KEYS = {
    "task", "product", "device", "batch", "fromVersion", "version", "status", "confirmation",
    "waitReason", "percent", "resultCode", "resultMessage", "deviceMessage", "attempt", "online",
    "createdAt", "sentAt", "updatedAt", "deadlineAt", "finishedAt",
}  # fmt: skip


class Place:
    """A product p with firmware 2 (and 1 below it), and what a test does there again and again."""

    def __init__(self, ota):
        self.ota = ota
        self.admin = ota.admin()
        self.admin.call("createProduct", product="p")
        self.content = os.urandom(3000)
        self.admin.add_firmware("p", "1", b"old")
        self.admin.add_firmware("p", "2", self.content)

    def device(self, name="d", version="1"):
        device = self.ota.device("p", name)
        device.report_version(version)
        return device

    def upgrade(self, name="d", version="2", **fields):
        return self.admin.call(
            "upgradeDevice", product="p", device=name, version=version, **fields
        )["task"]

    def refuse_upgrade(self, code, field, name="d", version="2", **fields):
        return refuse(
            self.admin, "upgradeDevice", code, field, product="p", device=name, version=version,
            **fields,
        )  # fmt: skip

    def get(self, task):
        return self.admin.call("getTask", task=task["task"])

    def task(self, task):
        return self.get(task)["task"]

    def wait(self, task, status):
        return self.admin.wait_status(task["task"], status)

    def wait_service(self, ms):
        """Until so much service time has passed: there is no event at the end of a window."""
        end = self.admin.call("getInfo")["serviceMs"] + ms
        while self.admin.call("getInfo")["serviceMs"] < end:
            time.sleep(0.05)


@pytest.fixture
def place(ota):
    return Place(ota)


@pytest.fixture
def quick(broker):
    """Two seconds for an attempt, and for its confirmation."""
    return Place(broker(options={"upgrade_timeout": 2}))


def is_dead(device, notice):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        device.download(notice)
    return refusal.value.code == 403


# -- making


def test_a_new_task(place):
    device = place.device()
    device.disconnect()
    while place.admin.call("getDevice", product="p", device="d")["device"]["online"]:
        pass
    before = int(time.time() * 1000)
    task = place.upgrade()
    assert set(task) == KEYS
    assert before <= task["createdAt"] <= time.time() * 1000
    assert task == {
        **dict.fromkeys(KEYS),
        "task": task["task"],
        "product": "p",
        "device": "d",
        "fromVersion": "1",
        "version": "2",
        "status": "device_offline",
        "percent": 0,
        "attempt": 1,
        "online": False,
        "createdAt": task["createdAt"],
        "updatedAt": task["createdAt"],
    }
    answer = place.get(task)
    assert answer == {"task": task, "events": []}
    assert place.admin.call("getDevice", product="p", device="d")["device"]["task"] == task


def test_upgrade_not_found(place):
    place.admin.call("createDevice", product="p", device="d")
    before = read_all(place.admin)
    refuse(place.admin, "upgradeDevice", "not_found", "product", product="q", device="d",
           version="2")
    place.refuse_upgrade("not_found", "device", name="e")
    place.refuse_upgrade("not_found", "version", version="3")
    for name in ("getTask", "cancelTask", "retryTask"):
        for number in (1, 2**53, 2**63 - 1):
            refuse(place.admin, name, "not_found", "task", task=number)
    assert read_all(place.admin) == before


def test_a_device_that_never_reported_can_be_upgraded(place):
    place.admin.call("createDevice", product="p", device="d")
    assert place.upgrade()["fromVersion"] is None
    device = place.ota.device("p", "d")
    device.wait_notice("2")  # some 3 s after its SUBSCRIBE
    assert device.run_upgrade() == place.content


def test_hold(place):
    device = place.device()
    place.admin.call("updateDevice", product="p", device="d", hold=True)
    place.refuse_upgrade("conflict", "device")
    place.refuse_upgrade("conflict", "device", override=True, reinstall=True, allowDowngrade=True)
    place.admin.call("updateDevice", product="p", device="d", hold=False)
    device.disconnect()
    task = place.upgrade()
    place.admin.call("updateDevice", product="p", device="d", hold=True)
    device = place.device()
    held = place.task(task)
    assert (held["status"], held["waitReason"]) == ("task_waiting", "held")
    assert device.updates("update_firmware") == []
    place.admin.call("updateDevice", product="p", device="d", hold=False)
    assert device.wait_notice("2")["task"] == task["task"]


def test_reinstall(place):
    device = place.device(version="2")
    place.refuse_upgrade("conflict", "version")
    place.refuse_upgrade("conflict", "version", reinstall=False)
    task = place.upgrade(reinstall=True)
    device.wait_notice("2")
    # The version that it runs is no proof before it has worked on it.
    device.report_version("2")
    assert place.task(task)["status"] == "message_sent"
    device.report_progress("downloading", 10)
    device.report_version("2")
    assert place.task(task)["status"] == "downloading"
    device.report_progress("downloaded")
    device.report_version("2")
    done = place.task(task)
    assert (done["status"], done["confirmation"]) == ("succeeded", "confirmed")


def test_downgrade(place):
    device = place.device(version="2")
    place.refuse_upgrade("conflict", "version", version="1")
    task = place.upgrade(version="1", allowDowngrade=True)
    device.wait_notice("1")
    place.admin.call("cancelTask", task=task["task"])
    # A version that was never uploaded has no order.
    device.report_version("9.9")
    place.upgrade(version="1")


def test_order_says_what_is_newer(place):
    place.admin.add_firmware("p", "9", order=0)
    place.device(version="1")
    place.refuse_upgrade("conflict", "version", version="9")
    place.admin.add_firmware("p", "0", order=100)
    place.upgrade(version="0")


def test_one_unfinished_task_a_device(place):
    device = place.device()
    first = place.upgrade()
    notice = device.wait_notice("2")
    device.report_progress("downloading", 20)
    before = read_all(place.admin)
    place.refuse_upgrade("conflict", "device")
    place.refuse_upgrade("conflict", "device", override=False)
    assert read_all(place.admin) == before
    place.admin.add_firmware("p", "3")
    since = len(device.messages)
    second = place.upgrade(version="3", override=True)
    assert second["task"] != first["task"]
    assert place.task(first)["status"] == "cancelled"
    assert is_dead(device, notice)
    assert device.wait_notice("3", since)["task"] == second["task"]
    assert device.updates("cancel_firmware", since) == [
        {"type": "cancel_firmware", "version": "2", "task": first["task"]}
    ]
    listed = place.admin.call("listTasks", product="p", device="d")["tasks"]
    assert [task["task"] for task in listed] == [second["task"], first["task"]]


def test_override_that_is_refused_cancels_nothing(place):
    place.device(version="2")
    first = place.upgrade(version="1", allowDowngrade=True)
    place.refuse_upgrade("conflict", "version", override=True)  # on the target already
    place.refuse_upgrade("conflict", "version", version="1", override=True)  # a downgrade
    place.refuse_upgrade("not_found", "version", version="7", override=True)
    assert place.task(first)["finishedAt"] is None


# -- the clock


@pytest.mark.parametrize("seconds", [None, 10, 604800])
def test_deadline(place, seconds):
    device = place.device()
    task = place.upgrade(timeoutSeconds=seconds)
    device.wait_notice("2")
    sent = place.wait(task, "message_sent")
    expected = (seconds or 900) * 1000
    assert abs(sent["deadlineAt"] - sent["sentAt"] - expected) < 5000
    assert sent["createdAt"] <= sent["sentAt"] <= sent["updatedAt"]


def test_no_success_in_time_is_a_failure(quick):
    device = quick.device()
    task = quick.upgrade()
    notice = device.wait_notice("2")
    for state in ("downloading", "downloaded", "burning"):
        device.report_progress(state, 50)
    failed = quick.wait(task, "failed")
    assert failed["resultMessage"] == "timeout" and failed["resultCode"] is None
    assert 1900 <= failed["finishedAt"] - failed["sentAt"] <= 30_000
    assert failed["deadlineAt"] is None
    assert is_dead(device, notice)
    answer = quick.get(task)
    assert statuses(answer) == [
        "message_sent", "downloading", "downloaded", "upgrading", "failed",
    ]  # fmt: skip
    assert answer["events"][-1]["detail"] == "timeout"


def test_waiting_runs_no_clock(quick):
    device = quick.device()
    device.disconnect()
    while quick.admin.call("getDevice", product="p", device="d")["device"]["online"]:
        pass
    task = quick.upgrade()
    quick.wait_service(2500)
    assert quick.task(task)["status"] == "device_offline"
    device = quick.device()
    device.run_upgrade()
    assert quick.task(task)["status"] == "succeeded"


def test_a_lost_connection_does_not_change_the_status(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    device.report_progress("downloading", 30)
    device.drop()
    while place.task(task)["online"]:
        pass
    now = place.task(task)
    assert (now["status"], now["percent"]) == ("downloading", 30)


@pytest.mark.parametrize("proof", ["done", "version"])
def test_truth_after_a_timeout(quick, proof):
    device = quick.device()
    task = quick.upgrade()
    device.wait_notice("2")
    quick.wait(task, "failed")
    device.report_progress("downloading", 50)  # is no success
    assert quick.task(task)["status"] == "failed"
    if proof == "done":
        device.report_progress("done")
    else:
        device.report_version("2")
    late = quick.task(task)
    assert late["status"] == "succeeded" and late["resultMessage"] is None
    assert late["confirmation"] == ("pending" if proof == "done" else "confirmed")
    answer = quick.get(task)
    assert statuses(answer) == ["message_sent", "failed", "succeeded"]
    assert "late" in answer["events"][-1]["detail"]
    device.report_version("2")
    assert quick.task(task)["confirmation"] == "confirmed"


def test_truth_after_a_cancel(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    place.admin.call("cancelTask", task=task["task"])
    device.report_progress("burning")
    assert place.task(task)["status"] == "cancelled"
    device.report_progress("done")
    assert place.task(task)["status"] == "succeeded"
    answer = place.get(task)
    assert statuses(answer) == ["message_sent", "cancelled", "succeeded"]
    assert "late" in answer["events"][-1]["detail"]


def test_no_truth_after_a_cancel_before_the_notice(place):
    device = place.device()
    device.disconnect()
    while place.admin.call("getDevice", product="p", device="d")["device"]["online"]:
        pass
    task = place.upgrade()
    place.admin.call("cancelTask", task=task["task"])
    device = place.device()
    device.report_progress("done", version="2")
    device.report_version("2")
    assert place.task(task)["status"] == "cancelled"


def test_a_download_before_the_notice_is_an_echo_of_another(place):
    """Taken for this attempt's, it would end its notices before the first."""
    device = place.device()
    task = place.upgrade(retry={"max": 1, "delaySeconds": 30})
    device.wait_notice("2")
    device.report_progress("downloading", 40)
    device.report_progress("fail", code=-1)
    device.report_progress("downloading", 50)
    now = place.task(task)
    assert (now["status"], now["waitReason"], now["percent"]) == ("task_waiting", "retry", 0)
    device.report_progress("downloaded")  # from wherever: it needs no notice any more
    assert place.task(task)["status"] == "downloaded"


def test_no_truth_after_the_devices_own_failure(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    device.report_progress("fail", code=-4, message="md5")
    device.report_progress("done")
    device.report_version("2")
    assert place.task(task)["status"] == "failed"


def test_a_version_report_ends_a_waiting_task(place):
    place.admin.call("createDevice", product="p", device="d")
    task = place.upgrade()
    device = place.device(version="2")
    done = place.task(task)
    assert (done["status"], done["confirmation"]) == ("succeeded", "confirmed")
    assert done["sentAt"] is None and device.updates("update_firmware") == []


def test_reports_of_other_versions_change_no_task(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    place.wait(task, "message_sent")
    before = place.get(task)
    for state in ("downloading", "burning", "done", "fail"):
        device.report_progress(state, 5, version="3")
    assert place.get(task)["events"] == before["events"]
    assert place.admin.call("getInfo")["refusedReports"]["no_task"] == 4


# -- confirmation


def test_pending_confirmed_contradicted(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    device.report_progress("done")

    def now():
        task_now = place.task(task)
        assert task_now["status"] == "succeeded"
        return task_now["confirmation"]

    assert now() == "pending"
    for version, word in (("1", "contradicted"), ("2", "confirmed"), ("1", "contradicted"),
                          ("7", "contradicted"), ("2", "confirmed"), ("2", "confirmed")):
        device.report_version(version)
        assert now() == word
    assert all(status == "succeeded" for status in statuses(place.get(task))[1:])


def test_after_the_window_only_pending_becomes_confirmed(quick):
    tasks = {}
    for name, last in (("pending", None), ("contradicted", "1"), ("confirmed", "2")):
        device = quick.device(name)
        tasks[name] = quick.upgrade(name)
        device.wait_notice("2")
        device.report_progress("done")
        if last:
            device.report_version(last)
        device.disconnect()
    for name, task in tasks.items():
        assert quick.task(task)["confirmation"] == name
    quick.wait_service(2200)
    for name, task in tasks.items():
        device = quick.device(name, "1")
        assert quick.task(task)["confirmation"] == name
        device.report_version("2")
        expected = "contradicted" if name == "contradicted" else "confirmed"
        assert quick.task(task)["confirmation"] == expected


def test_a_long_history_is_read_in_order(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    device.report_progress("done")
    since = len(device.messages)
    for n in range(120):
        report = {"type": "report_version", "report": {"version": "12"[n % 2]}}
        device.report(report)
    device.wait_for(lambda: len(device.updates("report_version_rsp", since)) == 120)
    events = place.get(task)["events"]
    assert len(events) == 122  # sent, done, and each change of mind
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert events[0]["status"] == "message_sent"
    assert place.task(task)["confirmation"] == "confirmed"


# -- failures


@pytest.mark.parametrize(
    "code, words",
    [
        (-1, "timed out"), (-2, "missing"), (-3, "authori"), (-4, "checksum"), (-5, "failed"),
        (-77, ""), (99, ""),
    ],
)  # fmt: skip
def test_result_codes(place, code, words):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    device.report_progress("fail", code=code, message="my words")
    failed = place.task(task)
    assert (failed["status"], failed["resultCode"]) == ("failed", code)
    assert failed["deviceMessage"] == "my words"
    assert words in failed["resultMessage"]
    assert failed["finishedAt"] and failed["deadlineAt"] is None


def test_two_fails_are_one(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    device.report_progress("fail", code=-2, message="first")
    device.report_progress("fail", code=-1, message="second")
    failed = place.task(task)
    assert (failed["resultCode"], failed["deviceMessage"]) == (-2, "first")
    assert statuses(place.get(task)).count("failed") == 1


MESSAGES = [
    "",
    "x" * 128,
    "<script>alert(1)</script>\"';--",
    "\u65e5\u672c\u8a9e \U0001f680 \u202e",
    "line\nbreak\ttab \\ \x7f \x01",
]


def test_device_messages_come_back_as_they_were(place):
    device = place.device()
    for message in MESSAGES:
        since = len(device.messages)
        task = place.upgrade()
        device.wait_notice("2", since)
        device.report_progress("fail", code=-1, message=message)
        assert place.task(task)["deviceMessage"] == (message or None)


def test_long_device_messages_are_cut_between_characters(place):
    device = place.device()
    for filler in ("x", "\u00e9", "\u65e5", "\U0001f680"):
        for start in ("", "a", "ab", "abc"):
            since = len(device.messages)
            task = place.upgrade()
            device.wait_notice("2", since)
            message = start + filler * (700 // len(filler.encode()))
            device.report_progress("fail", code=-1, message=message)
            kept = place.task(task)["deviceMessage"]
            assert message.startswith(kept)
            assert 128 - 3 <= len(kept.encode()) <= 128


# -- cancelling


def test_cancel_is_at_once_and_final(place):
    device = place.device()
    task = place.upgrade()
    notice = device.wait_notice("2")
    assert device.download(notice, 0, 9) == place.content[:10]
    since = len(device.messages)
    cancelled = place.admin.call("cancelTask", task=task["task"])["task"]
    assert cancelled["status"] == "cancelled" and cancelled["finishedAt"]
    assert is_dead(device, notice)
    device.wait_for(lambda: device.updates("cancel_firmware", since))
    refuse(place.admin, "cancelTask", "conflict", "task", task=task["task"])
    device.report_progress("fail", code=-1)
    assert place.task(task)["status"] == "cancelled"
    # The device is free for the next task.
    place.upgrade()


def test_cancel_of_a_task_that_waits(place):
    place.admin.call("createDevice", product="p", device="d")
    task = place.upgrade()
    place.admin.call("cancelTask", task=task["task"])
    assert statuses(place.get(task)) == ["cancelled"]
    device = place.device()
    assert device.updates("update_firmware") == []
    assert device.updates("cancel_firmware") == []


def test_cancel_cuts_a_running_download(ota, admin):
    admin.call("createProduct", product="p")
    content = os.urandom(10_000_000)
    admin.add_firmware("p", "2", content)
    device = ota.device("p", "d")
    device.report_version("1")
    task = admin.call("upgradeDevice", product="p", device="d", version="2")["task"]
    url = urllib.parse.urlsplit(device.wait_notice("2")["url"])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.settimeout(10)
        sock.connect((url.hostname, url.port))
        sock.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        admin.call("cancelTask", task=task["task"])
        got = 0
        try:
            while block := sock.recv(16384):
                got += len(block)
                time.sleep(0.005)  # a slow reader: the file would take it three seconds
        except ConnectionResetError:
            pass
    assert got < len(content) - 1_000_000


# -- trying again


def test_retry_starts_afresh(place):
    device = place.device()
    task = place.upgrade()
    first = device.wait_notice("2")
    device.report_progress("downloading", 70)
    device.report_progress("fail", code=-1, message="weak radio")
    since = len(device.messages)
    again = place.admin.call("retryTask", task=task["task"])["task"]
    assert again["task"] == task["task"] and again["attempt"] == 2
    assert again["status"] == "task_waiting"
    for key in ("resultCode", "resultMessage", "deviceMessage", "finishedAt", "sentAt"):
        assert again[key] is None, key
    assert again["percent"] == 0
    notice = device.wait_notice("2", since)
    assert notice["url"] != first["url"] and notice["task"] == task["task"]
    assert is_dead(device, first)
    assert device.run_upgrade(notice) == place.content
    done = place.task(task)
    assert (done["status"], done["attempt"]) == ("succeeded", 2)
    refuse(place.admin, "retryTask", "conflict", "task", task=task["task"])


def test_retry_of_a_cancelled_task(place):
    device = place.device()
    task = place.upgrade()
    device.wait_notice("2")
    refuse(place.admin, "retryTask", "conflict", "task", task=task["task"])
    place.admin.call("cancelTask", task=task["task"])
    since = len(device.messages)
    place.admin.call("retryTask", task=task["task"])
    device.run_upgrade(device.wait_notice("2", since))
    assert place.task(task)["status"] == "succeeded"


def test_retry_needs_a_free_device(place):
    place.device()
    task = place.upgrade()
    place.admin.call("cancelTask", task=task["task"])
    place.admin.call("updateDevice", product="p", device="d", hold=True)
    refuse(place.admin, "retryTask", "conflict", "task", task=task["task"])
    place.admin.call("updateDevice", product="p", device="d", hold=False)
    other = place.upgrade()
    refuse(place.admin, "retryTask", "conflict", "task", task=task["task"])
    place.admin.call("cancelTask", task=other["task"])
    assert place.admin.call("retryTask", task=task["task"])["task"]["attempt"] == 2
    # The older task is the device's last one now.
    last = place.admin.call("getDevice", product="p", device="d")["device"]["task"]
    assert last["task"] == task["task"]


@pytest.mark.parametrize(
    "retry, code, again",
    [
        (None, -1, False),
        ({"max": 0}, -1, False),
        ({"max": 1}, -1, True),
        ({"max": 1}, -3, True),
        ({"max": 1}, -5, True),
        ({"max": 1}, -2, False),
        ({"max": 1}, -4, False),
        ({"max": 1, "on": [-4]}, -4, True),
        ({"max": 1, "on": [-4, "timeout"]}, -1, False),
    ],
)
def test_automatic_retry(place, retry, code, again):
    device = place.device()
    task = place.upgrade(retry=retry)
    first = device.wait_notice("2")
    device.report_progress("downloading", 60)
    since = len(device.messages)
    device.report_progress("fail", code=code, message="why")
    now = place.task(task)
    if not again:
        assert (now["status"], now["attempt"]) == ("failed", 1)
        return
    assert (now["status"], now["waitReason"]) == ("task_waiting", "retry")
    assert (now["attempt"], now["percent"], now["finishedAt"]) == (2, 0, None)
    assert (now["resultCode"], now["deviceMessage"]) == (code, "why")  # why it waits
    device.report_progress("fail", code=-5, message="an echo")
    assert place.task(task)["attempt"] == 2
    assert is_dead(device, first)
    assert device.updates("update_firmware", since) == []
    explained = place.admin.call("explainDevice", product="p", device="d")
    assert explained["reason"] == "retry" and "attempt 2" in explained["sentence"]
    answer = place.get(task)
    assert statuses(answer) == ["message_sent", "downloading", "failed"]
    place.admin.call("cancelTask", task=task["task"])


def test_automatic_retry_after_a_timeout(quick):
    device = quick.device()
    task = quick.upgrade(retry={"max": 2, "delaySeconds": 30})
    device.wait_notice("2")
    while (now := quick.task(task))["attempt"] == 1:
        time.sleep(0.02)
    assert (now["status"], now["waitReason"]) == ("task_waiting", "retry")
    assert now["resultMessage"] == "timeout"


# -- reading


def test_list_filters(place):
    admin = place.admin
    admin.call("createProduct", product="q")
    admin.add_firmware("q", "2")
    admin.call("createDevice", product="q", device="d")
    other = admin.call("upgradeDevice", product="q", device="d", version="2")["task"]["task"]
    online = place.device("on")
    tasks = {}
    for name in ("off", "fail", "cancel"):
        admin.call("createDevice", product="p", device=name)
        tasks[name] = place.upgrade(name)["task"]
    tasks["on"] = place.upgrade("on")["task"]
    online.wait_notice("2")
    place.admin.wait_status(tasks["on"], "message_sent")
    admin.call("cancelTask", task=tasks["cancel"])
    failing = place.device("fail")
    failing.wait_notice("2")
    failing.report_progress("fail", code=-1)

    def listed(**filters):
        return [row["task"] for row in admin.call("listTasks", **filters)["tasks"]]

    newest_first = sorted([other, *tasks.values()], reverse=True)
    assert listed() == newest_first
    assert listed(product="p") == [task for task in newest_first if task != other]
    assert listed(product="q") == [other]
    assert listed(product="p", device="off") == [tasks["off"]]
    assert listed(version="2") == newest_first
    assert listed(version="1") == []
    refuse(admin, "listTasks", "not_found", "batch", batch=1)
    by_status = {
        "device_offline": [tasks["off"], other],
        "task_waiting": [],
        "message_sent": [tasks["on"]],
        "downloading": [],
        "downloaded": [],
        "upgrading": [],
        "failed": [tasks["fail"]],
        "succeeded": [],
        "cancelled": [tasks["cancel"]],
    }
    for status, expected in by_status.items():
        assert listed(status=status) == sorted(expected, reverse=True), status
    assert listed(status="device_offline", product="q", version="2") == [other]
    refuse(admin, "listTasks", "invalid_request", "product", device="off")
    refuse(admin, "listTasks", "not_found", "product", product="none")
    refuse(admin, "listTasks", "not_found", "device", product="p", device="none")
    row = admin.call("listTasks", product="q")["tasks"][0]
    assert row == place.get({"task": other})["task"]


def test_hundreds_of_tasks_in_pages(place):
    devices = [
        {"command": "createDevice", "product": "p", "device": f"d{n:03}"} for n in range(250)
    ]
    bulk(place.admin, devices)
    upgrades = [{**d, "command": "upgradeDevice", "version": "2"} for d in devices]
    made = [data["task"]["task"] for data in bulk(place.admin, upgrades)]
    bulk(place.admin, [{"command": "cancelTask", "task": task} for task in made[::5]])
    for limit in (11, 200):
        rows, _ = walk(place.admin, "listTasks", limit)
        assert [row["task"] for row in rows] == sorted(made, reverse=True)
    rows, _ = walk(place.admin, "listTasks", 7, product="p", status="cancelled")
    assert [row["task"] for row in rows] == sorted(made[::5], reverse=True)
    rows, _ = walk(place.admin, "listTasks", 100, product="p", device="d007")
    assert [row["task"] for row in rows] == [made[7]]
    assert place.admin.call("getInfo")["activeTasks"] == 200


def test_the_download_is_the_upload(place):
    device = place.device()
    place.upgrade()
    notice = device.wait_notice("2")
    assert notice["sha256"] == hashlib.sha256(place.content).hexdigest()
    assert notice["md5sum"] == hashlib.md5(place.content).hexdigest()
    assert notice["file_size"] == len(place.content)
    assert device.download(notice) == place.content


def test_denied(place):
    place.admin.call("createDevice", product="p", device="d")
    task = place.upgrade()["task"]
    before = read_all(place.admin)
    viewer = place.ota.admin("viewer")
    refuse(viewer, "upgradeDevice", "forbidden", product="p", device="d", version="2")
    refuse(viewer, "cancelTask", "forbidden", task=task)
    refuse(viewer, "retryTask", "forbidden", task=task)
    assert viewer.call("getTask", task=task)["task"]["task"] == task
    assert len(viewer.call("listTasks")["tasks"]) == 1
    assert read_all(place.admin) == before
    op = place.ota.admin("op")
    op.call("cancelTask", task=task)
    op.call("retryTask", task=task)
    op.call("upgradeDevice", product="p", device="d", version="2", override=True)
