# SPDX-License-Identifier: BSD-3-Clause
"""The two clocks (design.md): a task's deadline counts the time in which the broker ran. The pauses
here are what is tested: time in which the broker isn't there."""
import signal
import time

import pytest

from harness import TIMEOUT
from steps import OLD, stock, upgrade


def service(admin):
    return admin.call("getInfo")["serviceMs"] / 1000


class Interrupted:
    """A broker with a task under way, and ways to have it away for some seconds."""

    def __init__(self, broker, **settings):
        self.broker = broker(**settings)
        self.admin = self.broker.admin()
        stock(self.admin)
        self.device = self.broker.device("p", "d")
        self.device.report_version(OLD)

    def pause(self, how, seconds):
        connects = self.admin.connects
        if how == "freeze":
            self.broker.process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            self.broker.process.send_signal(signal.SIGCONT)
            return
        if how == "stop":
            self.broker.stop()
        else:
            self.broker.kill9()
        time.sleep(seconds)
        self.broker.start()
        self.admin.wait_reconnected(connects)


@pytest.mark.parametrize("how", ["stop", "kill", "freeze"])
def test_time_without_the_broker_is_no_service_time(broker, how):
    one = Interrupted(broker)
    upgrade(one.admin, one.device, timeoutSeconds=60)
    one.device.wait_notice()
    left = []
    for _ in range(2):
        before, began = service(one.admin), time.monotonic()
        one.pause(how, 2.5)
        after, took = service(one.admin), time.monotonic() - began
        lost, gained = {"stop": (0, 0), "kill": (1.5, 0), "freeze": (0, 1.1)}[how]
        assert before - lost <= after <= before + took - 2.5 + gained + 0.2
        left.append(after - before)
    assert min(left) < 1.5


@pytest.mark.parametrize("how", ["stop", "kill", "freeze"])
def test_a_pause_costs_a_task_none_of_its_time(broker, how):
    one = Interrupted(broker, options={"upgrade_timeout": 3})
    task = upgrade(one.admin, one.device)
    one.device.wait_notice()
    start = service(one.admin)
    one.pause(how, 3.5)
    assert one.admin.task(task)["status"] == "message_sent", "its time isn't out"
    one.admin.wait_status(task, "failed", timeout=TIMEOUT)
    assert 2.9 <= service(one.admin) - start <= 4
    assert one.admin.task(task)["resultMessage"] == "timeout"


def test_deadlines_are_kept_without_a_pause(broker):
    one = Interrupted(broker, options={"upgrade_timeout": 2})
    task = upgrade(one.admin, one.device)
    one.device.wait_notice()
    began = time.monotonic()
    now = one.admin.task(task)
    assert abs(now["deadlineAt"] - now["sentAt"] - 2000) < 300
    one.device.report_progress("downloading", 50)
    one.device.report_progress("burning")
    one.admin.wait_status(task, "failed")
    assert 1.8 < time.monotonic() - began < 2.8, "progress doesn't prolong it"


def test_many_kills_cost_little(broker):
    """Each kill may forget a second of service, and no more."""
    one = Interrupted(broker)
    upgrade(one.admin, one.device, timeoutSeconds=60)
    one.device.wait_notice()
    start, ran = service(one.admin), 0.0
    for _ in range(3):
        began = time.monotonic()
        time.sleep(1.5)
        ran += time.monotonic() - began
        one.pause("kill", 0)
    gone = service(one.admin) - start
    assert ran - 3 * 1.2 <= gone <= ran + 2


def test_a_task_for_a_device_that_is_away_runs_no_clock(broker):
    one = Interrupted(broker, options={"upgrade_timeout": 1})
    one.device.disconnect()
    task = upgrade(one.admin, one.device)
    time.sleep(1.6)
    now = one.admin.task(task)
    assert (now["status"], now["deadlineAt"], now["sentAt"]) == ("device_offline", None, None)
    again = one.broker.device("p", "d")
    again.report_version(OLD)
    again.wait_notice()
    assert one.admin.task(task)["status"] == "message_sent"
    began = time.monotonic()
    one.admin.wait_status(task, "failed")
    assert 0.8 < time.monotonic() - began < 1.8


def test_a_waiting_task_runs_no_clock(broker):
    one = Interrupted(broker, options={"upgrade_timeout": 1})
    one.device.disconnect()
    task = upgrade(one.admin, one.device)
    one.admin.call("updateDevice", product="p", device="d", hold=True)
    again = one.broker.device("p", "d")
    again.report_version(OLD)
    time.sleep(1.6)
    now = one.admin.task(task)
    assert (now["status"], now["waitReason"], now["deadlineAt"]) == ("task_waiting", "held", None)


def test_a_lost_connection_doesnt_stop_the_clock(broker):
    one = Interrupted(broker, options={"upgrade_timeout": 1})
    task = upgrade(one.admin, one.device)
    one.device.wait_notice()
    one.device.disconnect()
    one.admin.wait_status(task, "failed", timeout=3)


def test_a_new_attempt_starts_the_clock_afresh(broker):
    one = Interrupted(broker, options={"upgrade_timeout": 2})
    task = upgrade(one.admin, one.device)
    one.device.wait_notice()
    time.sleep(1.2)
    one.device.report_progress("fail", code=-1)
    since = len(one.device.messages)
    one.admin.call("retryTask", task=task)
    one.device.wait_notice(since=since)
    began = time.monotonic()
    one.admin.wait_status(task, "failed")
    assert 1.8 < time.monotonic() - began < 2.8


def test_what_came_due_in_a_freeze_is_not_made_up_for(broker):
    one = Interrupted(broker, options={"notice_interval": 1})
    upgrade(one.admin, one.device)
    one.device.wait_notice()
    since = len(one.device.messages)
    one.pause("freeze", 3)
    one.device.wait_notice(since=since)
    assert len(one.device.updates("update_firmware", since)) <= 2, "missed notices aren't made up"
