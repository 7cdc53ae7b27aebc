# SPDX-License-Identifier: BSD-3-Clause
"""Gateways while test_kill9.py kills the broker: each speaks, over one connection, for the devices
that an admin has bound to it. The devices are of product p, the gateways of product gate."""
import asyncio
import json

from kill9_actors import Upgrader
from wire import Lost, Wire

REPORT = {"type": "report_version", "report": {"version": "by-a-stranger"}}


class Gateway:
    """The client of gate/NAME. What it does is what its devices do."""

    def __init__(self, name):
        self.name = name
        self.wire = Wire(f"kill9-{name}", f"gate/{name}", self._hear)
        self.devices = {}  # those that were bound to it, by name
        self._asked = {}  # {device: future of the result}

    async def connect(self, port):
        await self.wire.connect(port)
        assert await self.wire.subscribe(f"$gateway/operation/result/gate/{self.name}")

    def _hear(self, topic, payload):
        if topic.startswith("$gateway/"):
            for entry in json.loads(payload)["payload"]["devices"]:
                self._asked.pop(entry["device_name"]).set_result(entry["result"])
            return
        device = self.devices[topic.rsplit("/", 1)[1]]
        if device.gateway is self:
            device.hear(topic, payload)

    async def operate(self, kind, name):
        """The result for that device; Lost with the broker."""
        future = asyncio.get_running_loop().create_future()
        self._asked[name] = future
        devices = [{"product_id": "p", "device_name": name}]
        await self.wire.publish(
            f"$gateway/operation/gate/{self.name}", {"type": kind, "payload": {"devices": devices}}
        )
        assert await self.wire.wait_end(future, timeout=10), f"{self.name}: no result for {name}"
        if not future.done():
            raise Lost
        return future.result()


class Bound(Upgrader):
    """A device that is bound to the one gateway or the other, or for a while to none: then nobody
    speaks for it."""

    def __init__(self, commands, rng, name, gateways):
        super().__init__(commands, rng, name)
        self.gateways = gateways
        self.online = False  # its gateway has announced it and listens for it
        self.choose_gateway()

    def choose_gateway(self):
        """Which is to speak for it from now on, if an admin lets it."""
        self.gateway = self.rng.choice(self.gateways)
        self.gateway.devices[self.name] = self
        self.wire = self.gateway.wire
        self.online = False

    async def connect(self, port):
        """The gateway has its connection already; whether the device is bound is asked, whatever
        the model says."""
        self.online = await self.come_online()

    async def come_online(self):
        self.fresh, self.told = True, None
        online = await self.gateway.operate("online", self.name) == 0
        granted = await self.listen()
        may = {model["gateway"] == self.gateway.name for model in self.candidates()}
        assert online == granted and online in may, (
            f"{self.name} by {self.gateway.name}: announced {online}, subscribed {granted}, "
            f"and yet {self.model}, pending {self.pending}"
        )
        return online

    async def step(self):
        chance = self.rng.random()
        if not self.model["gateway"]:
            await (self.bind() if chance < 0.1 else self.trespass())
        elif not self.online:
            self.online = await self.come_online()
        elif chance < 0.03:
            await self.command("unbindDevice", **self.bond())
        elif chance < 0.06:
            self.online = False
            assert await self.gateway.operate("offline", self.name) == 0
        else:
            await super().step()

    async def trespass(self):
        """The broker acknowledges what it refuses, too: the next look at the file tells."""
        await self.publish(REPORT)
        await asyncio.sleep(self.rng.random() * 0.02)

    async def bind(self):
        self.choose_gateway()
        await self.command("bindDevice", **self.bond())

    def bond(self):
        return {"product": "p", "device": self.name,
                "gatewayProduct": "gate", "gateway": self.gateway.name}

    def apply_command(self, model, name, fields, answer):
        if name == "bindDevice":
            model["gateway"] = fields["gateway"]
        elif name == "unbindDevice":
            model["gateway"] = None
        else:
            super().apply_command(model, name, fields, answer)
