#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Random events of admins, devices and clocks, played to the service and to a reference model of
a few hundred lines (model.py, admin.py): both have to say the same after each of them.

    scripts/test model                 the short form
    scripts/campaign model [EVENTS]    the long one; OTA_SEED as of an earlier run
    test_model.py SEED [EVENTS]        one game, and where it fails, the shortest one found that does
    test_model.py FILE                 plays the events of a file, one a line (games/ has those
                                       that once differed)
"""
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
import campaign
from game import TAGS, VERSIONS, Game
from model import TIMED, Difference

SEEDS, EVENTS = 10, 250  # of the short form
GAME = 400              # events of one game of the campaign
SHRINK_S = 60

CODES = (-1, -2, -3, -4, -5, 7)
BAD_REPORTS = ("", "[]", "{", "\x01", '{"type":"report_version"}',
               '{"type":"report_version","report":{"version":"a b"}}',
               '{"type":"report_progress","report":{"version":"2.0","progress":{"state":"x"}}}',
               '{"type":"report_progress","report":{"version":"2.0","progress":{"state":'
               '"downloading","percent":101}}}')
BAD_COMMANDS = (
    {"command": "createBatch", "product": "p", "version": "9.9", "target": {"all": True}},
    {"command": "createBatch", "product": "none", "version": "2.0", "target": {"all": True}},
    {"command": "createBatch", "product": "p", "version": "2.0"},
    {"command": "createBatch", "product": "p", "version": "2.0", "target": {"devices": ["d0", "x"]}},
    {"command": "createBatch", "product": "p", "version": "2.0", "target": {"all": True},
     "mode": "continuous", "stages": [{"percent": 100}]},
    {"command": "createBatch", "product": "p", "version": "2.0", "target": {"all": True},
     "mode": "continuous", "reinstall": True},
    {"command": "createBatch", "product": "p", "version": "2.0", "target": {"all": True},
     "expireAt": 5},
    {"command": "getBatch", "batch": 999999},
    {"command": "retryTask", "task": 999999},
)


class Chance:
    """Draws the next event from what the model knows."""

    def __init__(self, seed, game):
        self.rng, self.model = random.Random(seed), game.model
        self.after = []  # events that have to come next

    def draw(self):
        if not self.after:
            self.after = self.some()
        event = self.after.pop(0)
        if self.rng.random() < 0.6:
            event["check"] = True
        return event

    def some(self):
        kinds = ((self.word_of_a_device, 40), (self.time, 22), (self.presence, 12),
                 (self.steer, 9), (self.single, 5), (self.batch, 4), (self.change_device, 4),
                 (self.stranger, 2), (self.trouble, 2))
        draw, = self.rng.choices([k for k, _ in kinds], [w for _, w in kinds])
        return draw() or [{"do": "check"}]

    # --- helpers

    def flip(self, chance):
        return self.rng.random() < chance

    def devices(self):
        return list(self.model.products["p"].devices.values())

    def version(self):
        return self.rng.choice((*VERSIONS, "0.9"))

    def command(self, name, user=None, **fields):
        if user is None:
            user = self.rng.choices(("admin", "operator", "viewer"), (60, 38, 2))[0]
        return {"do": "command", "user": user, "commands": [{"command": name, **fields}]}

    @staticmethod
    def by(device, do, **fields):
        return {"do": do, "p": "p", "d": device.name, **fields}

    # --- devices

    def word_of_a_device(self):
        devices = self.devices()
        busy = [d for d in devices if d.task and d.task.status in TIMED]
        done = [d for d in devices if d.last and d.last.confirmation == "pending"]
        if busy and self.flip(0.8):
            return [self.word(d) for d in self.rng.sample(busy, min(len(busy),
                                                                    self.rng.choice((1, 1, 3))))]
        if done and self.flip(0.7):
            return [self.news(self.rng.choice(done))]
        if devices:
            device = self.rng.choice(devices)
            return [self.news(device) if self.flip(0.6) else self.word(device)]
        return None

    def word(self, device):
        task = device.task or device.last
        version = task.version if task and self.flip(0.95) else self.version()
        if self.flip(0.25):
            return self.by(device, "version", version=version)
        state = self.rng.choices(("downloading", "downloaded", "burning", "done", "fail"),
                                 (20, 8, 12, 32, 20))[0]
        event = self.by(device, "progress", version=version, state=state)
        if state == "fail":
            event["code"] = self.rng.choice(CODES)
        elif state == "downloading":
            event["percent"] = self.rng.choice((0, 10, 55, 100))
        return event

    def news(self, device):
        """A version report."""
        target = device.last.version if device.last and self.flip(0.6) else self.version()
        return self.by(device, "version", version=target)

    def presence(self):
        devices = self.devices()
        if not devices:
            return None
        some = self.rng.sample(devices, min(len(devices), self.rng.choice((1, 1, 2, 5))))
        if self.flip(0.03):
            some = devices
        come = self.flip(0.65)
        return [self.by(d, "connect" if come else "disconnect") if self.flip(0.7) or not come
                else self.by(d, "version", version=d.version or "1.0") for d in some]

    def stranger(self):
        if self.flip(0.5):
            return [{"do": "bad", "p": "p", "d": self.rng.choice(["d0", "d1", "x y"]),
                     "payload": self.rng.choice(BAD_REPORTS)}]
        return [{"do": "version", "p": "p", "d": f"new{self.rng.randrange(5)}",
                 "version": self.version()}]

    # --- clocks

    def time(self):
        low, high = self.rng.choices(((50, 500), (500, 5000), (5000, 40000), (40000, 130000)),
                                     (35, 35, 25, 5))[0]
        return [{"do": "advance", "ms": self.rng.randrange(low, high)}]

    def trouble(self):
        kind = self.rng.choice(("restart", "kill", "kill", "freeze", "wall", "again", "again"))
        if kind in ("restart", "kill"):
            return [{"do": kind, "down": self.rng.choice((0, 1500, 60000))}]
        if kind == "freeze":
            return [{"do": kind, "ms": self.rng.choice((900, 5000, 100000))}]
        if kind == "wall":
            return [{"do": kind, "ms": self.rng.choice((-3600000, -20000, 20000, 3600000))}]
        return [{"do": kind}]

    # --- admins

    def bad_command(self):
        fields = dict(self.rng.choice(BAD_COMMANDS))
        return [{"do": "command", "user": "operator", "commands": [fields]}]

    def change_device(self):
        devices = self.devices()
        kind = self.rng.choice(("hold", "hold", "tags", "create", "delete", "firmware", "bad"))
        if kind == "bad":
            return self.bad_command()
        if kind == "firmware":
            return [self.command("deleteFirmware", product="p", version=self.version())]
        if kind == "create":
            return [self.command("createDevice", "admin", product="p",
                                 device=f"new{self.rng.randrange(5)}")]
        if not devices:
            return None
        device = self.rng.choice(devices)
        if kind == "delete":
            return [self.command("deleteDevice", product="p", device=device.name)]
        change = ({"hold": not device.hold} if kind == "hold" else
                  {"tags": [t for t in TAGS if self.flip(0.5)]})
        return [self.command("updateDevice", product="p", device=device.name, **change)]

    def single(self):
        devices = self.devices()
        if self.flip(0.4) and devices:
            return [self.command("upgradeDevice", product="p",
                                 device=self.rng.choice(devices).name,
                                 version=self.rng.choice(list(VERSIONS)), **self.flags(),
                                 **self.retries())]
        if not self.model.by_id:
            return None
        ended = [n for n, t in self.model.by_id.items() if not t.unfinished()]
        open_ = [n for n, t in self.model.by_id.items() if t.unfinished()]
        name = self.rng.choice(("cancelTask", "retryTask"))
        likely = open_ if name == "cancelTask" else ended
        number = self.rng.choice(likely if likely and self.flip(0.9) else list(self.model.by_id))
        return [self.command(name, task=number)]

    def flags(self):
        return {flag: True for flag, chance in (("override", 0.2), ("reinstall", 0.15),
                                                ("allowDowngrade", 0.2)) if self.flip(chance)}

    def retries(self):
        fields = {"timeoutSeconds": self.rng.choice((10, 20, 45))} if self.flip(0.7) else {}
        if self.flip(0.4):
            retry = {"max": self.rng.choice((0, 1, 1, 2, 10))}
            if self.flip(0.3):
                retry["delaySeconds"] = self.rng.choice((30, 45))
            if self.flip(0.3):
                retry["on"] = self.rng.sample(("timeout", *CODES), self.rng.randrange(1, 4))
            fields["retry"] = retry
        return fields

    def target(self):
        names = [d.name for d in self.devices()]
        target = {}
        if self.flip(0.3):
            target["fromVersions"] = self.rng.sample((*VERSIONS, "0.9"), self.rng.choice((1, 2)))
        if self.flip(0.15):
            target["notVersions"] = [self.version()]
        if self.flip(0.2) and names:
            target["devices"] = self.rng.sample(names, self.rng.randrange(1, len(names) + 1))
        if self.flip(0.15):
            target["tags"] = [self.rng.choice(TAGS)]
        if self.flip(0.1):
            target["online"] = self.flip(0.7)
        return target or {"all": True}

    def stages(self):
        count = self.rng.choice((1, 2, 3, 3, 5))
        ends = sorted(self.rng.sample((1, 5, 10, 25, 33.3, 50, 80), count - 1)) + [100]
        stages = [{"percent": end} for end in ends]
        if count > 1 and self.flip(0.4):
            stages[0] = {"count": self.rng.choice((1, 2, 4))}
        for stage in stages:
            if self.flip(0.6):
                stage["minSuccessPercent"] = self.rng.choice((0, 30, 50, 70, 100))
            if self.flip(0.4):
                stage["soakSeconds"] = self.rng.choice((0, 1, 5, 30))
            if self.flip(0.2):
                stage["advance"] = self.rng.choice(("auto", "manual"))
        return stages

    def limits(self):
        fields = {}
        if self.flip(0.4):
            fields["ratePerMinute"] = self.rng.choice((6, 20, 60, 100, 240, 6000))
        if self.flip(0.4):
            fields["maxInFlight"] = self.rng.choice((1, 2, 3, 8, 1000))
        if self.flip(0.35):
            fields["failureThreshold"] = {"percent": self.rng.choice((1, 20, 50, 100)),
                                          "minFinished": self.rng.choice((1, 2, 4, 10))}
        if self.flip(0.12):
            fields["expireAt"] = self.model.unix + self.rng.choice((2000, 30000, 200000))
        return fields

    def batch(self):
        fields = {"product": "p", "version": self.rng.choice(list(VERSIONS)), **self.limits(),
                  **self.flags(), **self.retries()}
        after = []
        if self.flip(0.4):
            fields["gate"] = self.rng.choice(("confirmed", "done"))
        waits = any(not b.begun and not b.over() for b in self.model.batches.values())
        if not waits and self.flip(0.15):  # which of two begins first, nobody says
            fields["startAt"] = self.model.unix + self.rng.choice((-5000, 1000, 20000))
        if self.flip(0.2):
            fields["mode"] = "continuous"
            fields.pop("reinstall", None)
        elif self.flip(0.6):
            fields["stages"] = self.stages()
        number = self.model.last_batch + 1
        if self.flip(0.12):
            fields["draft"] = True
            names = [d.name for d in self.devices()]
            for _ in range(self.rng.choice((0, 1, 2))):
                some = self.rng.sample(names, min(len(names), self.rng.randrange(1, 6)))
                after.append(self.command("addBatchDevices", "operator", batch=number,
                                          devices=some or ["d0"]))
            after.append(self.command("startBatch", batch=number))
        if not fields.get("draft") or self.flip(0.6):
            fields["target"] = self.target()
        if self.flip(0.1):
            fields["dryRun"] = True
            fields.pop("draft", None)
            fields.setdefault("target", {"all": True})
            after = []
        create = self.command("createBatch", "operator", **fields)
        if self.flip(0.1):
            after = []
            create["commands"].append({"command": self.rng.choice(("pauseBatch", "cancelBatch")),
                                       "batch": number})
        return [create] + after

    def steer(self):
        numbers = [n for n, b in self.model.batches.items() if not b.over() or self.flip(0.2)]
        if not numbers:
            return None
        number = self.rng.choice(numbers)
        paused = self.model.batches[number].state == "paused"
        name = self.rng.choices(
            ("pauseBatch", "resumeBatch", "advanceBatch", "retryBatch", "cancelBatch",
             "updateBatch", "startBatch", "addBatchDevices"),
            (12, 40 if paused else 5, 14, 14, 5, 10, 2, 2))[0]
        fields = {}
        if name == "updateBatch":
            fields = self.limits()
        elif name == "cancelBatch" and self.flip(0.6):
            fields = {"running": self.rng.choice(("finish", "cancel"))}
        elif name == "addBatchDevices":
            fields = {"devices": ["d1", "d2"]}
        return [self.command(name, batch=number, **fields)]


# --- playing --------------------------------------------------------------------------------------

def play(events=None, chance=None, count=0, devices=20):
    """Plays events, or draws count of them. Returns (what was played, the Difference or None)."""
    played = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        game = Game(name, devices)
        try:
            drawn = Chance(chance, game) if events is None else None
            for n in range(count if drawn else len(events)):
                event = drawn.draw() if drawn else events[n]
                played.append(event)
                game.do(event)
            game.do({"do": "check"})
        except Difference as difference:
            return played, difference
        finally:
            game.close()
    return played, None


def kind_of(difference):
    """The same for the same kind of difference, as a rule."""
    head = " ".join(str(difference).split("\n")[:2])
    return re.sub(r"(N ?)+", "N", re.sub(r"'d\d+',?|'new\d',?|\d+|: \{.*", "N", head))[:120]


def renumbered(event, gone):
    """Without the batch of that number."""
    if event["do"] != "command":
        return event
    return {**event, "commands": [
        {**c, "batch": c["batch"] - 1} if c.get("batch", 0) > gone else c
        for c in event["commands"]]}


def without(events, at, size):
    """Shorter lists that may show the same."""
    head, tail = events[:at], events[at + size:]
    yield head + tail
    if size > 1 or events[at]["do"] != "command":
        return
    fields, *rest = events[at]["commands"]
    if fields["command"] == "createBatch":
        number = 1 + sum(c["command"] == "createBatch" and not c.get("dryRun")
                         for e in head if e["do"] == "command" for c in e["commands"])
        yield head + [renumbered(e, number) for e in tail]
    for key in fields:
        if key not in ("command", "product", "version", "batch", "device", "devices", "task"):
            less = {k: v for k, v in fields.items() if k != key}
            yield [*head, {**events[at], "commands": [less, *rest]}, *tail]


def shrink(events, difference, devices, seconds=SHRINK_S):
    """The same kind of difference with fewer events."""
    end = time.monotonic() + seconds
    kind, size = kind_of(difference), len(events) // 2

    def shows_it(candidate):
        return kind_of(play(candidate, devices=devices)[1]) == kind

    checked = [{**event, "check": True} for event in events]
    if shows_it(checked):
        events = play(checked, devices=devices)[0]
    while size and time.monotonic() < end:
        at, before = 0, events
        while at < len(events) and time.monotonic() < end:
            events_ = next((c for c in without(events, at, size) if shows_it(c)), None)
            at += 0 if events_ is not None else size
            events = events if events_ is None else events_
        size = size // 2 if size > 1 else int(events != before)
    return events


def report(events, difference):
    lines = [json.dumps({k: v for k, v in e.items() if k != "check"}) for e in events]
    return "\n".join([*lines, "", str(difference)])


def devices_of(seed):
    return random.Random(f"devices {seed}").choice((1, 4, 12, 20, 30))


def one_game(seed, count):
    devices = devices_of(seed)
    events, difference = play(chance=seed, count=count, devices=devices)
    if difference is None:
        return
    print(f"seed {seed}, {devices} devices, after {len(events)} events; the last ones:")
    print(report(events[-8:], difference))
    fewer = shrink(events, difference, devices)
    difference = play(fewer, devices=devices)[1] or difference
    print(f"\nseed {seed}, {devices} devices; the shortest that was found:")
    print(report(fewer, difference))
    raise difference


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_events_do_what_the_model_does(seed):
    one_game(seed, EVENTS)


@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "games").glob("*.jsonl")),
                         ids=lambda file: file.stem)
def test_what_once_differed(file):
    difference = play(read(file))[1]
    assert difference is None, difference


@pytest.mark.campaign
def test_model():
    seed = campaign.seed()
    count = campaign.count(10000)
    for at in range(0, count, GAME):
        one_game(f"{seed} {at}", min(GAME, count - at))
    campaign.record("model", count, f"ok: no difference (OTA_SEED={seed})")


def read(file):
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").split("\n")
            if line.startswith("{")]


def main(arguments):
    if os.path.exists(arguments[0]):
        difference = play(read(arguments[0]))[1]
        print(difference or "no difference")
        return difference is not None
    try:
        one_game(int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else EVENTS)
    except Difference:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
