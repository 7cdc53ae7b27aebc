# SPDX-License-Identifier: BSD-3-Clause
"""Everybody at work, and the broker killed, again and again: what test_kill9.py and
test_power_cut.py share."""
import asyncio
import os
import random
import time
from collections import Counter, namedtuple

import campaign
from common import LET_IN
from control_help import bulk
from kill9_actors import TARGETS, Clerk, Commands, Reporter, Upgrader, unheard_of
from kill9_batches import SIZE, VERSIONS, Member, Steerer
from kill9_blocks import BlockMember
from kill9_file import Found, check_actor, check_memory
from kill9_gateways import Bound, Gateway
from kill9_secrets import Door, Keyholder, Registrar, WebCommands
from steps import stock
from wire import Lost

REPORTERS, UPGRADERS, BOUND, KEYHOLDERS = 30, 12, 6, 4
MEMBERS, BLOCK_MEMBERS, ABSENT = 14, 6, 200
GATEWAYS = ("g0", "g1")
KINDS = (Reporter, Upgrader, Bound, Keyholder, Clerk, Member, BlockMember, Steerer, Registrar)
QUIET = "\n".join(f"log_type {kind}" for kind in ("none", "error", "warning", "notice", "information"))
TOLD = {
    "createBatch", "pauseBatch", "resumeBatch", "advanceBatch", "cancelBatch", "retryBatch",
    "bindDevice", "unbindDevice", "setDeviceSecret", "deleteDeviceSecret", "createToken",
    "revokeToken",
}
ROUNDS_A_FILE = 50  # checks read all of it: more rounds go on with a new one


# console: console_help.Console; token: an admin's, that nobody revokes.
Stage = namedtuple("Stage", "broker console token")


class Run:
    def __init__(self, stage, seed):
        self.broker = stage.broker
        self.rng = random.Random(f"kill9 {seed}")
        self.commands = Commands()
        self.gateways = [Gateway(name) for name in GATEWAYS]
        self.actors = [
            *self.make(Reporter, "r", REPORTERS),
            *self.make(Upgrader, "u", UPGRADERS),
            *self.make(Bound, "s", BOUND, self.gateways),
            *self.make(Keyholder, "k", KEYHOLDERS),
        ]
        web = WebCommands(stage.console, self.commands, stage.token)
        self.clerks = [
            Clerk(self.commands, self.stream(), "q"),
            Clerk(web, self.stream(), "w"),
        ]
        self.registrar = Registrar(self.commands, self.stream(), Door(stage.console, self.commands))
        self.members = [
            *self.make(Member, "m", MEMBERS),
            *self.make(BlockMember, "n", BLOCK_MEMBERS),
        ]
        self.steerer = Steerer(self.commands, self.stream(), self.members)
        self.everybody = [*self.devices(), *self.clerks, self.steerer, self.registrar]
        self.seconds = 0.0  # of work

    def make(self, kind, letter, count, *more):
        return (kind(self.commands, self.stream(), f"{letter}{n}", *more) for n in range(count))

    def stream(self):
        """Each actor draws from numbers of its own: the same whatever the others do."""
        return random.Random(self.rng.getrandbits(64))

    def devices(self):
        return (*self.actors, *self.members)

    async def connect(self):
        port = self.broker.port
        await self.commands.connect(port)
        await asyncio.gather(*(gateway.connect(port) for gateway in self.gateways))
        await asyncio.gather(*(actor.connect(port) for actor in self.devices()))

    def disconnect(self):
        self.commands.lose()
        for client in (*self.gateways, *self.devices()):
            client.wire.close()

    def look(self):
        """Everybody's model against the file; gives that."""
        found = Found(self.broker.db_path)
        for actor in self.actors:
            check_actor(actor, found.devices.get(actor.name, unheard_of()))
        for clerk in self.clerks:
            check_actor(clerk, found.clerks[clerk.letter])
        for member in self.members:
            member.check(found.members.get(member.name), found.batches)
        self.steerer.check(found.batches)
        self.registrar.check(found.tokens)
        return found

    async def check(self):
        """Right after a restart; then whatever was under way is sent again."""
        said = [line for line in self.broker.log if "was damaged" in line]
        assert not said, f"a kill and a power cut damage nothing: {said}"
        found = self.look()
        self.steerer.note_paused(found)
        await check_memory(self.commands, found.devices)
        await self.registrar.check_door(found.tokens)
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
        self.done = dict.fromkeys(KINDS, 0)
        self.downloads = {Member: Counter(), BlockMember: Counter()}
        self.commands = Counter()
        self.seconds = 0.0

    def add(self, run):
        for actor in run.everybody:
            self.done[type(actor)] += actor.done
            self.commands.update(actor.commanded)
        for member in run.members:
            self.downloads[type(member)].update(member.downloads)
        self.seconds += run.seconds

    def resumed(self):
        """Downloads of each kind."""
        return [loads["resumed"] for loads in self.downloads.values()]

    def __str__(self):
        done = sum(self.done.values())
        commands = ", ".join(f"{count} {name}" for name, count in sorted(self.commands.items())
                             if name in TOLD)
        loads = "; ".join(
            f"{loads['whole']} downloads over {how} ({loads['resumed']} resumed after a kill, "
            f"{loads['refused']} refused after a cancel)"
            for how, loads in zip(("HTTP", "MQTT"), self.downloads.values())
        )
        return (
            f"{done} acknowledged reports and commands ({done / self.seconds:.0f}/s; {commands}), "
            f"{loads}"
        )


def make(consoles, folder, faults=None, **options):
    """The stage for a run; its broker was stopped."""
    options |= {"max_report_rate": 10000, "device_auth": "vendor",
                "secret_keyfile": folder / "secret.key"}
    config = f"{QUIET}\nplugin {LET_IN}"
    console = consoles(config=config, faults=faults and faults(), **options)
    admin = console.broker.admin()
    stock(admin, "p", *TARGETS)
    admin.call("createProduct", product="b")
    admin.call("createProduct", product="gate")
    for version in VERSIONS:
        admin.add_firmware("b", version, os.urandom(SIZE))
    names = [
        *(("b", f"a{n}") for n in range(ABSENT)),
        *(("p", f"s{n}") for n in range(BOUND)),
        *(("p", f"k{n}") for n in range(KEYHOLDERS)),
        *(("gate", name) for name in GATEWAYS),
    ]
    bulk(admin, [{"command": "createDevice", "product": p, "device": d} for p, d in names])
    token = admin.call("createToken", name="web", role="admin")["secret"]
    admin.close()
    console.broker.stop()
    return Stage(console.broker, console, token)


def kill_again_and_again(consoles, folder, rounds, seed, faults=None, **options):
    total = Sum()
    while rounds > 0:
        stage = make(consoles, folder, faults, **options)
        run = Run(stage, f"{seed} {rounds}")
        try:
            asyncio.run(run.run(min(rounds, ROUNDS_A_FILE)))
        finally:
            total.add(run)
        stage.broker.stop()
        rounds -= ROUNDS_A_FILE
    assert all(total.done.values()), f"nothing was tested: {total.done}"
    return total


def short_rounds(preset):
    return int(os.environ.get("OTA_KILL9_ROUNDS", preset))


def run_campaign(name, consoles, folder, preset, control=None, **settings):
    """control(seed): says what a run would show that has something to lose."""
    rounds, seed = campaign.count(preset), campaign.seed()
    result = "FAILED"
    try:
        total = kill_again_and_again(consoles, folder, rounds, seed, **settings)
        assert all(total.resumed()), f"no download was interrupted: {total}"
        result = f"ok: {total}, none lost, nothing by halves"
        if control:
            result += "; " + control(seed)
    finally:
        campaign.record(name, rounds, f"{result} (OTA_SEED={seed})")
