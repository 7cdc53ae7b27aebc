# SPDX-License-Identifier: BSD-3-Clause
"""Secrets while test_kill9.py kills the broker: devices that log in with one, an admin who makes
tokens and takes them back, and another who works with one over HTTP."""
import asyncio
import base64
import http.client

import vendor
from kill9_actors import Actor, Reporter, take_response
from wire import Lost, Refused, Wire

UNKNOWN = "?"  # it was drawn, and the answer was lost
TOKENS = 8
TRIES = 3  # with a wrong secret, in one life of the broker: after ten it doesn't listen


class Keyholder(Reporter):
    """A device that logs in with a secret, which is now and then another one or none. In its own
    model "secret" is all that it ever had, None for none, the present one last."""

    def __init__(self, commands, rng, name):
        super().__init__(commands, rng, name)
        self.model["secret"] = (None,)
        self.using = None  # the secret that its connection was opened with
        self.port = None
        self.tries = 0

    def shown(self, model):
        return {**model, "secret": model["secret"][-1] is not None}

    async def connect(self, port):
        """With whatever may be right now, and with what was right before."""
        self.port, self.using, self.tries = port, None, 0
        may = {model["secret"][-1] for model in self.candidates()}
        tried = {*may, *self.model["secret"][-3:]} - {None, UNKNOWN}
        let_in = {secret for secret in sorted(tried) if await self.log_in(secret)}
        assert let_in in [{secret} & tried for secret in may], (
            f"{self.name}: let in with {let_in}, and yet {self.model['secret'][-3:]}, "
            f"pending {self.pending}"
        )

    async def log_in(self, secret):
        """Whether that is its secret."""
        name = vendor.username(f"{self.product}{self.name}")
        wire = Wire(f"kill9-{self.name}", name, self.hear, vendor.password(name, secret))
        try:
            await wire.connect(self.port)
        except Refused:
            return False
        self.wire, self.using = wire, secret
        assert await self.listen()
        return True

    async def step(self):
        secret = self.model["secret"][-1]
        if self.using not in (None, secret):
            await self.lose_connection()
        elif secret is None and self.rng.random() < 0.9:
            await asyncio.sleep(self.rng.random() * 0.02)
        elif secret in (None, UNKNOWN):
            await self.set_secret()
        elif self.using is None:
            assert await self.log_in(secret), f"{self.name}: its secret is refused"
        elif self.rng.random() < 0.04:
            await self.change()
        else:
            await super().step()

    async def lose_connection(self):
        """Another secret ends it."""
        ended = await self.wire.wait_end(timeout=10)
        assert ended, f"{self.name} goes on with a secret that is no more"
        former, self.using = self.using, None
        self.tries += 1
        if self.tries <= TRIES:
            assert not await self.log_in(former), f"{self.name}: its former secret is good"

    async def change(self):
        if self.rng.random() < 0.3:
            await self.command("deleteDeviceSecret", product=self.product, device=self.name)
        else:
            await self.set_secret()

    async def set_secret(self):
        fields = {"product": self.product, "device": self.name}
        if self.rng.random() < 0.6:
            secret = self.rng.randbytes(self.rng.randrange(16, 49))
            fields["secret"] = base64.b64encode(secret).decode()
        await self.command("setDeviceSecret", **fields)

    def apply_command(self, model, name, fields, answer):
        secret = None
        if name == "setDeviceSecret":
            secret = fields.get("secret") or (answer or {}).get("secret", UNKNOWN)
        model["secret"] += (secret,)


class Door:
    """What is asked for over HTTP, with a token. `console`: console_help.Console."""

    def __init__(self, console, commands):
        self.console, self.commands = console, commands

    @property
    def lost(self):
        return self.commands.lost

    async def ask(self, secret, request, *what):
        """What that method of the console gives; Lost with the broker."""
        try:
            return await asyncio.to_thread(
                request, *what, headers={"Authorization": f"Bearer {secret}"}
            )
        except (OSError, http.client.HTTPException) as error:
            raise Lost from error

    async def lets_in(self, secret):
        answer = await self.ask(secret, self.console.get, "/api/v1/session")
        assert answer.status in (200, 401), answer.body
        return answer.status == 200


class WebCommands(Door):
    """The control API over HTTP, as Commands has it over MQTT."""

    def __init__(self, console, commands, secret):
        super().__init__(console, commands)
        self.secret = secret

    async def call(self, command, fields, refusals=()):
        request = {"command": command, **fields}
        answer = await self.ask(self.secret, self.console.control, request)
        assert answer.status == 200, answer.body
        return take_response(command, fields, answer.json["responses"][0], refusals)


class Registrar(Actor):
    """An admin who makes tokens and revokes them, and a script that uses them. model: {name:
    number}, None where that isn't known."""

    def __init__(self, commands, rng, door):
        super().__init__(commands, rng)
        self.model = {}
        self.door = door
        self.secrets = {}  # {name: text}; whoever lost the answer has none

    def apply(self, model, thing, answer):
        _, name, fields = thing
        if name == "revokeToken":
            model.pop(next(one for one in model if model[one] == fields["token"]))
            return
        model[fields["name"]] = answer["token"]["token"] if answer else None
        if answer and "secret" in answer:
            self.secrets[fields["name"]] = answer["secret"]

    async def step(self):
        chance = self.rng.random()
        if not self.model or (chance < 0.4 and len(self.model) < TOKENS):
            await self.command("createToken", name=f"c{self.rng.getrandbits(48):x}",
                               role=self.rng.choice(["viewer", "operator", "admin"]))
        elif chance < 0.7:
            name = self.rng.choice(sorted(self.model))
            await self.command("revokeToken", token=self.model[name])
        await self.use(self.rng.choice(list(self.secrets)[-TOKENS:] or [None]))

    async def use(self, name):
        if name:
            good = await self.door.lets_in(self.secrets[name])
            assert good == (name in self.model), f"token {name}: {good}, {self.model}"

    def check(self, found):
        assert any(
            found == {name: number or found.get(name) for name, number in model.items()}
            for model in self.candidates()
        ), f"tokens\nis       {found}\nmust be  {self.model}\npending  {self.pending}"

    async def check_door(self, found):
        """Who is let in is who is in the file."""
        for name in list(self.secrets)[-2 * TOKENS:]:
            assert await self.door.lets_in(self.secrets[name]) == (name in found), name
