# SPDX-License-Identifier: BSD-3-Clause
"""MQTT 5 and 3.1.1 packet by packet, on a blocking socket and without a thread: for what a well
bred client library doesn't send (DUP at will, an alias that changes its topic), and for hundreds
of connections at a time."""
import json
import socket
import struct

from common import TIMEOUT

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL = range(1, 7)
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 12, 13, 14


class Closed(Exception):
    """The broker hung up."""


def _text(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">H", len(data)) + data


def _size(size):
    out = b""
    while True:
        size, digit = divmod(size, 128)
        out += bytes([digit | (0x80 if size else 0)])
        if not size:
            return out


class Packets:
    """One connection; `heard` has (topic, payload) of all that came, in order."""

    def __init__(
        self, port, client_id, username=None, password=None, v5=True, clean=True, expiry=0,
        will=None, keepalive=600,
    ):
        """expiry: of the session, in seconds; will: {topic, payload, retain, delay}. `code` is the
        CONNACK's."""
        self.client_id, self.v5 = client_id, v5
        self.heard = []
        self.acked = {}  # packet id: code of PUBACK, PUBREC or SUBACK
        self._mid = 0
        self._rest = b""
        self._pongs = 0
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.code = None
        try:
            self._connect(username, password, clean, expiry, will, keepalive)
        except Closed:
            self.code = self.code or 255

    def _connect(self, username, password, clean, expiry, will, keepalive):
        flags = (2 if clean else 0) | (0x80 if username is not None else 0)
        flags |= 0x40 if password is not None else 0
        body = struct.pack(">H", keepalive)
        if self.v5:
            body += _size(5) + b"\x11" + struct.pack(">I", expiry) if expiry else _size(0)
        body += _text(self.client_id)
        if will:
            flags |= 0x04 | 0x08 | (0x20 if will.get("retain") else 0)  # QoS 1
            if self.v5:
                delay = will.get("delay", 0)
                body += _size(5) + b"\x18" + struct.pack(">I", delay) if delay else _size(0)
            body += _text(will["topic"]) + _text(self._bytes(will["payload"]))
        if username is not None:
            body += _text(username)
        if password is not None:
            body += _text(password)
        head = _text("MQTT") + bytes([5 if self.v5 else 4, flags])
        self._send(CONNECT << 4, head + body)
        self._until(lambda: self.code is not None)

    @staticmethod
    def _bytes(payload):
        return payload if isinstance(payload, bytes) else json.dumps(payload).encode()

    def _send(self, first, body):
        try:
            self._socket.sendall(bytes([first]) + _size(len(body)) + body)
        except OSError as error:
            raise Closed from error

    def _next_mid(self):
        self._mid = self._mid % 65535 + 1
        return self._mid

    # -- doing

    def publish(self, topic, payload, qos=1, retain=False, dup=False, mid=None, alias=None):
        """Gives the packet id at once; None with QoS 0."""
        mid = None if qos == 0 else mid or self._next_mid()
        body = _text(topic) + (struct.pack(">H", mid) if qos else b"")
        if self.v5:
            body += _size(3) + b"\x23" + struct.pack(">H", alias) if alias else _size(0)
        first = PUBLISH << 4 | (8 if dup else 0) | qos << 1 | (1 if retain else 0)
        if mid:
            self.acked.pop(mid, None)
        self._send(first, body + self._bytes(payload))
        return mid

    def wait_ack(self, mid):
        """The code of its PUBACK, PUBREC or SUBACK; with QoS 0 (None) there is none."""
        if mid is None:
            return None
        self._until(lambda: mid in self.acked)
        return self.acked[mid]

    def subscribe(self, topic, qos=1):
        """The SUBACK's code: 128 and more where it was refused."""
        mid = self._next_mid()
        properties = _size(0) if self.v5 else b""
        self._send(
            SUBSCRIBE << 4 | 2, struct.pack(">H", mid) + properties + _text(topic) + bytes([qos])
        )
        return self.wait_ack(mid)

    def settle(self):
        """Returns when all is here that the broker had for this client. What its plugins publish it
        sends at the start of its next loop, so there are two turns."""
        for _ in range(2):
            pongs = self._pongs
            self._send(PINGREQ << 4, b"")
            self._until(lambda: self._pongs > pongs)  # pylint: disable=cell-var-from-loop

    def wait_heard(self, topic, count=1):
        """Returns when as many messages came on it."""
        self._until(lambda: sum(at == topic for at, _ in self.heard) >= count)

    def drop(self):
        """The connection breaks: the will goes out."""
        self._socket.close()

    def close(self):
        """DISCONNECT: there will be no will."""
        try:
            self._send(DISCONNECT << 4, b"")
        except Closed:
            pass
        self._socket.close()

    # -- hearing

    def _until(self, done):
        while not done():
            try:
                data = self._socket.recv(65536)
            except ConnectionError as error:
                raise Closed from error
            if not data:
                raise Closed
            self._rest += data
            self._take_all()

    def _take_all(self):
        while len(self._rest) >= 2:
            size, shift, at = 0, 0, 1
            while True:
                if at == len(self._rest):
                    return
                digit = self._rest[at]
                size |= (digit & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if digit < 0x80:
                    break
            if len(self._rest) < at + size:
                return
            first, body = self._rest[0], self._rest[at : at + size]
            self._rest = self._rest[at + size :]
            self._take(first, body)

    def _take(self, first, body):
        kind = first >> 4
        if kind == CONNACK:
            self.code = body[1]
        elif kind in (PUBACK, PUBREC):
            code = body[2] if len(body) > 2 else 0
            self.acked[struct.unpack(">H", body[:2])[0]] = code
            if kind == PUBREC and code < 128:
                self._send(PUBREL << 4 | 2, body[:2])
        elif kind == SUBACK:
            self.acked[struct.unpack(">H", body[:2])[0]] = body[-1]
        elif kind == PINGRESP:
            self._pongs += 1
        elif kind == PUBLISH:
            self._take_publish(first, body)

    def _take_publish(self, first, body):
        qos = first >> 1 & 3
        at = 2 + struct.unpack(">H", body[:2])[0]
        topic = body[2:at].decode()
        if qos:
            self._send(PUBACK << 4, body[at : at + 2])  # no test asks for QoS 2
            at += 2
        if self.v5:  # properties: our topics' are short
            at += 1 + body[at]
        self.heard.append((topic, body[at:]))
