# SPDX-License-Identifier: BSD-3-Clause
"""Many devices on one connection, and batches for them. Needs device_identity none: the broker
sends a device's notices to the client that reported for it last."""
import json
import time

from clients import Client
from common import TIMEOUT
from steps import NEW, OLD

ANYBODY = {"device_identity": "none"}
NO_STATUS = dict.fromkeys(
    ("device_offline", "task_waiting", "message_sent", "downloading", "downloaded", "upgrading",
     "failed", "succeeded", "cancelled"), 0,
)  # fmt: skip


class Crowd(Client):
    """Devices m0, m1, … of product p."""

    def __init__(self, broker, count, version=OLD, product="p", prefix="m", **settings):
        super().__init__(broker, **settings)
        broker._keep(self)  # pylint: disable=protected-access
        self.product = product
        self.names = [f"{prefix}{n}" for n in range(count)]
        if version:
            self.report_version(version)

    def _publish(self, name, payload, wait):
        self.publish(f"$ota/report/{self.product}/{name}", payload, 1, wait=wait)

    def report_version(self, version, names=None):
        """Returns when all were answered."""
        names = self.names if names is None else names
        since = len(self.messages)
        for name in names:
            report = {"type": "report_version", "report": {"version": version}}
            self._publish(name, report, False)
        self.wait_for(
            lambda: self._count("report_version_rsp", since) >= len(names), TIMEOUT, "answers"
        )

    def says(self, name, state, percent=0, code=0, version=NEW, message=""):
        """Returns when it was acknowledged, and so is written."""
        progress = {"state": state, "percent": percent, "result_code": code, "result_msg": message}
        report = {"progress": progress, "version": version}
        self._publish(name, {"type": "report_progress", "report": report}, True)

    def fail(self, name, code=-4, **more):
        self.says(name, "fail", code=code, **more)

    def succeed(self, *names, version=NEW):
        for name in names:
            self.says(name, "done", version=version)
        self.report_version(version, names)

    def _told(self, kind, since):
        for message in self.messages[since:]:
            if message.topic.startswith("$ota/update/"):
                payload = json.loads(message.payload)
                if payload["type"] == kind:
                    yield message.topic.rpartition("/")[2], payload

    def _count(self, kind, since):
        return sum(1 for _ in self._told(kind, since))

    def notices(self, since=0):
        """{name: last notice}, in the order of the first ones."""
        return dict(self._told("update_firmware", since))

    def cancels(self, since=0):
        return dict(self._told("cancel_firmware", since))

    def wait_notices(self, count, since=0, timeout=TIMEOUT):
        self.wait_for(
            lambda: len(self.notices(since)) >= count, timeout, f"notices for {count} devices"
        )
        return list(self.notices(since))


def stock(admin, *versions):
    """Product p with firmware NEW, and these."""
    admin.call("createProduct", product="p")
    for version in (*versions, NEW):
        admin.add_firmware("p", version)


def create(admin, **fields):
    """The new batch, whole."""
    fields.setdefault("target", {"all": True})
    fields = {"product": "p", "version": NEW, **fields}
    return admin.call("createBatch", **fields)["batch"]


def get(admin, batch):
    return admin.call("getBatch", batch=batch)["batch"]


def counts(batch):
    """Its counts without what is 0."""
    return {status: count for status, count in batch["counts"].items() if count}


def until(look, what, timeout=TIMEOUT):
    """Asks again and again until look() gives something."""
    end = time.monotonic() + timeout
    while not (seen := look()):
        assert time.monotonic() < end, f"no {what} in {timeout} s"
        time.sleep(0.01)
    return seen


def wait_batch(admin, batch, state=None, reason=None, timeout=TIMEOUT, **wanted):
    """The batch, once it is in that state and its counts are these (all others 0)."""
    seen = {}

    def look():
        seen["last"] = now = get(admin, batch)
        good = state in (None, now["state"]) and (not wanted or counts(now) == wanted)
        return good and (reason is None or now["stateReason"] == reason) and now

    try:
        return until(look, "such batch", timeout)
    except AssertionError as error:
        now = seen["last"]
        raise AssertionError(
            f"{error}: is {now['state']} {now['stateReason']} {counts(now)}, not {state} "
            f"{reason} {wanted}"
        ) from None


def tasks(admin, batch, **fields):
    """{device: task}"""
    rows = admin.list_all("listTasks", "tasks", batch=batch, **fields)
    assert len({row["device"] for row in rows}) == len(rows)
    return {row["device"]: row for row in rows}


def explain(admin, device):
    return admin.call("explainDevice", product="p", device=device)
