# SPDX-License-Identifier: BSD-3-Clause
"""Who is at work while test_kill9.py kills the broker: devices that report and are upgraded one by
one, and admins who make and remove things. Others are in kill9_batches.py, kill9_blocks.py,
kill9_gateways.py and kill9_secrets.py."""
import asyncio
import copy
import json
from collections import Counter

from harness import CONTROL, CONTROL_RESPONSE
from wire import Lost, Wire

TARGETS = ("t1", "t2", "t3")

# enum ota_status
WAITING, SENT, DOWNLOADING, DOWNLOADED, UPGRADING, FAILED, SUCCEEDED, CANCELLED = range(8)
STATES = {"downloading": DOWNLOADING, "downloaded": DOWNLOADED, "burning": UPGRADING,
          "done": SUCCEEDED, "fail": FAILED}


def take_response(command, fields, response, refusals):
    """The response's data, or {"refused": code} where that may be."""
    if response.get("code") in refusals:
        return {"refused": response["code"]}
    assert "error" not in response, f"{command} {fields}: {response}"
    return response.get("data", {})


class Commands:
    """The control API for many at once."""

    def __init__(self):
        self.wire = Wire("kill9-admin", "admin", self._hear)
        self.lost = False  # the broker was killed
        self._open = {}
        self._number = 0

    async def connect(self, port):
        self.lost = False
        await self.wire.connect(port)
        await self.wire.subscribe(CONTROL_RESPONSE)

    def _hear(self, topic, payload):
        if topic == CONTROL_RESPONSE:
            for response in json.loads(payload)["responses"]:
                future = self._open.pop(response.get("correlationData"), None)
                if future and not future.done():
                    future.set_result(response)

    async def call(self, command, fields, refusals=()):
        """Lost where there is no response. fields has the requestId."""
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
        return take_response(command, fields, response, refusals)

    def lose(self):
        self.lost = True
        self.wire.close()
        for future in self._open.values():
            future.cancel()
        self._open.clear()


class Actor:
    """Does one thing after the other. `model` is what was acknowledged; `pending` is what is
    under way: (what, its fields), to be sent again after a restart."""

    refusals = ()  # what its commands may be answered with

    def __init__(self, commands, rng):
        self.commands, self.rng = commands, rng
        self.pending = None
        self.done = 0
        self.commanded = Counter()  # what was accepted, by name

    async def command(self, name, /, **fields):
        request_id = f"{id(self)}-{self.rng.getrandbits(60)}"
        await self.send(("command", name, {**fields, "requestId": request_id}))

    async def send(self, thing):
        self.pending = thing
        await self.send_pending()

    async def send_pending(self):
        if self.pending[0] == "command":
            answer = await self.commands.call(self.pending[1], self.pending[2], self.refusals)
            self.commanded[self.pending[1]] += "refused" not in answer
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

    def shown(self, model):
        """What the file shows of such a state."""
        return model

    async def work(self):
        """Until the broker is gone."""
        try:
            while True:
                await self.step()
                if self.rng.random() < 0.3:
                    await asyncio.sleep(self.rng.random() * 0.02)
        except Lost:
            assert self.commands.lost, "the broker broke a connection"


def unheard_of():
    """The state of a device that never was there."""
    return {"version": None, "versions": [], "tasks": [], "gateway": None, "secret": False}


class DeviceActor(Actor):
    """A device that reports. model: version, versions (all of them, in order), tasks; gateway, by
    its name; secret: whether it has one."""

    def __init__(self, commands, rng, name, product="p"):
        super().__init__(commands, rng)
        self.name, self.product = name, product
        self.wire = Wire(f"kill9-{name}", f"{product}/{name}", self.hear)
        self.model = unheard_of()
        self.told = None  # the task that the last notice was of
        self.fresh = True  # on this connection the version wasn't reported yet
        self._heard = asyncio.Event()

    def hear(self, topic, payload):
        self.heard(json.loads(payload))
        self._heard.set()

    def heard(self, message):
        if message["type"] == "update_firmware":
            self.told = message["task"]

    async def wait_heard(self, timeout=None):
        """Until the next message; whether there was one."""
        self._heard.clear()
        waiting = asyncio.ensure_future(self._heard.wait())
        heard = await self.wire.wait_end(waiting, timeout=timeout)
        waiting.cancel()
        if self.wire.has_ended():
            raise Lost
        return heard

    async def connect(self, port):
        self.fresh, self.told = True, None
        await self.wire.connect(port)
        await self.listen()

    async def listen(self):
        return await self.wire.subscribe(f"$ota/update/{self.product}/{self.name}")

    async def publish(self, report):
        await self.wire.publish(f"$ota/report/{self.product}/{self.name}", report)

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

    async def progress(self, state):
        progress = {"state": state, "percent": self.rng.randrange(100), "result_code": -1}
        report = {"progress": progress, "version": self.model["tasks"][-1]["target"]}
        await self.send(("report", {"type": "report_progress", "report": report}))

    async def steer(self, command, **fields):
        self.told = None
        await self.command(command, **fields)

    async def wait_notice(self, task):
        while self.told != task["id"]:
            assert await self.wait_heard(10), f"{self.name}: no notice of task {task}"

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
    """An admin who makes and removes products, which begin with that letter, and devices. model:
    {product: {device: text}}."""

    def __init__(self, commands, rng, letter):
        super().__init__(commands, rng)
        self.letter = letter
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
            await self.command("createProduct", product=f"{self.letter}{self.number}-")
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
