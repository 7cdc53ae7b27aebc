# SPDX-License-Identifier: BSD-3-Clause
"""Rollouts over a thousand simulated devices: otasim's on one side, the broker on the other."""
import signal
import subprocess
import time

import pytest

from harness import OTASIM
from steps import NEW, OLD

pytestmark = pytest.mark.slow_asan  # the plugin does nothing here that others leave out

PATIENCE = 60


@pytest.fixture
def simulate(ota):
    """Starts simulated devices of product p; ended when the test is."""
    running = []

    def start(count, *words, device="dev%05d"):
        process = subprocess.Popen(
            [OTASIM, "-h", "127.0.0.1", "-p", str(ota.port), "--product", "p", "--version", OLD,
             "--device", device, "--count", str(count), "--quiet", "--seed", "5", "--burn-ms", "50",
             "--reboot-ms", "50", "--connect-rate", "2000", *words],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        process.terminate()
        process.wait(PATIENCE)


def until(look, what):
    end = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return seen


def online(admin):
    return admin.call("listProducts")["products"][0]["online"]


def known(admin):
    return admin.call("listProducts")["products"][0]["devices"]


def batch_of(admin, number):
    return admin.call("getBatch", batch=number)["batch"]


def start(admin, **fields):
    answer = admin.call(
        "createBatch", product="p", version=NEW, target={"fromVersions": [OLD]}, **fields
    )
    return answer["batch"]["batch"]


def stock(admin, size=20_000):
    admin.call("createProduct", product="p")
    admin.add_firmware("p", NEW, b"x" * size)


def test_a_thousand_devices_of_all_kinds(ota, admin, simulate):
    """The seed's flow: filter by version, upgrade the lot, watch the list."""
    stock(admin)
    simulate(980, "--mix", "ok=900,fail:-4=25,silent=25,late:12=15,slow:9000=15")
    away = simulate(20, "--offline-at-start", device="away%05d")
    until(lambda: known(admin) == 1000 and online(admin) == 980, "1,000 devices")
    rows = admin.call("listVersions", product="p")["versions"]
    assert {row["version"]: row["devices"] for row in rows} == {OLD: 1000, NEW: 0}
    number = start(admin, maxInFlight=2000, timeoutSeconds=10)
    seen = set()

    def all_ended():
        counts = batch_of(admin, number)["counts"]
        seen.update(status for status, count in counts.items() if count)
        return counts["succeeded"] + counts["failed"] == 980

    until(all_ended, "the end of all that are there")
    # Stragglers fail when their time is up; who was late is counted when it says so at last.
    shown = until(
        lambda: (b := batch_of(admin, number))["confirmed"] == 930 and b, "late successes"
    )
    assert shown["counts"]["failed"] == 50
    assert shown["counts"]["device_offline"] == 20 and shown["state"] == "running"
    assert seen >= {"device_offline", "message_sent", "downloading", "failed", "succeeded"}
    failures = admin.call("getStats", batch=number)["failures"]
    assert {(f["resultCode"], f["text"], f["fromVersion"], f["count"]) for f in failures} == {
        (-4, "checksum mismatch", OLD, 25),
        (None, "timeout", OLD, 25),
    }
    away.send_signal(signal.SIGUSR1)
    done = until(
        lambda: (b := batch_of(admin, number))["confirmed"] == 950 and b, "those that were away"
    )
    assert done["state"] == "finished" and done["counts"]["failed"] == 50
    rows = admin.call("listVersions", product="p")["versions"]
    assert {row["version"]: row["devices"] for row in rows} == {OLD: 50, NEW: 950}


@pytest.mark.parametrize("restart", [False, True])
def test_an_image_that_fails_on_half_stops_itself(ota, admin, simulate, restart):
    """Before 5 % of the fleet got it; a restart in between changes nothing."""
    stock(admin, 2000)
    simulate(1000, "--mix", "ok=50,fail:-5=50")
    until(lambda: online(admin) == 1000, "1,000 devices")
    number = start(
        admin,
        stages=[{"percent": 1}, {"percent": 4}, {"percent": 100}],
        failureThreshold={"percent": 20, "minFinished": 8},
    )
    if restart:
        until(lambda: batch_of(admin, number)["counts"]["message_sent"] or
              batch_of(admin, number)["state"] == "paused", "the first notices")  # fmt: skip
        ota.restart()
        admin = ota.admin()
        until(lambda: online(admin) == 1000, "the fleet again")
    shown = until(
        lambda: (b := batch_of(admin, number))["state"] == "paused" and b, "its own pause"
    )
    assert shown["stateReason"] in ("failure_threshold", "stage_gate")
    until(lambda: batch_of(admin, number)["inFlight"] == 0, "those under way")
    counts = batch_of(admin, number)["counts"]
    assert counts["failed"] + counts["succeeded"] <= 50
    assert counts["task_waiting"] >= 950
    ota.restart()
    admin = ota.admin()
    assert batch_of(admin, number)["state"] == "paused"
    until(lambda: online(admin) == 1000, "the fleet once more")
    after = batch_of(admin, number)["counts"]
    assert (after["failed"], after["succeeded"]) == (counts["failed"], counts["succeeded"])
    assert after["message_sent"] == 0
