# SPDX-License-Identifier: BSD-3-Clause
"""otactl batch … and otactl stats, with a real broker and devices that upgrade."""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from control_help import bulk
from common import OTACTL, TIMEOUT, read_terminal
from steps import NEW, OLD, stock

pytestmark = pytest.mark.slow_asan  # the plugin does nothing here that others leave out


class Fleet:
    """Devices that do what they are told, each in a thread of its own, until they are stopped."""

    def __init__(self, broker, count, version=OLD, first=0):
        self.devices = [broker.device("p", f"d{n}") for n in range(first, first + count)]
        self.stopped = threading.Event()
        self.threads = []
        for device in self.devices:
            device.report_version(version)

    def serve(self, failures=None):
        """failures: codes of the first attempts by the device's number."""
        for number, device in enumerate(self.devices):
            codes = list((failures or {}).get(number, []))
            self.threads.append(
                threading.Thread(target=self._run, args=(device, codes), daemon=True))
            self.threads[-1].start()
        return self

    def _run(self, device, codes):
        done = 0
        while True:
            device.wait_for(lambda seen=done: self.stopped.is_set()
                            or len(device.updates("update_firmware")) > seen, 600)
            if self.stopped.is_set():
                return
            notices = device.updates("update_firmware")
            done = len(notices)
            device.target = notices[-1]["version"]
            if codes:
                device.report_progress("fail", code=codes.pop(0), message="no")
            else:
                device.run_upgrade(notices[-1])

    def stop(self):
        self.stopped.set()
        for device in self.devices:
            with device._changed:  # pylint: disable=protected-access
                device._changed.notify_all()  # pylint: disable=protected-access
        for thread in self.threads:
            thread.join(TIMEOUT)


@pytest.fixture
def fleet(ota, admin):
    made = []
    stock(admin)

    def start(count, **settings):
        made.append(Fleet(ota, count, **settings))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def otactl(ota):
    """Runs otactl; checks how it ends."""
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"}

    def run(*words, code=0, said="", stdin="", **more):
        done = ota.otactl(*words, check=False, env={**environment, **more}, input=stdin)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert said in done.stdout + done.stderr, f"{words}\n{done.stdout}{done.stderr}"
        return done

    run.json = lambda *words, **more: json.loads(run(*words, "--json", **more).stdout)
    run.start = lambda *words: subprocess.Popen(
        [OTACTL, "-h", "127.0.0.1", "-p", str(ota.port), "-u", "admin", *map(str, words)],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        stdin=subprocess.DEVNULL)
    return run


def read_until(process, text):
    """The lines up to the one that holds the text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"no {text!r} in {lines}; {process.stderr.read()}")


def batches(admin):
    return admin.list_all("listBatches", "batches")


def wait_batch(admin, test, batch=1):
    """The batch, once test(batch) is true of it."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        now = admin.call("getBatch", batch=batch)["batch"]
        if test(now):
            return now
        assert time.monotonic() < deadline, now
        time.sleep(0.02)


def is_running(batch):
    return batch["state"] == "running"


def names(count):
    return "".join(f"d{n}\n" for n in range(count))


def many_devices(admin, count):
    stock(admin)
    bulk(admin, [{"command": "createDevice", "product": "p", "device": f"d{n}"}
                 for n in range(count)])


# -- create: which devices


def test_by_version(fleet, admin, otactl):
    fleet(3)
    fleet(1, version=NEW, first=3)
    told = otactl("batch", "create", "p", NEW, "--from-version", OLD, "--name", "by night")
    assert re.match(f'batch 1: p → {NEW} "by night": ', told.stdout)
    batch = admin.call("getBatch", batch=1)["batch"]
    assert batch["target"] == {"fromVersions": [OLD]} and batch["name"] == "by night"
    assert wait_batch(admin, is_running)["total"] == 3


@pytest.mark.parametrize("words, target", [
    ("--all", {"all": True}),
    ("--from-version 1 --from-version 2,3", {"fromVersions": ["1", "2", "3"]}),
    ("--not-version 2 --online", {"notVersions": ["2"], "online": True}),
    ("--tag a=b --tag c --offline", {"tags": ["a=b", "c"], "online": False}),
    ('--target {"fromVersions":["1"]}', {"fromVersions": ["1"]}),
])
def test_targets(admin, otactl, words, target):
    stock(admin)
    otactl("batch", "create", "p", NEW, "--draft", *words.split())
    assert batches(admin)[0]["target"] == target


@pytest.mark.parametrize("words, said", [
    ("", "which devices? Say --all, or any of --from-version"),
    ("--no-all", "which devices?"),
    ('--all --target {"all":true}', "--target says all by itself"),
    ("--target x", "--target must be an object"),
    ("--from-version a/b", "--from-version must be versions"),
    ("--device a,,b", "--device must be names"),
    ("--devices-from /nowhere", "cannot read /nowhere: No such file"),
    ("--all --draft --watch", "nothing to watch in a draft"),
    ("--all --mode forever", "--mode must be snapshot or continuous"),
    ("--all --gate x", "--gate must be confirmed or done"),
    ("--all --threshold 10", "--failure-threshold must be as 10%/50"),
    ("--all --threshold 0/5", "--failure-threshold must be"),
    ("--all --threshold 101%/5", "--failure-threshold must be"),
    ("--all --retry 3:5", "--retry must be"),
    ("--all --retry 3:60:often", "--retry must be"),
    ("--all --start-at noon", "--start-at must be a local time as 2026-12-01T08:00"),
    ("--all --start-at +2", "--start-at must be"),
    ("--all --start-at 1764003792", "--start-at must be"),
    ("--all --start-at 2026-02-31T08:00", "--start-at must be"),
    ("--all --rate 0", "--rate-per-minute must be a whole number"),
    ("--all --form-version 1", "do you mean --from-version?"),
    ("--all --trheshold 1", "do you mean --threshold?"),
])
def test_wrong_usage_sends_nothing(otactl, words, said):
    otactl("batch", "create", "p", NEW, *words.split(), code=2, said=said)


def test_a_typo_of_the_verb(otactl):
    otactl("batch", "cretae", "p", code=2, said='do you mean "batch create"?')
    otactl("batch", code=2, said="batch create, batch add, batch start")


# -- create: how


@pytest.mark.parametrize("words, stages", [
    ("--stage 1%", [{"percent": 1}, {"percent": 100}]),
    ("--stage 0.5%", [{"percent": 0.5}, {"percent": 100}]),
    ("--stage 50", [{"count": 50}, {"percent": 100}]),
    ("--stage 10%:min=95:soak=3600:manual", [
        {"percent": 10, "minSuccessPercent": 95, "soakSeconds": 3600, "advance": "manual"},
        {"percent": 100}]),
    ("--stage 10%:soak=2h:auto --stage 20%:min=60%,100%", [
        {"percent": 10, "soakSeconds": 7200, "advance": "auto"},
        {"percent": 20, "minSuccessPercent": 60}, {"percent": 100}]),
    ('--stages [{"percent":5},{"percent":100}]', [{"percent": 5}, {"percent": 100}]),
])
def test_stages(admin, otactl, words, stages):
    stock(admin)
    otactl("batch", "create", "p", NEW, "--all", "--draft", *words.split())
    made = batches(admin)[0]["stages"]
    assert len(made) == len(stages)
    for one, wanted in zip(made, stages):
        assert {key: one[key] for key in wanted} == wanted


@pytest.mark.parametrize("stage", [
    "", "x", "0%", "101%", "-1%", "10%%", "0", "-5", "1.5", "10%:min", "10%:min=101",
    "10%:min=x", "10%:soak=", "10%:soak=1w", "10%:soak=-1", "10%:later", "1%,,5%", "[1", "nan%",
    "10%:" + "x" * 100,
])
def test_bad_stages(otactl, stage):
    otactl("batch", "create", "p", NEW, "--all", "--stage", stage, code=2,
           said="--stages must be 10% or 500 (devices)")


def test_stages_that_do_not_rise_are_the_servers_to_refuse(admin, otactl):
    stock(admin)
    otactl("batch", "create", "p", NEW, "--all", "--stage", "10%", "--stage", "5%", code=1,
           said="each stage reaches further")
    assert not batches(admin)


def test_everything_else(admin, otactl):
    stock(admin)
    before = int(time.time() * 1000)
    otactl("batch", "create", "p", NEW, "--all", "--draft", "--rate", 600, "--max-in-flight", 7,
           "--threshold", "10%/50", "--gate", "done", "--retry", "3:60:on=timeout,-1",
           "--timeout-seconds", 60, "--start-at", "+2h", "--expire-at", "2099-12-01T08:00",
           "--override", "--reinstall", "--allow-downgrade")
    batch = batches(admin)[0]
    wanted = {
        "ratePerMinute": 600, "maxInFlight": 7, "gate": "done", "timeoutSeconds": 60,
        "failureThreshold": {"percent": 10, "minFinished": 50}, "override": True,
        "retry": {"max": 3, "delaySeconds": 60, "on": ["timeout", -1]}, "reinstall": True,
        "allowDowngrade": True, "expireAt": 4099795200_000,
    }
    assert {key: batch[key] for key in wanted} == wanted
    assert 0 <= batch["startAt"] - before - 7200_000 + 1000 < 60_000
    otactl("batch", "create", "p", NEW, "--all", "--mode", "continuous", "--expire-at",
           "2099-12-01 08:00:30Z")
    batch = batches(admin)[0]
    assert (batch["mode"], batch["expireAt"]) == ("continuous", 4099795230_000)


def test_what_the_tables_names_still_do(admin, otactl):
    stock(admin)
    otactl("batch", "create", "p", NEW, "--target", '{"all":true}', "--draft",
           "--rate-per-minute", 5, "--failure-threshold", '{"percent":5,"minFinished":9}',
           "--retry", "max=1,delaySeconds=30", "--start-at", 4099795200_000)
    batch = batches(admin)[0]
    assert batch["ratePerMinute"] == 5 and batch["startAt"] == 4099795200_000
    assert batch["failureThreshold"] == {"percent": 5, "minFinished": 9}


# -- dry runs


def test_a_dry_run(fleet, admin, otactl):
    fleet(10)
    fleet(2, version=NEW, first=10)
    admin.call("updateDevice", product="p", device="d0", hold=True)
    admin.call("upgradeDevice", product="p", device="d1", version=NEW)
    words = ("batch", "create", "p", NEW, "--all", "--stage", "10%", "--stage", "5", "--dry-run")
    told = otactl(*words).stdout
    assert re.search(r"^matched: +12$", told, re.M)
    assert re.search(r"^would be upgraded: +8$", told, re.M)
    assert re.search(r"^download bytes: +7.8 KB$", told, re.M)
    assert re.search(r"^estimated time: +about \d+ min, at least$", told, re.M)
    assert re.search(r"^ +2  run that version already$", told, re.M)
    assert re.search(r"^ +1  have an unfinished task$", told, re.M)
    assert re.search(r"^ +1  are on hold$", told, re.M)
    assert re.search(r"^ +1  10 % +1$\n^ +2  5 devices +4$\n^ +3  100 % +3$", told, re.M)
    assert "nothing was changed" in told
    data = otactl.json(*words)
    assert data["total"] == 8 and data["stages"] == [1, 4, 3]
    assert data["excluded"] == {"on_version": 2, "busy": 1, "held": 1, "downgrade": 0}
    assert not batches(admin)


def test_a_dry_run_of_more_names_than_a_command_takes(admin, otactl):
    many_devices(admin, 1500)
    words = ("batch", "create", "p", NEW, "--devices-from", "-", "--rate", 60, "--stage", "1%",
             "--stage", "50:soak=10", "--dry-run")
    data = otactl.json(*words, stdin=names(1500))
    assert (data["matched"], data["total"], data["bytes"]) == (1500, 1500, 1500 * 1000)
    assert data["stages"] == [15, 35, 1450] and sum(data["excluded"].values()) == 0
    # As long as one command would say, were it allowed to have them all.
    assert data["estimatedSeconds"] == admin.call(
        "createBatch", product="p", version=NEW, target={"all": True}, ratePerMinute=60,
        stages=[{"percent": 1}, {"count": 50, "soakSeconds": 10}, {"percent": 100}], dryRun=True,
    )["estimatedSeconds"]
    assert not batches(admin)


# -- names from a file


def test_names_of_a_file(admin, otactl, tmp_path):
    many_devices(admin, 9)
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfd1\r\n\n# all of Berlin\n  d2 # the roof\nd1\nd3")
    otactl("batch", "create", "p", NEW, "--devices-from", path, "--device", "d3,d4", "--device",
           "d5")
    wait_batch(admin, is_running)
    tasks = admin.list_all("listTasks", "tasks", batch=1)
    assert sorted(task["device"] for task in tasks) == ["d1", "d2", "d3", "d4", "d5"]


@pytest.mark.parametrize("content, said", [
    ("d1\nd 2\n", ', line 2: "d 2" is no device\'s name'),
    ("# nothing\n\n", "holds no name"),
    ("\0d1\n", ', line 1: "?d1" is no device\'s name'),
])
def test_files_that_are_no_lists_of_names(otactl, tmp_path, content, said):
    (tmp_path / "names.txt").write_text(content)
    for words in (("create", "p", NEW), ("add", "1")):
        run = otactl("batch", *words, "--devices-from", tmp_path / "names.txt", code=2, said=said)
        assert str(tmp_path / "names.txt") in run.stderr
    otactl("batch", "create", "p", NEW, "--devices-from", "-", code=2, stdin=content,
           said="standard input")


@pytest.mark.parametrize("count", [3, 1500])
def test_an_unknown_name_is_told_with_its_line(admin, otactl, count):
    many_devices(admin, count - 1)
    run = otactl("batch", "create", "p", NEW, "--devices-from", "-", code=1,
                 stdin="# a comment\n" + names(count))
    assert f"standard input, line {count + 1}: product p has no device d{count - 1}" in run.stderr
    assert "correct the name or leave it out" in run.stderr and "(not_found: devices)" in run.stderr
    assert not batches(admin)
    run = otactl("batch", "create", "p", NEW, "--device", "nobody", code=1)
    assert run.stderr.startswith("otactl: product p has no device nobody: correct the name")


def test_1500_names_are_one_command(admin, otactl):
    many_devices(admin, 1501)
    run = otactl("batch", "create", "p", NEW, "--devices-from", "-", "--stage", "1%",
                 stdin=names(1500))
    assert "100 %  1500 of 1500 names looked at" in run.stderr
    assert " 60 %  1000 of 1500 names added\n100 %  1500 of 1500 names added\n" in run.stderr
    assert run.stdout.startswith(f"batch 1: p → {NEW}: ")
    batch = wait_batch(admin, is_running)
    assert batch["total"] == 1500 and [s["total"] for s in batch["stages"]] == [15, 1485]
    assert len(batches(admin)) == 1


def test_a_long_list_with_other_conditions_and_as_a_draft(admin, otactl):
    many_devices(admin, 1500)
    admin.call("updateDevice", product="p", device="d7", tags=["t"])
    told = otactl.json("batch", "create", "p", NEW, "--devices-from", "-", "--tag", "t", "--draft",
                       stdin=names(1500))
    assert told["batch"]["state"] == "draft" and told["batch"]["named"]
    assert "d7" not in json.dumps(told)
    told = otactl.json("batch", "start", told["batch"]["batch"])
    assert wait_batch(admin, is_running)["total"] == 1


def test_a_long_list_started_twice_with_a_request_id_acts_once(admin, otactl):
    many_devices(admin, 1500)
    words = ("batch", "create", "p", NEW, "--devices-from", "-", "--request-id", "night")
    otactl(*words, "--dry-run", stdin=names(1500))
    first = otactl.json(*words, stdin=names(1500))
    second = otactl.json(*words, stdin=names(1500))
    assert first == second and len(batches(admin)) == 1


def test_a_draft_that_is_refused_leaves_nothing(admin, otactl):
    many_devices(admin, 1500)
    otactl("batch", "create", "p", NEW, "--devices-from", "-", "--stage", "10%,5%", code=1,
           said="each stage reaches further", stdin=names(1500))
    assert not batches(admin)


def test_add(admin, otactl):
    many_devices(admin, 1500)
    told = otactl("batch", "create", "p", NEW, "--draft").stdout
    assert told == (f"batch 1: p → {NEW}: draft\notactl batch add 1 NAME… adds devices, "
                    "otactl batch start 1 starts it\n")
    otactl("batch", "start", 1, code=1, said="add some first")
    otactl("batch", "add", 1, "d1", "d2,d3", said="draft")
    otactl("batch", "add", 1, "d4", "--device", "d5", "--devices-from", "-", stdin="d6\nd1\n")
    otactl("batch", "add", 1, code=2, said="the devices is missing")
    otactl("batch", "add", 1, "--devices-from", "-", code=1, stdin="d7\nd1500\n",
           said="standard input, line 2: product p has no device d1500")
    run = otactl("batch", "add", 1, "--devices-from", "-", code=1, stdin=names(1501))
    assert "line 1501: product p has no device d1500" in run.stderr
    assert "the 1000 names before are in the draft, and may be given again" in run.stderr
    otactl("batch", "add", 1, "--devices-from", "-", stdin=names(1100))
    otactl("batch", "start", 1)
    otactl("batch", "add", 1, "d1", code=1, said="devices can be added to a draft only")
    assert wait_batch(admin, is_running)["total"] == 1100


# -- watch


def test_watch_to_the_end(fleet, otactl):
    fleet(5).serve()
    run = otactl("batch", "create", "p", NEW, "--from-version", OLD, "--stage", "1", "--watch")
    lines = run.stdout.splitlines()
    assert lines[0] == f"batch 1: p → {NEW}"
    text = "\n".join(line[21:] for line in lines[1:])
    assert "stage 1 of 2 opened: up to 1 devices, 1 device" in text
    assert "stage 2 of 2 opened: up to 100 %, 4 devices" in text
    assert re.search("^running, 0 of 5 done", text, re.M)
    assert lines[-1][21:] == "finished, 5 of 5 done: 5 upgraded successfully (5 confirmed)"
    assert not run.stderr
    assert otactl("batch", "watch", 1).stdout.splitlines()[-1][21:] == lines[-1][21:]


def test_watch_tells_failures_and_ends_with_4(fleet, otactl):
    fleet(5).serve({1: [-4], 3: [-4], 4: [-2]})
    run = otactl("batch", "create", "p", NEW, "--all", "--watch", code=4)
    assert "failures so far: 2 × checksum mismatch (-4), from 0.0.1; 1 × file missing (-2)" \
        in run.stdout
    assert "finished, 5 of 5 done: 3 upgrade failed, 2 upgraded successfully" in run.stdout
    assert "otactl batch retry 1 lets it try again" in run.stdout
    assert run.stderr == "otactl: batch 1: 3 of 5 devices failed\n"
    told = otactl("batch", "retry", 1, "--watch").stdout
    assert "finished, 5 of 5 done: 5 upgraded successfully (5 confirmed)" in told


def test_watch_in_json_is_the_last_answer(fleet, otactl):
    fleet(2).serve()
    run = otactl("batch", "create", "p", NEW, "--all", "--watch", "--json")
    batch = json.loads(run.stdout)["batch"]
    assert (batch["state"], batch["counts"]["succeeded"]) == ("finished", 2) and not run.stderr


def test_watch_waits_for_confirmations_as_told(ota, admin, fleet, otactl):
    device = fleet(1).devices[0]
    process = otactl.start("batch", "create", "p", NEW, "--all", "--until", "confirmed")
    device.download(device.wait_notice())
    device.report_progress("done")
    read_until(process, "finished, 1 of 1 done: 1 upgraded successfully")
    assert "(" not in otactl("batch", "watch", 1, "--until", "succeeded").stdout.split("done:")[1]
    device.report_version(NEW)
    told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, told
    assert told[0].endswith("1 upgraded successfully (1 confirmed)\n")


def test_a_device_that_rolls_back_is_a_failure(fleet, otactl):
    device = fleet(1).devices[0]
    process = otactl.start("batch", "create", "p", NEW, "--all", "--watch", "--gate", "done")
    device.download(device.wait_notice())
    device.report_progress("done")
    device.report_version(OLD)
    told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 4, told
    assert "1 of 1 devices failed, or came back with another version" in told[1]


def test_watch_tells_a_pause_and_goes_on(ota, fleet, admin, otactl):
    fleet(6).serve({n: [-4] for n in range(3)})
    process = otactl.start("batch", "create", "p", NEW, "--all", "--threshold", "20%/2",
                           "--max-in-flight", 1, "--watch")
    read_until(process, "paused (failure threshold)")
    read_until(process, "too many devices failed: otactl stats --batch 1 tells how, "
                        "otactl batch resume 1 goes on all the same")
    # One at a time: each failure beyond the known ones may pause it again.
    while wait_batch(admin, lambda b: b["state"] in ("paused", "finished"))["state"] == "paused":
        ota.otactl("batch", "resume", 1, check=False)  # it may have ended by now
    told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 4 and "3 of 6 devices failed" in told[1]


def test_watch_of_a_stage_that_cannot_succeed(fleet, otactl):
    fleet(4).serve({n: [-4] for n in range(4)})
    process = otactl.start("batch", "create", "p", NEW, "--all", "--stage", "50%", "--watch")
    read_until(process, "paused (stage gate)")
    read_until(process, "otactl batch retry 1 lets its failed devices try again")
    assert otactl("batch", "retry", 1).stdout.startswith(f"batch 1: p → {NEW}: running")
    read_until(process, "stage 2 of 2 opened")
    process.kill()
    process.communicate()


def test_watch_through_a_terminal(ota, fleet, otactl):
    fleet(6).serve({0: [-4]})
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 76, 0, 0))
    process = subprocess.Popen(
        [OTACTL, "-h", "127.0.0.1", "-p", str(ota.port), "-u", "admin", "batch", "create", "p",
         NEW, "--all", "--stage", "2:min=50", "--rate", "60", "--watch", "--name", "x" * 200],
        stdin=side, stdout=side, stderr=side,
        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
    os.close(side)
    heard = read_terminal(main)
    os.close(main)
    assert process.wait(TIMEOUT) == 4
    frames = heard.decode().split("\x1b[J")
    plain = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\r", "", frame) for frame in frames]
    assert all(len(line) <= 76 for line in plain[0].splitlines()[1:] + plain[-2].splitlines())
    # Each frame begins where the one before began.
    for before, frame in zip(frames, frames[1:-1]):
        assert frame.startswith(f"\x1b[{before.count(chr(10))}A\r")
    assert plain[0].startswith("batch 1  ") and ' p → 0.0.2 "xxx' in plain[0]
    assert "stage 1" in plain[0] and "2 devices  " in plain[0] and "task waiting" in plain[0]
    last = plain[-2]
    assert "█" in last and "1 failed" in last and "1 × checksum mismatch (-4)" in last
    assert "5 upgraded successfully (5 confirmed)" in last and "devices a minute" in last
    assert plain[-1].strip() == "otactl: batch 1: 1 of 6 devices failed"


def test_watch_ends_with_a_cancelled_batch(fleet, otactl):
    fleet(3)
    process = otactl.start("batch", "create", "p", NEW, "--all", "--start-at", "+1h", "--watch")
    read_until(process, "it starts at ")
    assert otactl("batch", "cancel", 1).stdout.startswith(f"batch 1: p → {NEW}: cancelled")
    told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 4
    assert re.search(r"batch 1: cancelled.*, 0 of \d devices were upgraded", told[1]), told


def test_watch_is_interrupted(fleet, otactl):
    fleet(1)
    process = otactl.start("batch", "create", "p", NEW, "--all", "--watch")
    read_until(process, "running, 0 of 1 done")
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 130
    assert told == ("otactl: interrupted; the batch goes on without us, and otactl batch watch 1 "
                    "looks at it again\n")


def test_watch_survives_a_restart_of_the_broker(ota, fleet, otactl):
    fleet(2)
    process = otactl.start("batch", "create", "p", NEW, "--all", "--start-at", "+1h", "--watch")
    read_until(process, "scheduled")
    ota.restart()
    ota.admin(client_id="second").call("cancelBatch", batch=1)
    told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 4 and "cancelled" in told[0], told


def test_watch_of_a_batch_that_is_not_there(otactl):
    otactl("batch", "watch", 7, code=1, said="there is no batch 7")


# -- steering


def test_pause_resume_advance_update(fleet, admin, otactl):
    fleet(4)
    otactl("batch", "create", "p", NEW, "--all", "--stage", "1:manual", "--rate", 1)
    told = otactl("batch", "pause", 1).stdout
    assert re.fullmatch(rf"batch 1: p → {NEW}: paused \(admin\), 0 of 4 done, 0 failed\n"
                        r"otactl batch resume 1 goes on\n", told)
    otactl("batch", "pause", 1, code=1, said="batch 1 is paused")
    otactl("batch", "update", 1, "--rate", 6000, "--threshold", "50/10", "--name", "slower")
    batch = otactl.json("batch", "show", 1)["batch"]
    assert (batch["ratePerMinute"], batch["name"]) == (6000, "slower")
    assert batch["failureThreshold"] == {"percent": 50, "minFinished": 10}
    otactl("batch", "resume", 1, said="running, 0 of 4 done")
    otactl("batch", "advance", 1, said="running")
    assert [s["state"] for s in batches(admin)[0]["stages"]] == ["passed", "open"]


def test_a_stage_that_waits_for_somebody_says_so(fleet, otactl):
    fleet(3).serve()
    process = otactl.start("batch", "create", "p", NEW, "--all", "--stage", "1:manual", "--watch")
    read_until(process, "stage 1 succeeded and waits for you: otactl batch advance 1 opens the")
    otactl("batch", "advance", 1)
    told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, told


def test_cancel_with_those_under_way(fleet, admin, otactl):
    devices = fleet(2).devices
    otactl("batch", "create", "p", NEW, "--all")
    for device in devices:
        device.wait_notice()
    otactl("batch", "cancel", 1, "--running", "cancel", said="cancelled")
    wait_batch(admin, lambda batch: batch["counts"]["cancelled"] == 2)


# -- reading


def test_list(fleet, otactl):
    fleet(2).serve({0: [-4]})
    assert otactl("batch", "list").stdout == "no batches\n"
    otactl("batch", "create", "p", NEW, "--all", "--watch", "--name", "one", code=4)
    otactl("batch", "create", "p", NEW, "--draft")
    lines = otactl("batch", "list").stdout.splitlines()
    assert lines[0].split()[:6] == ["batch", "product", "version", "name", "state", "done"]
    assert lines[1].split()[:7] == ["2", "p", NEW, "—", "draft", "0/0", "0"]
    assert lines[2].split()[:7] == ["1", "p", NEW, "one", "finished", "2/2", "1"]
    assert len(otactl("batch", "list", "--state", "finished").stdout.splitlines()) == 2
    assert otactl.json("batch", "list", "--product", "p")["batches"][1]["name"] == "one"
    otactl("batch", "list", "--state", "over", code=2, said="--state must be one of draft")


def test_show(fleet, admin, otactl):
    fleet(4).serve({0: [-4], 1: [-4], 2: [-4], 3: [-4]})
    otactl("batch", "create", "p", NEW, "--all", "--stage", "2:min=95:soak=90:manual")
    wait_batch(admin, lambda batch: batch["state"] == "paused")
    told = otactl("batch", "show", 1).stdout
    assert re.search(r"^state: +paused \(stage gate\)$", told, re.M)
    assert re.search(r"^done: +[12]/4$", told, re.M)
    assert re.search(r"^stage  up to +state +total +task waiting +", told, re.M)
    assert "upgrade failed" in told and "95 %, 1 min soak, batch advance" in told
    assert "otactl batch advance 1 opens the next stage all the same" in told


def test_stats(fleet, otactl):
    fleet(5).serve({0: [-4], 1: [-4], 2: [-2]})
    otactl("batch", "create", "p", NEW, "--all", "--watch", code=4)
    for words in (("--batch", 1), ("--product", "p")):
        told = otactl("stats", *words).stdout
        assert re.search(rf"^{OLD} +3  █{{20}}$", told, re.M)
        assert re.search(rf"^{NEW} +2  █+", told, re.M)
        assert re.search(r"^upgrade failed +3  █{20}$", told, re.M)
        assert re.search(r"^upgraded successfully +2  █+", told, re.M)
        assert re.search(rf"^ +2  checksum mismatch +-4  {OLD}\n +1  file missing +-2  {OLD}$",
                         told, re.M)
    assert otactl.json("stats", "--batch", 1)["statuses"]["failed"] == 3
    otactl("stats", code=1, said="either product or batch")
    otactl("stats", "--product", "nobody", code=1, said="there is no product nobody")
