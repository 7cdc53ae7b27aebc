# SPDX-License-Identifier: BSD-3-Clause
"""Batches over the broker's end, orderly or with -9, in each of their phases: what they were they
are, nobody is forgotten, and nobody gets a notice because of it."""
import time

import pytest

from clients import CONTROL
from common import TIMEOUT
from control_help import bulk, read_all, statuses
from crowd import ANYBODY, Crowd, counts, create, get, stock, tasks, until, wait_batch
from faults import Faults
from steps import NEW, OLD
from test_restart import check_file, end_and_start, rows, without_percent

MANY = 4000


@pytest.fixture
def ota(broker):
    return broker(options=ANYBODY)


@pytest.fixture
def place(ota):
    admin = ota.admin()
    stock(admin, OLD)
    return admin


def make_devices(admin, count, product="p"):
    bulk(
        admin,
        [
            {"command": "createDevice", "product": product, "device": f"d{n}"}
            for n in range(count)
        ],
    )


def rejoin(crowd, connects, *done):
    """All report what they run, as devices do when they come back."""
    crowd.wait_reconnected(connects)
    crowd.report_version(NEW, done)
    crowd.report_version(OLD, [name for name in crowd.names if name not in done])


def target(crowd):
    return {"devices": crowd.names}


def fill(ota, admin):
    """A batch in each state of affairs, each with ten devices of its own; {phase: batch}."""
    made = {}
    crowds = {}

    def ten(phase, **fields):
        crowds[phase] = Crowd(ota, 10, prefix=phase)
        made[phase] = create(admin, target=target(crowds[phase]), name=phase, **fields)["batch"]
        return crowds[phase], made[phase]

    three = [
        {"count": 2, "soakSeconds": 600},
        {"percent": 50, "advance": "manual"},
        {"percent": 100},
    ]
    ten("draft", draft=True)
    ten("scheduled", startAt=int(time.time() * 1000) + 3_600_000, stages=three)
    crowd, _ = ten("soaking", stages=three)
    crowd.succeed(*crowd.wait_notices(2))
    crowd, number = ten("mixed", maxInFlight=7, retry={"max": 1, "delaySeconds": 600, "on": [-1]},
                        ratePerMinute=60_000, failureThreshold={"percent": 90, "minFinished": 9})
    told = crowd.wait_notices(7)
    for name, state in zip(told, ("downloading", "downloaded", "burning", "done")):
        crowd.says(name, state, 40)
    crowd.succeed(told[4])
    crowd.fail(told[5], -1)
    crowd.fail(told[6], -4)
    wait_batch(admin, number, "running", task_waiting=1, message_sent=3, downloading=1,
               downloaded=1, upgrading=1, failed=1, succeeded=2)  # fmt: skip
    crowd, number = ten("paused", stages=three)
    crowd.fail(crowd.wait_notices(2)[0])
    wait_batch(admin, number, "paused", "stage_gate")
    crowd, number = ten("finished")
    crowd.wait_notices(10)
    for name in crowd.names[:5]:
        crowd.says(name, "done")
    crowd.report_version(NEW, crowd.names[:3])
    crowd.report_version(OLD, crowd.names[3:4])
    for name in crowd.names[5:]:
        crowd.fail(name)
    wait_batch(admin, number, "finished", succeeded=5, failed=5)
    crowd, number = ten("cancelling")
    crowd.wait_notices(10)
    admin.call("cancelBatch", batch=number)
    crowd, number = ten("cancelled", stages=three)
    crowd.wait_notices(2)
    admin.call("cancelBatch", batch=number, running="cancel")
    wait_batch(admin, number, "cancelled", cancelled=10)
    crowd, number = ten("expired", maxInFlight=3, expireAt=int(time.time() * 1000) + 2500)
    crowd.wait_notices(3)
    wait_batch(admin, number, "running", "expired", message_sent=3, cancelled=7)
    ten("continuous", mode="continuous")
    until(lambda: get(admin, made["continuous"])["total"] == 10, "ten")
    for crowd in crowds.values():
        crowd.disconnect()
    until(lambda: admin.call("getInfo")["online"] == 0, "silence")
    return made


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_every_phase_is_read_again(ota, place, how):
    made = fill(ota, place)
    before = read_all(place)
    by_phase = {phase: get(place, number) for phase, number in made.items()}
    for _ in range(2):
        end_and_start(ota, place, how)
        after = read_all(place)
        if how == "kill":
            before, after = without_percent(before), without_percent(after)
        assert after.keys() == before.keys()
        for key, value in before.items():
            assert after[key] == value, key
    for phase, number in made.items():
        assert get(place, number) == by_phase[phase], phase


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_running_batch_goes_on(ota, place, how):
    crowd = Crowd(ota, 12)
    number = create(place, stages=[{"count": 3}, {"percent": 100}], maxInFlight=5)["batch"]
    first = crowd.wait_notices(3)
    crowd.succeed(first[0])
    connects = crowd.connects
    end_and_start(ota, place, how)
    batch = get(place, number)
    assert (batch["state"], batch["confirmed"]) == ("running", 1)
    assert [stage["state"] for stage in batch["stages"]] == ["open", "waiting"]
    since = len(crowd.messages)
    rejoin(crowd, connects, first[0])
    # Those under way are told again, as on any new connection; nobody else is.
    assert set(crowd.wait_notices(2, since)) == set(first[1:])
    time.sleep(0.3)  # nothing tells that nothing comes
    assert set(crowd.notices(since)) == set(first[1:])
    for name, task in tasks(place, number).items():
        assert task["attempt"] == 1, name
        if name in first:
            history = statuses(place.call("getTask", task=task["task"]))
            assert history.count("message_sent") == 1, name
    crowd.succeed(*first[1:])
    crowd.wait_notices(7, since)
    assert get(place, number)["inFlight"] == 5
    for _ in range(9):
        told = [n for n in crowd.notices(since) if n not in first]
        for name in told:
            crowd.succeed(name)
        if get(place, number)["state"] == "finished":
            break
        time.sleep(0.05)
    wait_batch(place, number, "finished", succeeded=12)


def test_paused_stays_paused(ota, place):
    crowd = Crowd(ota, 10)
    threshold = {"percent": 50, "minFinished": 2}
    number = create(place, failureThreshold=threshold, maxInFlight=3)["batch"]
    told = crowd.wait_notices(3)
    crowd.fail(told[0])
    crowd.fail(told[1])
    wait_batch(place, number, "paused", "failure_threshold")
    place.call("resumeBatch", batch=number)
    more = [n for n in crowd.wait_notices(5) if n not in told]
    connects = crowd.connects
    end_and_start(ota, place, "kill")
    rejoin(crowd, connects)
    crowd.fail(more[0])  # what was known is known: this is one of at least two
    time.sleep(0.2)
    assert get(place, number)["state"] == "running"
    crowd.fail(more[1])
    wait_batch(place, number, "paused", "failure_threshold")
    connects = crowd.connects
    end_and_start(ota, place, "kill")
    since = len(crowd.messages)
    rejoin(crowd, connects)
    time.sleep(0.3)
    batch = get(place, number)
    assert (batch["state"], batch["stateReason"]) == ("paused", "failure_threshold")
    waiting = {n for n, t in tasks(place, number).items() if t["status"] == "task_waiting"}
    assert waiting and not waiting & set(crowd.notices(since))


# -- killed in the midst


def check_tasks(ota, number, count):
    """The file is whole, and no device has two tasks of the batch."""
    check_file(ota)
    query = "SELECT count(*), count(DISTINCT device_id) FROM task WHERE batch_id = "
    ((made, devices),) = rows(ota, query + str(number))
    assert made == devices <= count
    return made


@pytest.mark.slow_asan
def test_killed_while_its_tasks_are_made(broker, tmp_path):
    ota = broker(options=ANYBODY, faults=Faults(tmp_path / "faults"))
    place = ota.admin()
    stock(place, OLD)
    make_devices(place, MANY)
    fields = {"product": "p", "version": NEW, "target": {"all": True}, "override": True,
              "stages": [{"percent": 0.1}, {"percent": 10}, {"percent": 100}]}
    before = ota.faults.writes
    number = create(place, **fields)["batch"]
    wait_batch(place, number, "running", device_offline=MANY)
    writes = ota.faults.writes - before
    made = []
    for percent in (10, 40, 80):
        number += 1
        ota.faults.kill_at_write(writes * percent // 100)
        place.publish(CONTROL, {"commands": [{"command": "createBatch", **fields}]}, 0, wait=False)
        ota.process.wait(TIMEOUT)
        made.append(check_tasks(ota, number, MANY))  # before the next start goes on with it
        ota.faults.heal()
        end_and_start(ota, place, "kill")
        batch = wait_batch(place, number, "running", device_offline=MANY)
        assert [stage["total"] for stage in batch["stages"]] == [4, 396, 3600]
        assert batch["excluded"] == {"on_version": 0, "busy": 0, "held": 0, "downgrade": 0}
        assert check_tasks(ota, number, MANY) == MANY
    assert made[0] < MANY and made[1] > 0, made


@pytest.mark.slow_asan
def test_killed_in_a_stage(ota, place):
    crowd = Crowd(ota, 300)
    number = create(place, stages=[{"percent": 50}, {"percent": 100}], maxInFlight=400)["batch"]
    crowd.wait_notices(1)
    connects = crowd.connects
    end_and_start(ota, place, "kill")
    check_tasks(ota, number, 300)
    told = {n for n, t in tasks(place, number).items() if t["sentAt"]}
    rejoin(crowd, connects)
    wait_batch(place, number, "running", message_sent=150, task_waiting=150)
    time.sleep(0.2)
    assert counts(get(place, number)) == {"message_sent": 150, "task_waiting": 150}
    now = tasks(place, number)
    assert told <= {n for n, t in now.items() if t["status"] == "message_sent"}
    history = rows(ota, "SELECT task_id, count(*) FROM event WHERE status = 1 GROUP BY task_id")
    assert len(history) == 150 and all(count == 1 for _, count in history)
    assert all(task["attempt"] == 1 for task in now.values())


def unfinished(ota):
    return rows(ota, "SELECT count(*) FROM task WHERE finished_at IS NULL")[0][0]


@pytest.mark.slow_asan
@pytest.mark.parametrize("running", ["finish", "cancel"])
def test_killed_in_a_cancel(ota, place, running):
    make_devices(place, MANY)
    crowd = Crowd(ota, 20)
    end = {"cancelled": MANY, "message_sent": 20}
    if running == "cancel":
        end = {"cancelled": MANY + 20}
    left = []
    for _ in range(3):
        connects, since = crowd.connects, len(crowd.messages)
        number = create(place, maxInFlight=20)["batch"]
        wait_batch(place, number, "running")
        assert len(crowd.wait_notices(20, since)) == 20
        answer = place.call("cancelBatch", batch=number, running=running)["batch"]
        assert answer["state"] == "cancelled"
        ota.kill9()
        check_tasks(ota, number, MANY + 20)
        left.append(unfinished(ota))
        reached = place.connects
        ota.start()
        place.wait_reconnected(reached)
        assert get(place, number)["state"] == "cancelled"
        wait_batch(place, number, "cancelled", **end)
        assert check_tasks(ota, number, MANY + 20) == MANY + 20
        end_and_start(ota, place, "kill")
        assert counts(get(place, number)) == end
        assert unfinished(ota) == end.get("message_sent", 0)
        if left[-1] > 100:
            break
        under_way = tasks(place, number, status="message_sent").values()
        bulk(place, [{"command": "cancelTask", "task": task["task"]} for task in under_way])
        crowd.wait_reconnected(connects)
        crowd.report_version(OLD)
    assert left[-1] > 100, f"it was always done already: {left}"
