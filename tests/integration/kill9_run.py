# SPDX-License-Identifier: BSD-3-Clause
"""Everybody at work, and the broker killed, again and again: what test_kill9.py and
test_power_cut.py share."""
import asyncio
import os
import random
import time

import campaign
from control_help import bulk
from kill9_actors import TARGETS, Clerk, Commands, Reporter, Upgrader
from kill9_batches import SIZE, VERSIONS, Member, Steerer
from kill9_file import Found, check_actor, check_memory
from steps import stock
from wire import Lost

REPORTERS, UPGRADERS, MEMBERS, ABSENT = 35, 15, 20, 200
QUIET = "\n".join(f"log_type {kind}" for kind in ("none", "error", "warning", "notice", "information"))
ROUNDS_A_FILE = 50  # checks read all of it: more rounds go on with a new one


class Run:
    def __init__(self, broker, seed):
        self.broker = broker
        self.rng = random.Random(f"kill9 {seed}")
        self.commands = Commands()
        self.actors = [
            *(Reporter(self.commands, self.stream(), f"r{n}") for n in range(REPORTERS)),
            *(Upgrader(self.commands, self.stream(), f"u{n}") for n in range(UPGRADERS)),
        ]
        self.clerk = Clerk(self.commands, self.stream())
        self.members = [Member(self.commands, self.stream(), f"m{n}") for n in range(MEMBERS)]
        self.steerer = Steerer(self.commands, self.stream(), self.members)
        self.everybody = [*self.actors, self.clerk, *self.members, self.steerer]
        self.seconds = 0.0  # of work

    def stream(self):
        """Each actor draws from numbers of its own: the same whatever the others do."""
        return random.Random(self.rng.getrandbits(64))

    def devices(self):
        return (*self.actors, *self.members)

    async def connect(self):
        port = self.broker.port
        await self.commands.connect(port)
        await asyncio.gather(*(actor.connect(port) for actor in self.devices()))

    def disconnect(self):
        self.commands.lose()
        for actor in self.devices():
            actor.wire.close()

    def look(self):
        """Everybody's model against the file; gives that."""
        found = Found(self.broker.db_path)
        nothing = {"version": None, "versions": [], "tasks": []}
        for actor in self.actors:
            check_actor(actor, found.devices.get(actor.name, nothing))
        check_actor(self.clerk, found.clerks)
        for member in self.members:
            member.check(found.members.get(member.name), found.batches)
        self.steerer.check(found.batches)
        return found

    async def check(self):
        """Right after a restart; then whatever was under way is sent again."""
        said = [line for line in self.broker.log if "was damaged" in line]
        assert not said, f"a kill and a power cut damage nothing: {said}"
        found = self.look()
        self.steerer.note_paused(found)
        await check_memory(self.commands, found.devices)
        await asyncio.gather(*(a.send_pending() for a in self.everybody if a.pending))
        found = self.look()
        end = time.monotonic() + 20
        while not self.steerer.is_settled(found):
            assert time.monotonic() < end, "a batch's command isn't carried out"
            await asyncio.sleep(0.05)
            found = self.look()
        self.steerer.check_retried(found)
        await self.steerer.check_paused(self.look)

    def kill(self):
        self.broker.kill9()
        if self.broker.faults:
            self.broker.faults.power_cut(self.broker.db_path)

    async def work_and_die(self, seconds):
        work = [asyncio.ensure_future(actor.work()) for actor in self.everybody]
        await asyncio.sleep(seconds)
        self.seconds += seconds
        self.kill()
        self.disconnect()
        await asyncio.gather(*work)

    async def round(self):
        if self.rng.random() < 0.2:
            self.broker.start()
            time.sleep(self.rng.random() * 0.1)  # a random moment is what is wanted
            self.kill()
        self.broker.start()
        await self.connect()
        await self.check()
        await self.work_and_die(0.05 + self.rng.random() * 0.7)

    async def run(self, rounds):
        for number in range(rounds):
            try:
                await self.round()
            except Lost as error:
                raise AssertionError(f"round {number}: the broker broke a connection") from error
            except AssertionError as error:
                raise AssertionError(f"round {number}: {error}") from error
        self.broker.start()
        await self.connect()
        await self.check()
        self.disconnect()


class Sum:
    """What was done in all."""

    def __init__(self):
        self.done = dict.fromkeys((Reporter, Upgrader, Clerk, Member, Steerer), 0)
        self.downloads = dict.fromkeys(("whole", "resumed", "refused"), 0)
        self.accepted = {}
        self.seconds = 0.0

    def add(self, run):
        for actor in run.everybody:
            self.done[type(actor)] += actor.done
        for member in run.members:
            for what, count in member.downloads.items():
                self.downloads[what] += count
        for what, count in run.steerer.accepted.items():
            self.accepted[what] = self.accepted.get(what, 0) + count
        self.seconds += run.seconds

    def __str__(self):
        done = sum(self.done.values())
        commands = ", ".join(f"{self.accepted[name]} {name}" for name in sorted(self.accepted))
        loads = self.downloads
        return (
            f"{done} acknowledged reports and commands ({done / self.seconds:.0f}/s; {commands}), "
            f"{loads['whole']} downloads ({loads['resumed']} resumed after a kill, "
            f"{loads['refused']} refused after a cancel)"
        )


def make(broker, faults=None, **options):
    """A broker that has what is needed, and was stopped."""
    options["max_report_rate"] = 10000
    one = broker(config=QUIET, faults=faults and faults(), options=options)
    admin = one.admin()
    stock(admin, "p", *TARGETS)
    admin.call("createProduct", product="b")
    for version in VERSIONS:
        admin.add_firmware("b", version, os.urandom(SIZE))
    names = [{"command": "createDevice", "product": "b", "device": f"a{n}"} for n in range(ABSENT)]
    bulk(admin, names)
    admin.close()
    one.stop()
    return one


def kill_again_and_again(broker, rounds, seed, faults=None, **options):
    total = Sum()
    while rounds > 0:
        one = make(broker, faults, **options)
        run = Run(one, f"{seed} {rounds}")
        try:
            asyncio.run(run.run(min(rounds, ROUNDS_A_FILE)))
        finally:
            total.add(run)
        one.stop()
        rounds -= ROUNDS_A_FILE
    assert all(total.done.values()), f"nothing was tested: {total.done}"
    return total


def short_rounds(preset):
    return int(os.environ.get("OTA_KILL9_ROUNDS", preset))


def run_campaign(name, broker, preset, control=None, **settings):
    """control(seed): says what a run would show that has something to lose."""
    rounds, seed = campaign.count(preset), campaign.seed()
    result = "FAILED"
    try:
        total = kill_again_and_again(broker, rounds, seed, **settings)
        assert total.downloads["resumed"], f"no download was interrupted: {total}"
        result = f"ok: {total}, none lost, nothing by halves"
        if control:
            result += "; " + control(seed)
    finally:
        campaign.record(name, rounds, f"{result} (OTA_SEED={seed})")
