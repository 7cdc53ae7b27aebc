# SPDX-License-Identifier: BSD-3-Clause
"""Batches at work, with the real broker: who gets a notice when, and what stops a batch. Each rule
by itself is in tests/unit (rollout, batches, batch_steering, prepare); here they meet the wire."""
import json
import time
import urllib.error
import urllib.request

import pytest

from control_help import refuse, statuses
from crowd import (
    ANYBODY, Crowd, counts, create, explain, get, stock, tasks, until, wait_batch,
)  # fmt: skip
from steps import NEW, OLD, assert_silent, round_trip, versions

TIMED = {**ANYBODY, "upgrade_timeout": 3}


class Place:
    """Product p with OLD and NEW, and a crowd on OLD."""

    def __init__(self, ota, count):
        self.ota = ota
        self.admin = ota.admin()
        stock(self.admin, OLD)
        self.crowd = Crowd(ota, count)

    def create(self, **fields):
        return create(self.admin, **fields)["batch"]

    def get(self, batch):
        return get(self.admin, batch)

    def wait(self, batch, state=None, reason=None, **wanted):
        return wait_batch(self.admin, batch, state, reason, **wanted)

    def tasks(self, batch):
        return tasks(self.admin, batch)

    def call(self, name, **fields):
        return self.admin.call(name, **fields)

    def quiet(self):
        """What was to be sent has been: a few ticks of the broker are over."""
        time.sleep(0.2)  # nothing tells that nothing comes
        round_trip(self.crowd)

    def stages(self, batch):
        return [stage["state"] for stage in self.get(batch)["stages"]]


@pytest.fixture
def place(broker):
    def make(count, options=None):
        return Place(broker(options=options or ANYBODY), count)

    return make


def reason(place, name):
    return explain(place.admin, name)["reason"]


def sentence(place, name, *parts):
    said = explain(place.admin, name)
    for part in (name, *parts):
        assert part in said["sentence"], said
    return said


# -- the seed's batch


def test_the_seeds_batch(ota, admin):
    """Filter by version, upgrade the lot, and each really downloads and installs."""
    stock(admin)
    fleet = [ota.device("p", f"d{n}") for n in range(3)]
    for device in fleet:
        device.report_version(OLD)
    other = ota.device("p", "other")
    other.report_version("0.0.0")
    number = create(admin, target={"fromVersions": [OLD]})["batch"]
    for device in fleet:
        assert len(device.run_upgrade(device.wait_notice(NEW))) == 1000
    batch = wait_batch(admin, number, "finished", succeeded=3)
    assert (batch["confirmed"], batch["successes"], batch["failures"]) == (3, 3, 0)
    assert batch["finishedAt"] >= batch["startedAt"]
    assert other.updates("update_firmware") == []
    assert versions(admin) == {NEW: 3, "0.0.0": 1}
    for task in tasks(admin, number).values():
        assert task["fromVersion"] == OLD and task["confirmation"] == "confirmed"


# -- stages and gates


def test_stages_open_by_themselves(place):
    place = place(10)
    number = place.create(
        stages=[{"count": 2}, {"percent": 50, "soakSeconds": 1}, {"percent": 100}],
    )
    first = place.crowd.wait_notices(2)
    place.quiet()
    assert len(place.crowd.notices()) == 2
    batch = place.get(number)
    assert [stage["total"] for stage in batch["stages"]] == [2, 3, 5]
    assert counts(batch) == {"message_sent": 2, "task_waiting": 8}
    assert batch["stages"][0]["needed"] == 2
    since = len(place.crowd.messages)
    place.crowd.succeed(*first)
    second = place.crowd.wait_notices(3, since)
    assert place.stages(number) == ["passed", "open", "waiting"]
    place.quiet()
    since = len(place.crowd.messages)
    place.crowd.succeed(*second)
    third = place.crowd.wait_notices(5, since)
    assert place.stages(number) == ["passed", "passed", "open"]
    place.crowd.succeed(*third)
    batch = place.wait(number, "finished", succeeded=10)
    assert sorted(first + second + third) == sorted(place.crowd.names)
    opened = [stage["openedAt"] for stage in batch["stages"]]
    assert opened == sorted(opened) and opened[2] - opened[1] >= 1000  # it soaked


def test_a_manual_stage_waits_for_an_admin(place):
    place = place(4)
    number = place.create(stages=[{"count": 1, "advance": "manual"}, {"percent": 100}])
    (first,) = place.crowd.wait_notices(1)
    place.crowd.succeed(first)
    place.quiet()
    assert len(place.crowd.notices()) == 1
    waiting = next(name for name in place.crowd.names if name != first)
    said = sentence(place, waiting, "stage 2", "stage 1 is open", "1 of the 1", "advance")
    assert said["reason"] == "stage" and said["batch"] == number
    assert place.call("advanceBatch", batch=number)["batch"]["stages"][1]["state"] == "open"
    place.crowd.wait_notices(4)
    refuse(place.admin, "advanceBatch", "conflict", "batch", batch=number)


def test_a_stage_gate_pauses_and_resume_opens(place):
    place = place(6)
    number = place.create(stages=[{"count": 2}, {"percent": 100}])
    first = place.crowd.wait_notices(2)
    place.crowd.fail(first[0])
    place.wait(number, "paused", "stage_gate", message_sent=1, failed=1, task_waiting=4)
    waiting = next(name for name in place.crowd.names if name not in first)
    sentence(place, waiting, "paused", "gate")
    assert reason(place, waiting) == "paused"
    place.crowd.succeed(first[1])  # devices under way go on
    place.quiet()
    assert len(place.crowd.notices()) == 2
    assert place.call("resumeBatch", batch=number)["batch"]["state"] == "running"
    place.crowd.wait_notices(6)
    assert place.stages(number) == ["passed", "open"]


def test_offline_devices_are_no_failures(place):
    place = place(6)
    number = place.create(stages=[{"count": 3, "minSuccessPercent": 60}, {"percent": 100}])
    first = place.crowd.wait_notices(3)
    place.crowd.succeed(*first[:2])
    place.crowd.wait_notices(6)  # two of three are enough
    assert place.stages(number) == ["passed", "open"]


# -- the failure threshold


def test_failure_threshold(place):
    place = place(12)
    listener = place.ota.client("viewer")
    assert listener.subscribe("$ota/event/p") == 0
    number = place.create(failureThreshold={"percent": 50, "minFinished": 3}, maxInFlight=4)
    first = place.crowd.wait_notices(4)
    place.crowd.fail(first[0])
    place.crowd.fail(first[1])
    place.wait(number, "running", message_sent=4, failed=2, task_waiting=6)
    place.crowd.succeed(first[2])
    place.wait(number, "paused", "failure_threshold")
    event = json.loads(
        listener.wait_message(lambda m: b"failure_threshold" in m.payload).payload
    )
    assert (event["type"], event["batch"], event["state"]) == ("batch", number, "paused")
    told = len(place.crowd.notices())
    waiting = next(n for n in place.crowd.names if n not in place.crowd.notices())
    sentence(place, waiting, "paused", "threshold")
    place.crowd.succeed(first[3])
    place.quiet()
    assert len(place.crowd.notices()) == told
    # Resumed, both counts begin at zero.
    place.call("resumeBatch", batch=number)
    more = place.crowd.wait_notices(told + 1)
    for name in [n for n in more if n not in first][:2]:
        place.crowd.fail(name)
    place.quiet()
    assert place.get(number)["state"] == "running"


# -- places and pace


def test_max_in_flight(place):
    place = place(5)
    number = place.create(maxInFlight=2)
    first = place.crowd.wait_notices(2)
    waiting = [name for name in place.crowd.names if name not in first]
    said = [sentence(place, name, f"batch {number}") for name in waiting]
    assert {one["reason"] for one in said} == {"in_flight"}
    assert sorted(one["position"] for one in said) == [1, 2, 3]
    assert place.get(number)["inFlight"] == 2
    place.crowd.says(first[0], "done")
    place.quiet()
    assert len(place.crowd.notices()) == 2  # what isn't proved keeps its place
    place.crowd.report_version(NEW, [first[0]])
    assert len(place.crowd.wait_notices(3)) == 3
    place.crowd.fail(first[1])
    place.crowd.wait_notices(4)
    place.call("updateBatch", batch=number, maxInFlight=3)
    place.crowd.wait_notices(5)


def test_gate_done_frees_a_place_at_once(place):
    place = place(3)
    number = place.create(maxInFlight=1, gate="done")
    for n in range(1, 4):
        place.crowd.says(place.crowd.wait_notices(n)[-1], "done")
    batch = place.wait(number, "finished", succeeded=3)
    assert (batch["confirmed"], batch["successes"]) == (0, 3)


def test_rate_per_minute(place):
    place = place(4)
    number = place.create(ratePerMinute=60)
    place.crowd.wait_notices(1)
    waiting = next(n for n in place.crowd.names if n not in place.crowd.notices())
    said = sentence(place, waiting, "pace")
    assert said["reason"] == "paced" and 1 <= said["position"] <= 3
    assert place.tasks(number)[waiting]["waitReason"] == "paced"
    place.crowd.wait_notices(3)
    sent = sorted(task["sentAt"] for task in place.tasks(number).values() if task["sentAt"])
    assert [later - sent[0] >= 950 * n for n, later in enumerate(sent)] == [True] * len(sent)
    place.call("updateBatch", batch=number, ratePerMinute=6000)
    place.crowd.wait_notices(4)


# -- outcomes


def test_contradicted_and_overdue_are_failures(place):
    place = place(4, TIMED)
    number = place.create(target={"devices": ["m0", "m1", "m2"]})
    other = place.create(target={"devices": ["m3"]}, gate="done")
    place.crowd.wait_notices(4)
    for name in place.crowd.names:
        place.crowd.says(name, "done")
    place.crowd.report_version(OLD, ["m1"])
    place.crowd.report_version(NEW, ["m2"])
    batch = place.wait(number, "finished", succeeded=3)
    assert (batch["successes"], batch["failures"]) == (1, 1)
    assert (batch["confirmed"], batch["contradicted"]) == (1, 1)
    assert explain(place.admin, "m0")["reason"] == "pending"
    assert explain(place.admin, "m1")["reason"] == "contradicted"
    assert place.wait(other, "finished")["successes"] == 1


def test_an_overdue_success_stops_a_stage(place):
    place = place(3, TIMED)
    number = place.create(stages=[{"count": 1}, {"percent": 100}])
    (first,) = place.crowd.wait_notices(1)
    place.crowd.says(first, "done")
    assert place.get(number)["failures"] == 0
    batch = place.wait(number, "paused", "stage_gate", succeeded=1, task_waiting=2)
    assert (batch["failures"], batch["inFlight"]) == (1, 0)
    place.crowd.report_version(NEW, [first])  # it was only slow
    assert (place.get(number)["failures"], place.get(number)["confirmed"]) == (0, 1)


def test_a_timeout_and_the_late_truth(place):
    place = place(2, TIMED)
    number = place.create()
    place.crowd.wait_notices(2)
    batch = place.wait(number, "finished", failed=2)
    assert batch["failures"] == 2
    assert explain(place.admin, "m0")["reason"] == "failed"
    sentence(place, "m0", "timeout")
    place.crowd.says("m0", "done")
    assert counts(place.get(number)) == {"failed": 1, "succeeded": 1}
    place.crowd.report_version(NEW, ["m0", "m1"])
    batch = place.get(number)
    assert (counts(batch), batch["confirmed"]) == ({"succeeded": 2}, 2)


def test_an_automatic_retry_waits(place):
    place = place(1)
    number = place.create(
        retry={"max": 1, "delaySeconds": 30}, failureThreshold={"percent": 1, "minFinished": 1}
    )
    place.crowd.wait_notices(1)
    place.crowd.fail("m0", -1)
    batch = place.wait(number, "running", task_waiting=1)
    assert batch["failures"] == 0
    task = place.tasks(number)["m0"]
    assert (task["waitReason"], task["attempt"], task["resultCode"]) == ("retry", 2, -1)
    assert reason(place, "m0") == "retry"
    sentence(place, "m0", "attempt 2 begins in")


# -- who is in it


def test_who_is_left_out(place):
    place = place(6)
    place.admin.add_firmware("p", "0.0.9")
    place.crowd.report_version(NEW, ["m0"])
    place.crowd.report_version("0.0.9", ["m1"])
    place.call("updateDevice", product="p", device="m2", hold=True)
    place.call("upgradeDevice", product="p", device="m3", version=NEW)
    number = place.create()
    batch = place.wait(number, "running", message_sent=2)
    assert batch["excluded"] == {"on_version": 1, "busy": 1, "held": 1, "downgrade": 1}
    assert set(place.tasks(number)) == {"m4", "m5"}
    assert reason(place, "m2") == "held"
    assert reason(place, "m0") == "no_task"


def test_an_override_is_no_failure(place):
    place = place(2)
    old = place.create(version=OLD, target={"all": True}, reinstall=True,
                       failureThreshold={"percent": 1, "minFinished": 1})
    place.crowd.wait_notices(2)
    new = place.create(override=True)
    place.wait(old, "finished", cancelled=2)
    place.wait(new, "running", message_sent=2)
    place.crowd.wait_for(lambda: set(place.crowd.cancels()) == {"m0", "m1"}, what="both cancels")


def test_a_hold_while_it_waits(place):
    place = place(3)
    number = place.create(maxInFlight=1)
    (first,) = place.crowd.wait_notices(1)
    waiting = next(n for n in place.crowd.names if n != first)
    place.call("updateDevice", product="p", device=waiting, hold=True)
    assert place.tasks(number)[waiting]["waitReason"] == "held"
    sentence(place, waiting, "on hold", NEW)
    place.crowd.succeed(first)
    second = place.crowd.wait_notices(2)[-1]
    assert second not in (first, waiting)
    place.crowd.succeed(second)
    place.quiet()
    assert len(place.crowd.notices()) == 2
    place.call("updateDevice", product="p", device=waiting, hold=False)
    assert place.crowd.wait_notices(3)[-1] == waiting


def test_offline_devices_are_told_when_they_come(place):
    place = place(2)
    place.call("createDevice", product="p", device="m2")
    number = place.create()
    place.wait(number, "running", message_sent=2, device_offline=1)
    assert reason(place, "m2") == "device_offline"
    sentence(place, "m2", "not connected", NEW)
    place.crowd.report_version(OLD, ["m2"])
    place.crowd.wait_notices(3)
    place.wait(number, "running", message_sent=3)


def test_continuous(place):
    place = place(2)
    number = place.create(mode="continuous", target={"notVersions": [NEW, "0.0.3"], "tags": ["t"]})
    place.quiet()
    assert place.get(number)["total"] == 0 and place.get(number)["state"] == "running"
    place.call("updateDevice", product="p", device="m0", tags=["t", "u"])
    assert place.crowd.wait_notices(1) == ["m0"]
    place.call("createDevice", product="p", device="m9", tags=["t"])
    assert reason(place, "m9") == "never_reported"
    place.crowd.report_version("0.0.3", ["m9"])
    place.crowd.report_version("0.0.0", ["m9"])
    assert place.crowd.wait_notices(2) == ["m0", "m9"]
    # Three tasks a device, and then it is left alone.
    for n in range(1, 4):
        since = len(place.crowd.messages)
        place.crowd.fail("m0")
        if n < 3:
            place.crowd.wait_notices(1, since)
    place.quiet()
    assert not place.crowd.notices(since)
    assert counts(place.get(number)) == {"failed": 3, "message_sent": 1}
    place.crowd.says("m9", "done")
    place.quiet()  # it boots: it is told nothing
    assert counts(place.get(number)) == {"failed": 3, "succeeded": 1}
    place.crowd.report_version(NEW, ["m9"])
    place.wait(number, "running", failed=3, succeeded=1)
    place.call("cancelBatch", batch=number)
    place.call("updateDevice", product="p", device="m1", tags=["t"])
    place.quiet()
    assert place.get(number)["total"] == 4


def test_the_newest_continuous_batch_wins(place):
    place = place(0)
    old = place.create(mode="continuous")
    new = place.create(mode="continuous", target={"tags": ["t"]})
    place.call("createDevice", product="p", device="d0", tags=["t"])
    place.call("createDevice", product="p", device="d1")
    place.wait(new, "running", device_offline=1)
    place.wait(old, "running", device_offline=1)
    assert (set(place.tasks(new)), set(place.tasks(old))) == ({"d0"}, {"d1"})


# -- schedule


def test_start_and_expiry(place):
    place = place(3)
    now = int(time.time() * 1000)
    batch = create(place.admin, startAt=now + 1000, expireAt=now + 3500, maxInFlight=1)
    number = batch["batch"]
    assert (batch["state"], batch["total"]) == ("scheduled", 0)
    (first,) = place.crowd.wait_notices(1)
    batch = place.get(number)
    assert batch["startedAt"] >= now + 1000 and counts(batch)["task_waiting"] == 2
    place.wait(number, "running", "expired", message_sent=1, cancelled=2)
    made = place.tasks(number)
    for name in set(made) - {first}:
        assert made[name]["resultMessage"] == "expired"
        assert reason(place, name) == "cancelled"
    refuse(place.admin, "retryBatch", "conflict", "batch", batch=number)
    refuse(place.admin, "updateBatch", "conflict", "batch", batch=number, name="x")
    place.crowd.succeed(first)
    place.wait(number, "finished", "expired", succeeded=1, cancelled=2)


# -- steering


def test_pause(place):
    place = place(4)
    number = place.create(maxInFlight=2)
    first = place.crowd.wait_notices(2)
    place.call("pauseBatch", batch=number)
    place.crowd.succeed(*first)
    place.quiet()
    assert len(place.crowd.notices()) == 2
    waiting = next(n for n in place.crowd.names if n not in first)
    assert place.tasks(number)[waiting]["waitReason"] == "paused"
    sentence(place, waiting, f"batch {number} is paused", "admin", "resume")
    place.call("resumeBatch", batch=number)
    place.crowd.wait_notices(4)


def download(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def test_cancel_lets_devices_under_way_finish(place):
    place = place(4)
    number = place.create(maxInFlight=2, retry={"max": 3})
    first = place.crowd.wait_notices(2)
    answer = place.call("cancelBatch", batch=number)["batch"]
    assert (answer["state"], answer["stateReason"]) == ("cancelled", "admin")
    place.wait(number, "cancelled", "admin", message_sent=2, cancelled=2)
    assert place.crowd.cancels() == {}
    assert len(download(place.crowd.notices()[first[0]]["url"])) == 1000
    place.crowd.succeed(first[0])
    place.crowd.fail(first[1], -1)  # no new attempt any more
    place.wait(number, "cancelled", "admin", succeeded=1, cancelled=3)
    history = place.call("getTask", task=place.tasks(number)[first[1]]["task"])
    assert statuses(history) == ["message_sent", "failed", "cancelled"]


def test_cancel_with_devices_under_way(place):
    place = place(4)
    number = place.create(maxInFlight=2)
    first = place.crowd.wait_notices(2)
    place.call("cancelBatch", batch=number, running="cancel")
    place.wait(number, "cancelled", "admin", cancelled=4)
    place.crowd.wait_for(lambda: len(place.crowd.cancels()) == 2)
    assert set(place.crowd.cancels()) == set(first)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        download(place.crowd.notices()[first[0]]["url"])
    assert refusal.value.code == 403
    for name in set(place.crowd.names) - set(first):
        assert reason(place, name) == "cancelled"
    place.crowd.succeed(first[0])  # late truth
    assert counts(place.get(number)) == {"succeeded": 1, "cancelled": 3}
    refuse(place.admin, "retryTask", "conflict", "batch",
           task=place.tasks(number)[first[1]]["task"])


def test_retry_batch(place):
    place = place(4)
    number = place.create()
    place.crowd.wait_notices(4)
    for name in ("m0", "m1", "m2"):
        place.crowd.fail(name)
    place.crowd.succeed("m3")
    place.wait(number, "finished", failed=3, succeeded=1)
    place.call("updateDevice", product="p", device="m1", hold=True)
    since = len(place.crowd.messages)
    place.call("upgradeDevice", product="p", device="m2", version=NEW)
    assert place.crowd.wait_notices(1, since) == ["m2"]
    since = len(place.crowd.messages)
    batch = place.call("retryBatch", batch=number)["batch"]
    assert (batch["state"], batch["finishedAt"]) == ("running", None)
    assert place.crowd.wait_notices(1, since) == ["m0"]
    place.wait(number, "running", message_sent=1, failed=2, succeeded=1)
    task = place.tasks(number)["m0"]
    assert task["attempt"] == 2 and task["resultCode"] is None
    place.crowd.succeed("m0")
    place.wait(number, "finished", failed=2, succeeded=2)


def test_retry_of_one_task_brings_its_batch_back(place):
    place = place(3)
    number = place.create()
    place.crowd.wait_notices(3)
    for name in place.crowd.names:
        place.crowd.fail(name)
    place.wait(number, "finished", failed=3)
    since = len(place.crowd.messages)
    place.call("retryTask", task=place.tasks(number)["m1"]["task"])
    assert place.crowd.wait_notices(1, since) == ["m1"]
    place.wait(number, "running", message_sent=1, failed=2)
    refuse(place.admin, "deleteFirmware", "conflict", "version", product="p", version=NEW)
    place.crowd.succeed("m1")
    place.wait(number, "finished", failed=2, succeeded=1)
    assert_silent(place.crowd, 0.2, since=len(place.crowd.messages))


def test_a_version_report_ends_a_waiting_task(place):
    place = place(2)
    number = place.create(maxInFlight=1)
    (first,) = place.crowd.wait_notices(1)
    other = next(n for n in place.crowd.names if n != first)
    place.crowd.report_version(NEW, [other])  # somebody was there with a cable
    batch = place.wait(number, "running", message_sent=1, succeeded=1)
    assert batch["confirmed"] == 1
    assert place.tasks(number)[other]["sentAt"] is None


def test_many_notices_are_paced_for_the_broker(place):
    """Nobody waits for long beside a batch of a thousand."""
    place = place(1000)
    number = place.create(target={"fromVersions": [OLD]}, maxInFlight=2000)
    beside = place.ota.device("p", "beside")
    beside.report_version("0.0.0")
    place.call("upgradeDevice", product="p", device="beside", version=NEW)
    beside.wait_notice(NEW, timeout=5)
    place.wait(number, "running", message_sent=1000)
    assert len(place.crowd.wait_notices(1000)) == 1000
    place.call("cancelBatch", batch=number, running="cancel")
    until(lambda: counts(place.get(number)) == {"cancelled": 1000}, "the end of all")
