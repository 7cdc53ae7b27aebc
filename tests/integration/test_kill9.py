# SPDX-License-Identifier: BSD-3-Clause
"""A broker that is killed with -9 at random moments: what it acknowledged is there afterwards,
and nothing is there by halves.

Every device, and the admin, does one thing after the other, and keeps a model of what was
acknowledged. At most one thing each is under way when the broker dies: that one may have happened
or not, and is then sent again, as a device or otactl would.

OTA_KILL9_ROUNDS  how often it is killed (default 10)
OTA_SEED          of an earlier run: the same things in the same order (the moment at which the
                  broker dies depends on the machine, too)
"""
import asyncio
import copy
import json
import os
import random
import sqlite3
import time

import pytest

import campaign
from harness import CONTROL, CONTROL_RESPONSE
from steps import stock
from wire import Lost, Wire

REPORTERS, UPGRADERS = 35, 15
TARGETS = ("t1", "t2", "t3")

# enum ota_status
WAITING, SENT, DOWNLOADING, DOWNLOADED, UPGRADING, FAILED, SUCCEEDED, CANCELLED = range(8)
STATES = {"downloading": DOWNLOADING, "downloaded": DOWNLOADED, "burning": UPGRADING,
          "done": SUCCEEDED, "fail": FAILED}


class Commands:
    """The control API for many at once."""

    def __init__(self):
        self.wire = Wire("kill9-admin", "admin", self._hear)
        self._open = {}
        self._number = 0

    def _hear(self, topic, payload):
        if topic == CONTROL_RESPONSE:
            for response in json.loads(payload)["responses"]:
                future = self._open.pop(response.get("correlationData"), None)
                if future and not future.done():
                    future.set_result(response)

    async def call(self, command, fields):
        """The response's data; Lost where there is none. fields has the requestId."""
        self._number += 1
        mark = str(self._number)
        future = asyncio.get_running_loop().create_future()
        self._open[mark] = future
        request = {"command": command, "correlationData": mark, **fields}
        await self.wire.publish(CONTROL, {"commands": [request]})
        try:
            response = await asyncio.wait_for(future, 20)
        except asyncio.CancelledError as error:
            raise Lost from error
        assert "error" not in response, f"{command} {fields}: {response}"
        return response.get("data", {})

    def lose(self):
        self.wire.close()
        for future in self._open.values():
            future.cancel()
        self._open.clear()


class Actor:
    """Does one thing after the other. `model` is what was acknowledged; `pending` is what is
    under way: (what, its fields), to be sent again after a restart."""

    def __init__(self, commands, rng):
        self.commands, self.rng = commands, rng
        self.pending = None
        self.done = 0

    async def command(self, name, **fields):
        request_id = f"{id(self)}-{self.rng.getrandbits(60)}"
        await self.send(("command", name, {**fields, "requestId": request_id}))

    async def send(self, thing):
        self.pending = thing
        await self.send_pending()

    async def send_pending(self):
        if self.pending[0] == "command":
            answer = await self.commands.call(self.pending[1], self.pending[2])
        else:
            answer = await self.publish(self.pending[1])
        self.apply(self.model, self.pending, answer)
        self.pending = None
        self.done += 1

    def candidates(self):
        """The states that are right now."""
        yield self.model
        if self.pending:
            after = copy.deepcopy(self.model)
            self.apply(after, self.pending, None)
            yield after

    async def work(self):
        """Until the broker is gone."""
        try:
            while True:
                await self.step()
                if self.rng.random() < 0.3:
                    await asyncio.sleep(self.rng.random() * 0.02)
        except Lost:
            pass


class DeviceActor(Actor):
    """A device that reports. model: version, versions (all of them, in order), tasks."""

    def __init__(self, commands, rng, name):
        super().__init__(commands, rng)
        self.name = name
        self.wire = Wire(f"kill9-{name}", f"p/{name}", self._hear)
        self.model = {"version": None, "versions": [], "tasks": []}
        self.told = None  # the task that the last notice was of
        self._heard = asyncio.Event()

    def _hear(self, topic, payload):
        message = json.loads(payload)
        if message["type"] == "update_firmware":
            self.told = message["task"]
            self._heard.set()

    async def connect(self, port):
        await self.wire.connect(port)
        await self.wire.subscribe(f"$ota/update/p/{self.name}")

    async def publish(self, report):
        await self.wire.publish(f"$ota/report/p/{self.name}", report)

    async def report_version(self, version):
        report = {"type": "report_version", "report": {"version": version}}
        await self.send(("report", report))

    def apply(self, model, thing, answer):
        kind, what = thing[:2]
        if kind == "command":
            self.apply_command(model, what, thing[2], answer)
        elif what["type"] == "report_version":
            self.apply_version(model, what["report"]["version"])
        else:
            state = what["report"]["progress"]["state"]
            self.move(model["tasks"][-1], STATES[state])

    def apply_version(self, model, version):
        if model["version"] != version:
            model["version"] = version
            model["versions"].append(version)
        task = model["tasks"][-1] if model["tasks"] else None
        if task and task["target"] == version and not task["confirmed"] and (
            task["status"] not in (FAILED, CANCELLED)
        ):
            task["confirmed"] = True
            task["status"] = SUCCEEDED
            task["events"].append(SUCCEEDED)

    def apply_command(self, model, name, fields, answer):
        if name == "upgradeDevice":
            number = answer["task"]["task"] if answer else None
            model["tasks"].append({"id": number, "target": fields["version"], "status": WAITING,
                                   "events": [], "confirmed": False, "attempt": 1})
        elif name == "cancelTask":
            self.move(model["tasks"][-1], CANCELLED)
        else:
            self.move(model["tasks"][-1], WAITING)
            model["tasks"][-1]["attempt"] += 1

    @staticmethod
    def move(task, status):
        if task["status"] != status:
            task["status"] = status
            task["events"].append(status)


class Reporter(DeviceActor):
    """Reports one new version after the other."""

    numbers = 0

    async def step(self):
        Reporter.numbers += 1
        await self.report_version(f"{self.name}.{Reporter.numbers}")


class Upgrader(DeviceActor):
    """Is upgraded, fails, is cancelled, tried again. What comes next follows from the model."""

    fresh = True  # on this connection the version wasn't reported yet

    async def connect(self, port):
        await super().connect(port)
        self.fresh, self.told = True, None

    async def progress(self, state):
        progress = {"state": state, "percent": self.rng.randrange(100), "result_code": -1}
        report = {"progress": progress, "version": self.model["tasks"][-1]["target"]}
        await self.send(("report", {"type": "report_progress", "report": report}))

    async def steer(self, command, **fields):
        self.told = None
        await self.command(command, **fields)

    async def wait_notice(self, task):
        while self.told != task["id"]:
            self._heard.clear()
            if self.told != task["id"]:
                waiting = asyncio.ensure_future(self._heard.wait())
                reading = self.wire._task  # pylint: disable=protected-access
                done, _ = await asyncio.wait(
                    {waiting, reading}, timeout=10, return_when=asyncio.FIRST_COMPLETED
                )
                waiting.cancel()
                if reading in done:
                    raise Lost
                assert done, f"{self.name}: no notice of task {task}"

    async def step(self):
        task = self.model["tasks"][-1] if self.model["tasks"] else None
        if self.model["version"] is None:
            await self.report_version("t0")
        elif task is None or task["status"] in (FAILED, CANCELLED) or task["confirmed"]:
            await self.start_again(task)
        elif task["status"] == SUCCEEDED:
            await self.report_version(task["target"])
        elif task["status"] == WAITING:
            if self.fresh:
                await self.report_version(self.model["version"])
            await self.wait_notice(task)
            await self.progress("downloading")
        elif task["status"] == DOWNLOADING:
            await self.choose(task, ["downloaded", "burning", "cancel", "fail", "version", "done"])
        else:
            await self.choose(task, ["done", "done", "burning", "cancel", "fail", "version"])
        self.fresh = False

    async def choose(self, task, ways):
        way = self.rng.choice(ways)
        if way == "cancel":
            await self.steer("cancelTask", task=task["id"])
        elif way == "version":
            await self.report_version(task["target"])
        else:
            await self.progress(way)

    async def start_again(self, task):
        if task and not task["confirmed"] and self.rng.random() < 0.5:
            await self.steer("retryTask", task=task["id"])
            return
        others = [version for version in TARGETS if version != self.model["version"]]
        await self.steer("upgradeDevice", product="p", device=self.name,
                         version=self.rng.choice(others), allowDowngrade=True)


class Clerk(Actor):
    """An admin who makes and removes products and devices. model: {product: {device: text}}."""

    def __init__(self, commands, rng):
        super().__init__(commands, rng)
        self.model = {}
        self.number = 0

    def apply(self, model, thing, answer):
        _, name, fields = thing
        product = fields["product"]
        if name == "createProduct":
            model[product] = {}
        elif name == "deleteProduct":
            del model[product]
        elif name == "deleteDevice":
            del model[product][fields["device"]]
        else:
            model[product][fields["device"]] = fields["description"]

    async def step(self):
        product = self.rng.choice(sorted(self.model)) if self.model else None
        device = self.rng.choice(sorted(self.model[product])) if product and self.model[product] \
            else None
        self.number += 1
        chance = self.rng.random()
        if product is None or chance < 0.15:
            await self.command("createProduct", product=f"q{self.number}-")
        elif chance < 0.25:
            await self.command("deleteProduct", product=product, force=True)
        elif device is None or chance < 0.6:
            await self.command("createDevice", product=product, device=f"d{self.number}",
                               description=f"made {self.number}")
        elif chance < 0.75:
            await self.command("deleteDevice", product=product, device=device)
        else:
            await self.command("updateDevice", product=product, device=device,
                               description=f"changed {self.number}")


# -- what is there --------------------------------------------------------------------------------


def read_devices(db):
    """{device of product p: what an actor's model is compared with}"""
    found = {}
    entries = {number: row for number, *row in db.execute(
        "SELECT id, task_id, status, prev FROM event")}
    reached = len(entries)
    rows = db.execute("SELECT d.id, d.name, d.version FROM device d JOIN product p "
                      "ON p.id = d.product_id WHERE p.name = 'p'").fetchall()
    for number, name, version in rows:
        seen = db.execute("SELECT version FROM device_version WHERE device_id = ? ORDER BY at",
                          (number,)).fetchall()
        found[name] = {"version": version, "versions": [row[0] for row in seen],
                       "tasks": read_tasks(db, entries, number)}
        reached -= sum(task.pop("entries") for task in found[name]["tasks"])
    assert reached == 0, "entries that no history leads to"
    return found


def read_tasks(db, entries, device):
    tasks = []
    for number, target, status, confirmation, attempt, head in db.execute(
        "SELECT id, version, status, confirmation, attempt, last_event FROM task "
        "WHERE device_id = ? ORDER BY id", (device,)
    ).fetchall():
        events = []
        while head is not None:
            owner, status_then, head = entries[head]
            assert owner == number, "a history that leads into another task's"
            events.insert(0, status_then)
        assert (events[-1] if events else WAITING) == status, f"task {number}: {events}, {status}"
        tasks.append({"id": number, "entries": len(events), "target": target, "attempt": attempt,
                      "status": WAITING if status == SENT else status,
                      "events": [event for event in events if event != SENT],
                      "confirmed": confirmation == 2})
    return tasks


def read_clerks(db):
    products = {name: {} for name, in db.execute(
        "SELECT name FROM product WHERE name LIKE 'q%-'")}
    for product, device, text in db.execute(
        "SELECT p.name, d.name, d.description FROM device d JOIN product p ON p.id = d.product_id "
        "WHERE p.name LIKE 'q%-'"
    ):
        products[product][device] = text
    return products


def same(actual, model):
    """A task that is under way has no number yet."""
    if "tasks" not in model or not model["tasks"] or model["tasks"][-1]["id"] is not None:
        return actual == model
    filled = copy.deepcopy(model)
    if len(actual["tasks"]) == len(filled["tasks"]):
        filled["tasks"][-1]["id"] = actual["tasks"][-1]["id"]
    return actual == filled


def check_actor(actor, actual):
    candidates = list(actor.candidates())
    assert any(same(actual, candidate) for candidate in candidates), (
        f"{getattr(actor, 'name', 'clerk')}\nis       {actual}\nmust be  "
        + "\nor       ".join(map(str, candidates)) + f"\npending  {actor.pending}"
    )


def check_file(broker):
    """The file is whole; gives what it holds."""
    db = sqlite3.connect(f"file:{broker.db_path}?mode=ro", uri=True, timeout=10)
    try:
        db.execute("BEGIN")
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        return read_devices(db), read_clerks(db)
    finally:
        db.close()


async def check_memory(commands, found):
    """What the broker says is what the file holds."""
    cursor, counts = {}, {}
    while cursor is not None:
        page = await commands.call("listVersions", {"product": "p", "limit": 200, **cursor})
        counts |= {row["version"]: row["devices"] for row in page["versions"] if row["devices"]}
        cursor = {"cursor": page["nextCursor"]} if "nextCursor" in page else None
    expected = {}
    for device in found.values():
        if device["version"]:
            expected[device["version"]] = expected.get(device["version"], 0) + 1
    assert counts == expected
    cursor, shown = {}, {}
    while cursor is not None:
        page = await commands.call("listDevices", {"product": "p", "limit": 200, **cursor})
        shown.update({row["device"]: row["version"] for row in page["devices"]})
        cursor = {"cursor": page["nextCursor"]} if page.get("nextCursor") else None
    assert shown == {name: device["version"] for name, device in found.items()}


# -- rounds ---------------------------------------------------------------------------------------


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
        self.everybody = [*self.actors, self.clerk]

    def stream(self):
        """Each actor draws from numbers of its own: the same whatever the others do."""
        return random.Random(self.rng.getrandbits(64))

    async def connect(self):
        port = self.broker.port
        await self.commands.wire.connect(port)
        await self.commands.wire.subscribe(CONTROL_RESPONSE)
        await asyncio.gather(*(actor.connect(port) for actor in self.actors))

    async def check(self):
        """Right after a restart; then whatever was under way is sent again."""
        found, products = check_file(self.broker)
        nothing = {"version": None, "versions": [], "tasks": []}
        for actor in self.actors:
            check_actor(actor, found.get(actor.name, nothing))
        check_actor(self.clerk, products)
        await check_memory(self.commands, found)
        await asyncio.gather(*(a.send_pending() for a in self.everybody if a.pending))
        found, products = check_file(self.broker)
        for actor in self.actors:
            check_actor(actor, found.get(actor.name, nothing))
        check_actor(self.clerk, products)

    async def work_and_die(self, seconds):
        work = [asyncio.ensure_future(actor.work()) for actor in self.everybody]
        await asyncio.sleep(seconds)
        self.broker.kill9()
        self.commands.lose()
        for actor in self.actors:
            actor.wire.close()
        await asyncio.gather(*work)

    async def round(self):
        if self.rng.random() < 0.2:
            self.broker.start()
            time.sleep(self.rng.random() * 0.1)  # a random moment is what is wanted
            self.broker.kill9()
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
        self.commands.lose()
        for actor in self.actors:
            actor.wire.close()


def kill_again_and_again(broker, rounds, seed):
    one = broker(
        config="log_type error\nlog_type warning", options={"max_report_rate": 10000}
    )
    admin = one.admin()
    stock(admin, "p", *TARGETS)
    admin.close()
    one.stop()
    run = Run(one, seed)
    asyncio.run(run.run(rounds))
    done = [sum(actor.done for actor in run.everybody if isinstance(actor, kind))
            for kind in (Reporter, Upgrader, Clerk)]
    assert all(done), f"nothing was tested: {done}"
    print(f"{rounds} rounds: {done[0]} versions, {done[1]} steps of upgrades, {done[2]} commands")
    return sum(done)


@pytest.mark.slow_asan
def test_what_was_acknowledged_survives_a_kill(broker):
    kill_again_and_again(broker, int(os.environ.get("OTA_KILL9_ROUNDS", "10")), campaign.seed())


@pytest.mark.campaign
def test_kill9(broker):
    rounds, seed = campaign.count(100), campaign.seed()
    result = "FAILED"
    try:
        done = kill_again_and_again(broker, rounds, seed)
        result = f"ok: {done} acknowledged reports and commands, none lost, nothing by halves"
    finally:
        campaign.record("kill9", rounds, f"{result} (OTA_SEED={seed})")
