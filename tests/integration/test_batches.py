# SPDX-License-Identifier: BSD-3-Clause
"""The commands for batches: what they answer, what they refuse, what they leave behind."""
import json
import time

import pytest

from control_help import bulk, read_all, refuse, walk
from crowd import (
    ANYBODY, NO_STATUS, Crowd, counts, create, get, stock, tasks, until, wait_batch,
)  # fmt: skip
from steps import NEW, OLD

KEYS = {
    "batch", "product", "version", "name", "mode", "state", "stateReason", "total", "counts",
    "confirmed", "contradicted", "successes", "failures", "inFlight", "excluded", "stages",
    "createdAt", "startedAt", "finishedAt", "target", "named", "ratePerMinute", "maxInFlight",
    "failureThreshold", "gate", "retry", "timeoutSeconds", "startAt", "expireAt", "override",
    "reinstall", "allowDowngrade",
}  # fmt: skip

HOUR = 3_600_000
NOBODY = {"fromVersions": ["nosuch"]}


def now_ms():
    return int(time.time() * 1000)


@pytest.fixture
def place(admin):
    stock(admin)
    return admin


def devices(admin, count, **fields):
    bulk(
        admin,
        [
            {"command": "createDevice", "product": "p", "device": f"d{n}", **fields}
            for n in range(count)
        ],
    )


# -- createBatch


def test_a_new_batch(place):
    devices(place, 2)
    before = now_ms()
    batch = create(place)
    assert set(batch) == KEYS
    assert before <= batch["createdAt"] <= now_ms()
    assert batch == {
        **batch,
        "product": "p", "version": NEW, "name": "", "mode": "snapshot", "state": "preparing",
        "stateReason": None, "total": 0, "counts": NO_STATUS, "confirmed": 0, "contradicted": 0,
        "successes": 0, "failures": 0, "inFlight": 0,
        "excluded": {"on_version": 0, "busy": 0, "held": 0, "downgrade": 0},
        "finishedAt": None, "target": {"all": True}, "named": False, "ratePerMinute": None,
        "maxInFlight": 500, "failureThreshold": None, "gate": "confirmed",
        "retry": {"max": 0, "delaySeconds": 30}, "timeoutSeconds": 900, "startAt": None,
        "expireAt": None, "override": False, "reinstall": False, "allowDowngrade": False,
    }  # fmt: skip
    assert batch["startedAt"] >= before
    running = wait_batch(place, batch["batch"], "running", device_offline=2)
    assert running["total"] == 2
    (stage,) = running["stages"]
    assert stage == {
        "state": "open", "total": 2, "counts": {**NO_STATUS, "device_offline": 2}, "confirmed": 0,
        "contradicted": 0, "successes": 0, "failures": 0, "needed": 2,
        "openedAt": stage["openedAt"], "minSuccessPercent": 90, "soakSeconds": 0,
        "advance": "auto", "percent": 100.0,
    }  # fmt: skip
    task = tasks(place, batch["batch"])["d1"]
    assert (task["batch"], task["version"], task["status"]) == (
        batch["batch"], NEW, "device_offline",
    )  # fmt: skip


def test_everything_that_can_be_given_is_shown(place):
    given = {
        "name": "spring \u00e4",
        "target": {
            "fromVersions": ["1", "2"], "notVersions": ["3"], "tags": ["t"], "online": False,
        },  # fmt: skip
        "stages": [
            {"count": 3, "minSuccessPercent": 60, "soakSeconds": 90, "advance": "manual"},
            {"percent": 12.5},
            {"percent": 100},
        ],
        "ratePerMinute": 77,
        "maxInFlight": 5,
        "failureThreshold": {"percent": 7, "minFinished": 9},
        "gate": "done",
        "retry": {"max": 2, "delaySeconds": 45, "on": ["timeout", -4]},
        "timeoutSeconds": 33,
        "startAt": now_ms() + HOUR,
        "expireAt": now_ms() + 2 * HOUR,
        "override": True,
        "reinstall": True,
        "allowDowngrade": True,
    }
    batch = create(place, **given)
    assert batch["state"] == "scheduled" and batch["startedAt"] is None
    for key, value in given.items():
        if key != "stages":
            assert batch[key] == value, key
    shown = [
        {key: stage[key] for key in ("minSuccessPercent", "soakSeconds", "advance")}
        for stage in batch["stages"]
    ]
    assert shown == [
        {"minSuccessPercent": 60, "soakSeconds": 90, "advance": "manual"},
        {"minSuccessPercent": 90, "soakSeconds": 0, "advance": "auto"},
        {"minSuccessPercent": 90, "soakSeconds": 0, "advance": "auto"},
    ]
    assert [stage.get("count") for stage in batch["stages"]] == [3, None, None]
    assert [stage.get("percent") for stage in batch["stages"]] == [None, 12.5, 100.0]
    assert [stage["state"] for stage in batch["stages"]] == ["waiting"] * 3
    assert get(place, batch["batch"]) == batch
    continuous = create(place, mode="continuous", retry={"max": 1})
    assert continuous["mode"] == "continuous"
    assert continuous["retry"] == {"max": 1, "delaySeconds": 30}


def refuse_create(admin, code, field, **fields):
    fields = {"product": "p", "version": NEW, "target": {"all": True}, **fields}
    return refuse(admin, "createBatch", code, field, **fields)


def test_what_does_not_go_together(place):
    devices(place, 1)
    before = read_all(place)
    soon = now_ms() + HOUR
    for dry in ({}, {"dryRun": True}):
        refuse_create(place, "invalid_request", "target", target=None, **dry)
        refuse_create(place, "invalid_request", "stages", mode="continuous",
                      stages=[{"percent": 100}], **dry)
        refuse_create(place, "invalid_request", "reinstall", mode="continuous", reinstall=True,
                      **dry)
        refuse_create(place, "invalid_request", "expireAt", expireAt=now_ms() - 1000, **dry)
        refuse_create(place, "invalid_request", "expireAt", startAt=soon, expireAt=soon, **dry)
        refuse_create(place, "not_found", "product", product="q", **dry)
        refuse_create(place, "not_found", "version", version="9", **dry)
        refuse_create(place, "not_found", "devices", target={"devices": ["d0", "e"]}, **dry)
    refuse_create(place, "invalid_request", "target", target=None, draft=True, dryRun=True)
    assert read_all(place) == before
    assert place.call("listBatches")["batches"] == []


def test_no_such_batch(place):
    for name in (
        "startBatch", "updateBatch", "getBatch", "pauseBatch", "resumeBatch", "advanceBatch",
        "cancelBatch", "retryBatch", "listTasks", "getStats",
    ):  # fmt: skip
        for number in (1, 2**53, 2**63 - 1):
            refuse(place, name, "not_found", "batch", batch=number)
    refuse(place, "addBatchDevices", "not_found", "batch", batch=1, devices=["d"])


def test_who_may_what(ota, place):
    devices(place, 1)
    operator, viewer = ota.admin("op"), ota.admin("viewer")
    batch = create(operator, draft=True)["batch"]
    steps = [
        ("addBatchDevices", {"devices": ["d0"]}), ("startBatch", {}),
        ("updateBatch", {"name": "x"}), ("pauseBatch", {}), ("resumeBatch", {}),
        ("retryBatch", {}), ("cancelBatch", {}),
    ]  # fmt: skip
    for name, fields in steps:
        refuse(viewer, name, "forbidden", batch=batch, **fields)
        operator.call(name, batch=batch, **fields)
        if name == "startBatch":
            wait_batch(operator, batch, "running")
        assert get(viewer, batch)["batch"] == batch
    refuse(viewer, "advanceBatch", "forbidden", batch=batch)
    refuse(viewer, "createBatch", "forbidden", product="p", version=NEW, target={"all": True},
           dryRun=True)
    assert viewer.call("listBatches")["batches"][0]["batch"] == batch
    assert viewer.call("getStats", batch=batch)["statuses"]["cancelled"] == 1


# -- what may be done when

ALLOWED = {
    "startBatch": {"draft"},
    "addBatchDevices": {"draft"},
    "pauseBatch": {"scheduled", "running"},
    "resumeBatch": {"paused"},
    "advanceBatch": {"running", "paused"},
    "cancelBatch": {"draft", "scheduled", "running", "paused"},
    "retryBatch": {"running", "paused", "finished"},
    "updateBatch": {"draft", "scheduled", "running", "paused"},
}


def batch_in(admin, state):
    fields = {"stages": [{"count": 1}, {"percent": 100}]}
    if state == "draft":
        return create(admin, draft=True)["batch"]
    if state == "scheduled":
        return create(admin, startAt=now_ms() + HOUR, **fields)["batch"]
    if state == "finished":
        number = create(admin, target=NOBODY)["batch"]
        return wait_batch(admin, number, "finished")["batch"]
    number = create(admin, **fields)["batch"]
    wait_batch(admin, number, "running")
    if state == "paused":
        admin.call("pauseBatch", batch=number)
    elif state == "cancelled":
        admin.call("cancelBatch", batch=number)
    return number


@pytest.mark.parametrize("state", ["draft", "scheduled", "running", "paused", "cancelled",
                                   "finished"])
def test_what_is_allowed_when(place, state):
    devices(place, 3)
    for name, states in ALLOWED.items():
        number = batch_in(place, state)
        fields = {"devices": ["d0"]} if name == "addBatchDevices" else {}
        if state in states:
            answer = place.call(name, batch=number, **fields)["batch"]
            assert answer["batch"] == number and set(answer) == KEYS
        else:
            before = get(place, number)
            text = refuse(place, name, "conflict", "batch", batch=number, **fields)
            assert f"batch {number}" in text
            assert get(place, number)["state"] == before["state"]
        if get(place, number)["state"] not in ("cancelled", "finished"):
            place.call("cancelBatch", batch=number)
        until(lambda n=number: get(place, n)["counts"]["device_offline"] == 0, "the end of all")


def test_the_answer_is_what_will_be(place):
    """A steering command answers with the batch as it is afterwards."""
    devices(place, 4)
    number = batch_in(place, "running")
    assert place.call("pauseBatch", batch=number)["batch"]["state"] == "paused"
    assert place.call("resumeBatch", batch=number)["batch"]["state"] == "running"
    advanced = place.call("advanceBatch", batch=number)["batch"]
    assert [stage["state"] for stage in advanced["stages"]] == ["passed", "open"]
    assert advanced["total"] == 4 and advanced["stages"][1]["openedAt"]
    cancelled = place.call("cancelBatch", batch=number)["batch"]
    assert (cancelled["state"], cancelled["stateReason"]) == ("cancelled", "admin")
    assert cancelled["finishedAt"]
    refuse(place, "advanceBatch", "conflict", "batch", batch=number)


def test_update_batch(place):
    devices(place, 1)
    number = batch_in(place, "running")
    changes = {
        "name": "second thoughts", "ratePerMinute": 600, "maxInFlight": 9,
        "failureThreshold": {"percent": 10, "minFinished": 20}, "expireAt": now_ms() + HOUR,
    }  # fmt: skip
    for key, value in changes.items():
        before = get(place, number)
        after = place.call("updateBatch", batch=number, **{key: value})["batch"]
        assert after[key] == value
        assert after == {**before, key: value}
    for wrong in (now_ms() - 1000, 1):
        refuse(place, "updateBatch", "invalid_request", "expireAt", batch=number, expireAt=wrong)
    assert get(place, number) == after
    number = create(place, startAt=now_ms() + HOUR)["batch"]
    refuse(place, "updateBatch", "invalid_request", "expireAt", batch=number,
           expireAt=now_ms() + HOUR // 2)


# -- drafts and lists of names


def test_a_draft_of_a_thousand_names(place):
    devices(place, 1100)
    names = [f"d{n}" for n in range(1000)]
    number = create(place, target=None, draft=True)["batch"]
    refuse(place, "startBatch", "conflict", "batch", batch=number)
    for _ in range(2):  # who is there already isn't added twice
        batch = place.call("addBatchDevices", batch=number, devices=names)["batch"]
        assert batch["named"] and batch["state"] == "draft" and batch["total"] == 0
    place.call("addBatchDevices", batch=number, devices=["d1099", "d5", "d5"])
    refuse(place, "addBatchDevices", "not_found", "devices", batch=number,
           devices=["d1098", "nosuch"])
    assert place.call("startBatch", batch=number)["batch"]["state"] == "preparing"
    wait_batch(place, number, "running", device_offline=1001)
    made = tasks(place, number, limit=200)
    assert "d1099" in made and "d1098" not in made and "d999" in made
    refuse(place, "addBatchDevices", "conflict", "batch", batch=number, devices=["d1098"])
    refuse(place, "startBatch", "conflict", "batch", batch=number)


def test_names_and_the_rest_of_the_target(place):
    """Names, whether from the target or added, are one list; the rest is ANDed with it."""
    devices(place, 4, tags=["t"])
    place.call("updateDevice", product="p", device="d1", tags=[])
    number = create(place, target={"devices": ["d0"], "tags": ["t"]}, draft=True)["batch"]
    batch = place.call("addBatchDevices", batch=number, devices=["d1", "d2"])["batch"]
    assert batch["target"] == {"tags": ["t"]} and batch["named"]
    place.call("startBatch", batch=number)
    wait_batch(place, number, "running", device_offline=2)
    assert set(tasks(place, number)) == {"d0", "d2"}


# -- dry runs


def test_a_dry_run(broker):
    ota = broker(options=ANYBODY)
    admin = ota.admin()
    stock(admin, OLD, "0.0.3")
    crowd = Crowd(ota, 10)
    crowd.report_version(NEW, ["m0"])
    crowd.report_version("0.0.9", ["m1"])  # was never uploaded: it has no order
    admin.add_firmware("p", "1.0.0")
    crowd.report_version("1.0.0", ["m2"])
    admin.call("updateDevice", product="p", device="m3", hold=True)
    admin.call("upgradeDevice", product="p", device="m4", version=NEW)
    before = read_all(admin)
    fields = {
        "target": {"all": True},
        "stages": [{"count": 2}, {"percent": 50}, {"percent": 100}],
    }
    told = admin.call("createBatch", product="p", version=NEW, dryRun=True, **fields)
    assert told == {
        "matched": 10,
        "total": 6,
        "excluded": {"on_version": 1, "busy": 1, "held": 1, "downgrade": 1},
        "stages": [2, 1, 3],
        "bytes": 6000,
        "estimatedSeconds": told["estimatedSeconds"],
    }
    assert told["estimatedSeconds"] > 0
    assert read_all(admin) == before
    assert admin.call("listBatches")["batches"] == []
    number = create(admin, **fields)["batch"]
    batch = wait_batch(admin, number, "running")
    assert (batch["total"], batch["excluded"]) == (told["total"], told["excluded"])
    assert [stage["total"] for stage in batch["stages"]] == told["stages"]


def test_a_dry_run_by_names(place):
    devices(place, 3)
    told = place.call(
        "createBatch", product="p", version=NEW, dryRun=True,
        target={"devices": ["d0", "d1", "d0", "d0"]},
    )  # fmt: skip
    assert (told["matched"], told["total"], told["stages"]) == (2, 2, [2])
    number = create(place, target={"devices": ["d0", "d1", "d0", "d0"]})["batch"]
    assert wait_batch(place, number, "running")["total"] == 2


# -- lists


def test_list_batches(place):
    place.call("createProduct", product="q")
    place.add_firmware("q", NEW)
    devices(place, 1)
    numbers = [create(place, draft=True, name=str(n))["batch"] for n in range(7)]
    other = create(place, product="q", draft=True)["batch"]
    running = create(place)["batch"]
    wait_batch(place, running, "running")
    place.call("cancelBatch", batch=numbers[0])
    everything = place.call("listBatches")["batches"]
    assert [b["batch"] for b in everything] == sorted([*numbers, other, running], reverse=True)
    assert all(set(b) == KEYS for b in everything)

    def listed(**fields):
        return [b["batch"] for b in place.list_all("listBatches", "batches", **fields)]

    assert listed(product="q") == [other]
    assert listed(state="running") == [running]
    assert listed(product="p", state="draft") == numbers[:0:-1]
    assert listed(state="cancelled") == [numbers[0]]
    assert listed(product="q", state="running") == []
    refuse(place, "listBatches", "not_found", "product", product="nosuch")
    for limit in (1, 2, 4, 100):
        rows, pages = walk(place, "listBatches", limit)
        assert [b["batch"] for b in rows] == [b["batch"] for b in everything]
        assert pages >= -(-9 // limit)
    cursor = place.call("listBatches", product="p", limit=2)["nextCursor"]
    refuse(place, "listBatches", "invalid_request", "cursor", product="q", cursor=cursor)
    # One that is made meanwhile isn't on the pages that follow.
    create(place, draft=True)
    second = place.call("listBatches", product="p", limit=2, cursor=cursor)["batches"]
    assert [b["batch"] for b in second] == [numbers[5], numbers[4]]


def test_list_tasks_of_a_batch(place):
    devices(place, 7)
    first = create(place, target={"devices": ["d0", "d1", "d2", "d3", "d4"]})["batch"]
    second = create(place)["batch"]
    wait_batch(place, second, "running", device_offline=2)
    assert set(tasks(place, first)) == {"d0", "d1", "d2", "d3", "d4"}
    assert set(tasks(place, second)) == {"d5", "d6"}
    place.call("cancelTask", task=tasks(place, first)["d3"]["task"])
    assert set(tasks(place, first, status="cancelled")) == {"d3"}
    assert set(tasks(place, first, status="device_offline")) == {"d0", "d1", "d2", "d4"}
    assert set(tasks(place, first, product="p", device="d4")) == {"d4"}
    assert tasks(place, second, version="nosuch") == {}
    rows, pages = walk(place, "listTasks", 2, batch=first)
    assert pages == 3 and [row["task"] for row in rows] == sorted(
        (row["task"] for row in rows), reverse=True
    )


# -- getStats


def test_stats(broker):
    ota = broker(options=ANYBODY)
    admin = ota.admin()
    stock(admin)
    refuse(admin, "getStats", "invalid_request", "product")
    assert admin.call("getStats", product="p") == {
        "versions": [], "statuses": NO_STATUS, "failures": [],
    }  # fmt: skip
    crowd = Crowd(ota, 8)
    crowd.report_version("0.0.0", ["m6", "m7"])
    admin.call("createDevice", product="p", device="new")
    number = create(admin, retry={"max": 0})["batch"]
    crowd.wait_notices(8)
    for name, code in (("m0", -4), ("m1", -4), ("m2", -4), ("m6", -4), ("m3", -99)):
        crowd.fail(name, code)
    crowd.says("m4", "done")
    crowd.report_version(OLD, ["m4"])  # contradicts it
    crowd.succeed("m5")
    by_batch = admin.call("getStats", batch=number)
    assert by_batch["failures"][0] == {
        "resultCode": -4, "text": "checksum mismatch", "fromVersion": OLD, "count": 3,
    }  # fmt: skip
    assert sorted(map(str, by_batch["failures"][1:])) == sorted(map(str, [
        {"resultCode": -4, "text": "checksum mismatch", "fromVersion": "0.0.0", "count": 1},
        {"resultCode": -99, "text": "the device reported a failure of its own",
         "fromVersion": OLD, "count": 1},
        {"resultCode": None, "text": "reported another version after success",
         "fromVersion": OLD, "count": 1},
    ]))  # fmt: skip
    assert by_batch["statuses"] == {
        **NO_STATUS, "failed": 5, "succeeded": 2, "message_sent": 1, "device_offline": 1,
    }  # fmt: skip
    versions = {row["version"]: row["devices"] for row in by_batch["versions"]}
    assert versions == {OLD: 5, "0.0.0": 2, NEW: 1, None: 1}
    assert admin.call("getStats", product="p") == by_batch
    refuse(admin, "getStats", "invalid_request", "product", product="p", batch=number)
    refuse(admin, "getStats", "not_found", "product", product="q")


# -- beside other commands


def test_a_request_makes_one_batch(place):
    devices(place, 2)
    fields = {"product": "p", "version": NEW, "target": {"devices": ["d0"]}, "requestId": "r1"}
    first = place.call("createBatch", **fields)
    wait_batch(place, first["batch"]["batch"], "running")
    assert place.call("createBatch", **fields) == first
    refuse(place, "createBatch", "conflict", "requestId", **{**fields, "name": "x"})
    number = first["batch"]["batch"]
    paused = place.call("pauseBatch", batch=number, requestId="r2")
    place.call("resumeBatch", batch=number)
    assert place.call("pauseBatch", batch=number, requestId="r2") == paused
    assert get(place, number)["state"] == "running"  # it was paused once
    assert len(place.call("listBatches")["batches"]) == 1


@pytest.mark.parametrize("state", ["draft", "scheduled", "running", "paused"])
def test_firmware_that_a_batch_needs(place, state):
    devices(place, 2)
    number = batch_in(place, state)
    refuse(place, "deleteFirmware", "conflict", "version", product="p", version=NEW)
    place.call("cancelBatch", batch=number)
    wait_batch(place, number, **({"cancelled": 2} if state in ("running", "paused") else {}))
    place.call("deleteFirmware", product="p", version=NEW)
    assert get(place, number)["version"] == NEW
    refuse(place, "createBatch", "not_found", "version", product="p", version=NEW,
           target={"all": True})


def test_a_batch_whose_firmware_is_gone(broker):
    ota = broker(options=ANYBODY)
    admin = ota.admin()
    stock(admin)
    crowd = Crowd(ota, 1)
    number = create(admin)["batch"]
    crowd.wait_notices(1)
    crowd.fail("m0")
    wait_batch(admin, number, "finished", failed=1)
    task = tasks(admin, number)["m0"]["task"]
    admin.call("deleteFirmware", product="p", version=NEW)
    refuse(admin, "retryBatch", "conflict", "batch", batch=number)
    refuse(admin, "retryTask", "conflict", "task", task=task)


def test_a_product_with_batches(place):
    devices(place, 2)
    finished = create(place, target=NOBODY)["batch"]
    wait_batch(place, finished, "finished")
    scheduled = create(place, startAt=now_ms() + HOUR)["batch"]
    running = create(place)["batch"]
    wait_batch(place, running, "running")
    refuse(place, "deleteProduct", "conflict", "product", product="p", force=True)
    place.call("cancelBatch", batch=running)
    wait_batch(place, running, cancelled=2)
    refuse(place, "deleteProduct", "conflict", "force", product="p")
    place.call("deleteProduct", product="p", force=True)
    for number in (finished, scheduled, running):
        refuse(place, "getBatch", "not_found", "batch", batch=number)
    assert place.call("listBatches")["batches"] == []
    stock(place)
    assert place.call("listBatches", product="p")["batches"] == []
    assert create(place, draft=True)["batch"] > running  # no number twice


def test_a_deleted_device_leaves_its_batches(broker):
    ota = broker(options=ANYBODY)
    admin = ota.admin()
    stock(admin)
    crowd = Crowd(ota, 3)
    number = create(admin)["batch"]
    crowd.wait_notices(3)
    crowd.fail("m0")
    crowd.succeed("m1")
    refuse(admin, "deleteDevice", "conflict", "device", product="p", device="m2")
    admin.call("deleteDevice", product="p", device="m0")
    batch = get(admin, number)
    assert (batch["total"], counts(batch)) == (2, {"succeeded": 1, "message_sent": 1})
    crowd.succeed("m2")
    assert wait_batch(admin, number, "finished")["confirmed"] == 2
    admin.call("deleteDevice", product="p", device="m2")
    batch = get(admin, number)
    assert (batch["total"], batch["confirmed"]) == (1, 1)


# -- what listeners hear


def test_events(ota, admin):
    stock(admin)
    listener = ota.client("viewer")
    assert listener.subscribe("$ota/event/p") == 0
    bulk(admin, [{"command": "createDevice", "product": "p", "device": f"d{n}"} for n in range(3)])
    number = create(admin, draft=True)["batch"]
    admin.call("startBatch", batch=number)
    wait_batch(admin, number, "running")
    admin.call("updateBatch", batch=number, name="no news")
    admin.call("pauseBatch", batch=number)
    admin.call("resumeBatch", batch=number)
    admin.call("cancelBatch", batch=number)
    wait_batch(admin, number, cancelled=3)

    def heard():
        events = [json.loads(m.payload) for m in listener.messages]
        return [e for e in events if e["type"] == "batch"]

    listener.wait_for(lambda: len(heard()) >= 6)
    assert [(e["state"], e.get("reason")) for e in heard()] == [
        ("draft", None), ("preparing", None), ("running", None), ("paused", "admin"),
        ("running", None), ("cancelled", "admin"),
    ]  # fmt: skip
    for event in heard():
        assert event["batch"] == number and abs(event["at"] - now_ms()) < 60_000
        assert set(event) <= {"type", "batch", "state", "reason", "openStages", "at"}
