# SPDX-License-Identifier: BSD-3-Clause
"""MQTT 3.1.1 on asyncio: many clients in one thread, each of which knows to the packet what was
acknowledged. For tests that kill the broker; the others have clients.py."""
import asyncio
import json
import struct


class Lost(Exception):
    """The connection is gone: whether the broker still did it, nobody knows."""


class Refused(Exception):
    """The broker doesn't let this client in."""


def _text(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(kind, body):
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([kind]) + length + body


class Wire:
    """One connection. `hear(topic, payload)` is called for every PUBLISH."""

    def __init__(self, client_id, username, hear, password=None):
        self.client_id, self.username, self.hear = client_id, username, hear
        self.password = password
        self._acks = {}
        self._mid = 0
        self._reader = self._writer = self._task = None

    async def connect(self, port):
        try:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise Lost from error
        flags = 0x82 if self.password is None else 0xC2
        body = _text("MQTT") + bytes([4, flags]) + struct.pack(">H", 60)
        body += _text(self.client_id) + _text(self.username)
        body += b"" if self.password is None else _text(self.password)
        self._writer.write(_packet(0x10, body))
        self._task = asyncio.ensure_future(self._read())
        if await self._wait("connack"):
            self.close()
            raise Refused

    async def subscribe(self, topic):
        """Whether the broker grants it."""
        mid = self._next_mid()
        body = struct.pack(">H", mid) + _text(topic) + b"\0"
        return await self._send(_packet(0x82, body), mid) < 128

    async def publish(self, topic, payload):
        """With QoS 1; returns after the PUBACK."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        mid = self._next_mid()
        await self._send(_packet(0x32, _text(topic) + struct.pack(">H", mid) + data), mid)

    async def wait_end(self, *others, timeout):
        """Until the connection has ended or one of the other futures is done; whether any is."""
        done, _ = await asyncio.wait(
            {self._task, *others}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        return bool(done)

    def has_ended(self):
        return self._task.done()

    def close(self):
        if self._task:
            self._task.cancel()
            self._writer.close()
        self._lose()

    def _next_mid(self):
        self._mid = self._mid % 65535 + 1
        return self._mid

    async def _send(self, packet, mid):
        if self._writer.is_closing() or self._task.done():
            raise Lost
        future = self._expect(mid)
        self._writer.write(packet)
        return await asyncio.wait_for(future, 20)

    async def _wait(self, what):
        return await asyncio.wait_for(self._expect(what), 20)

    def _expect(self, what):
        future = asyncio.get_running_loop().create_future()
        self._acks[what] = future
        return future

    def _lose(self):
        for future in self._acks.values():
            if not future.done():
                future.set_exception(Lost())
                future.exception()  # it may be that nobody waits for it any more
        self._acks.clear()

    def _acknowledged(self, what, code):
        future = self._acks.pop(what, None)
        if future and not future.done():
            future.set_result(code)

    async def _read(self):
        try:
            while True:
                kind = (await self._reader.readexactly(1))[0]
                size, shift = 0, 0
                while True:
                    digit = (await self._reader.readexactly(1))[0]
                    size |= (digit & 0x7F) << shift
                    shift += 7
                    if digit < 0x80:
                        break
                self._take(kind, await self._reader.readexactly(size))
        except (OSError, asyncio.IncompleteReadError):
            self._lose()

    def _take(self, kind, body):
        if kind >> 4 == 2:
            self._acknowledged("connack", body[1])
        elif kind >> 4 in (4, 9):  # what was subscribed to has a code, a PUBACK none
            self._acknowledged(struct.unpack(">H", body[:2])[0], body[2] if body[2:] else 0)
        elif kind >> 4 == 3:
            size = struct.unpack(">H", body[:2])[0]
            start = 2 + size + (2 if kind & 6 else 0)
            self.hear(body[2 : 2 + size].decode(), body[start:])
            if kind & 6:
                self._writer.write(_packet(0x40, body[2 + size : start]))
