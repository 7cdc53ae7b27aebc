# SPDX-License-Identifier: BSD-3-Clause
"""MQTT clients of a broker under test: any, an admin, a device."""
import base64
import contextlib
import hashlib
import itertools
import json
import os
import select
import socket
import threading
import time
import urllib.request

import paho.mqtt.client as mqtt

from common import TIMEOUT

CONTROL = "$CONTROL/ota/v1"
CONTROL_RESPONSE = "$CONTROL/ota/v1/response"

_client_numbers = itertools.count(1)


class Client:
    """An MQTT client that connects at once; its messages are kept, and can be waited for."""

    def __init__(
        self, broker, username=None, password=None, client_id=None, clean=True, v5=False, tls=None,
        will=None, connect=True,
    ):
        """tls: the CN of a certificate, for the TLS listener; will: (topic, payload, qos)."""
        self.broker = broker
        self.username = username
        self.client_id = client_id or f"{type(self).__name__.lower()}-{next(_client_numbers)}"
        self.messages = []  # MQTTMessage, in order
        self.connected = False
        self.connect_code = None  # of the last CONNACK
        self.connects = 0
        self._acked = {}  # mid: what SUBACK or PUBACK said
        self._filters = {}
        self._resubscribing = []  # mids: what was subscribed before, asked for again
        self._changed = threading.Condition()
        if v5:
            self.mqtt = mqtt.Client(self.client_id, protocol=mqtt.MQTTv5)
        else:
            self.mqtt = mqtt.Client(self.client_id, clean_session=clean, protocol=mqtt.MQTTv311)
        self.v5, self.clean, self.tls = v5, clean, tls
        self._set_up(password, will)
        if connect:
            self.connect()

    def _set_up(self, password, will):
        if self.username is not None:
            self.mqtt.username_pw_set(self.username, password)
        if will:
            self.mqtt.will_set(will[0], will[1], will[2] if len(will) > 2 else 0)
        if self.tls:
            certificate, key = self.broker.tls.client(self.tls)
            self.mqtt.tls_set(str(self.broker.tls.ca), str(certificate), str(key))
        self.mqtt.reconnect_delay_set(0.05, 0.2)
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_disconnect = self._on_disconnect
        self.mqtt.on_message = self._on_message
        self.mqtt.on_publish = lambda c, u, mid: self._on_ack(mid, True)
        self.mqtt.on_subscribe = lambda c, u, mid, codes, *_: self._on_ack(mid, codes)
        self.mqtt.on_unsubscribe = lambda c, u, mid, *_: self._on_ack(mid, True)
        # Else the small packets of a test wait 40 ms for one another.
        self.mqtt.on_socket_open = lambda c, u, sock: sock.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )

    # -- paho's thread

    def _on_connect(self, client, userdata, flags, code, properties=None):
        # Not under our lock: paho has locks of its own.
        again = [client.subscribe(topic, qos)[1] for topic, qos in list(self._filters.items())]
        with self._changed:
            self._resubscribing = again
            self.connect_code = int(getattr(code, "value", code))
            self.connected = self.connect_code == 0
            self.connects += self.connected
            self._changed.notify_all()

    def _on_disconnect(self, client, userdata, code, properties=None):
        with self._changed:
            self.connected = False
            self._changed.notify_all()

    def _on_message(self, client, userdata, message):
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def _on_ack(self, mid, what):
        with self._changed:
            self._acked[mid] = what
            self._changed.notify_all()

    # -- waiting

    def wait_for(self, predicate, timeout=TIMEOUT, what=None):
        """Waits until predicate() is true; it is asked whenever this client hears anything."""
        with self._changed:
            result = self._changed.wait_for(predicate, timeout)
        if not result:
            heard = [f"  {m.topic} {m.payload[:200]!r}" for m in self.messages[-10:]]
            name = what or getattr(predicate, "__name__", "condition")
            raise AssertionError(
                f"{self.client_id}: no {name} in {timeout} s; last heard:\n" + "\n".join(heard)
            )
        return result

    def wait_message(self, test, timeout=TIMEOUT, since=0, what="such message"):
        """The first message, from number `since` on, for which test(message) is true."""
        return self.wait_for(
            lambda: next((m for m in self.messages[since:] if test(m)), None), timeout, what
        )

    # -- doing

    def connect(self, timeout=TIMEOUT):
        """Returns when the CONNACK is there; its code is in connect_code."""
        self.connect_code = None
        port = self.broker.tls_port if self.tls else self.broker.port
        more = {"clean_start": self.clean} if self.v5 else {}
        self.mqtt.connect("127.0.0.1", port, keepalive=60, **more)
        self.mqtt.loop_start()
        self.wait_for(lambda: self.connect_code is not None, timeout, "CONNACK")
        return self

    def wait_reconnected(self, since, timeout=TIMEOUT):
        """Waits for a connection after the one numbered `since` (connects), as after a restart of
        the broker, and for the subscriptions that there were."""

        def back():
            acknowledged = all(mid in self._acked for mid in self._resubscribing)
            return self.connected and self.connects > since and acknowledged

        self.wait_for(back, timeout, "connection")

    def disconnect(self):
        """Returns when the broker has ended the connection, too: it knows then that we are gone."""
        line = os.dup(self.mqtt.socket().fileno()) if self.mqtt.socket() else None
        self.mqtt.disconnect()
        self.wait_for(lambda: not self.connected, what="end of connection")
        self.mqtt.loop_stop()
        if line is not None:
            self._wait_hang_up(line)

    def _wait_hang_up(self, line):
        """Reads what is still on its way, until the broker's end, and closes the descriptor."""
        deadline = time.monotonic() + TIMEOUT
        try:
            with contextlib.suppress(ConnectionError):
                while True:
                    ready, _, _ = select.select([line], [], [], max(0, deadline - time.monotonic()))
                    assert ready, f"{self.client_id}: the broker doesn't hang up"
                    if not os.read(line, 65536):
                        return
        finally:
            os.close(line)

    def drop(self):
        """The connection breaks: no DISCONNECT packet, the will goes out."""
        self.mqtt._sock_close()  # pylint: disable=protected-access
        self.mqtt.loop_stop()
        self.connected = False

    def close(self):
        with contextlib.suppress(OSError):  # the connection may be broken on purpose
            self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def release(self):
        """Closed for good: its sockets are given back at once, not when they are collected."""
        self.close()
        self.mqtt._reset_sockets()  # pylint: disable=protected-access

    def _wait_ack(self, mid, timeout=TIMEOUT):
        return self.wait_for(lambda: self._acked.pop(mid, None), timeout, "acknowledgement")

    def subscribe(self, topic, qos=0):
        """The SUBACK's code: the granted QoS, or 128 and more where it was refused."""
        _, mid = self.mqtt.subscribe(topic, qos)
        code = self._wait_ack(mid)[0]
        code = int(getattr(code, "value", code))
        if code < 128:
            self._filters[topic] = qos
        return code

    def publish(self, topic, payload=b"", qos=1, retain=False, wait=True):
        """payload: bytes, text, or what json can write. With QoS 1 returns after the PUBACK."""
        if not isinstance(payload, (bytes, str)):
            payload = json.dumps(payload, separators=(",", ":"))
        mid = self.mqtt.publish(topic, payload, qos, retain).mid
        if wait:
            self._wait_ack(mid)


class ControlError(Exception):
    """A response with an error; text is the sentence."""

    def __init__(self, code, field, text):
        super().__init__(f"{code} {field or ''}: {text}")
        self.code, self.field, self.text = code, field, text


class Admin(Client):
    """A client that speaks the control API, one request at a time."""

    _numbers = itertools.count(1)

    def call(self, name, /, timeout=TIMEOUT, **fields):
        """Runs one command; gives its data, raises ControlError. None as a value leaves it out."""
        fields = {key: value for key, value in fields.items() if value is not None}
        mark = f"call-{next(self._numbers)}"
        command = {"command": name, **fields, "correlationData": mark}
        since = len(self.messages)
        self.publish(CONTROL, {"commands": [command]})

        def answer():
            for response in self._responses(since):
                if response.get("correlationData") == mark or "command" not in response:
                    return response
            return None

        response = self.wait_for(answer, timeout, f"response to {name}")
        if "error" in response:
            raise ControlError(response.get("code"), response.get("field"), response["error"])
        return response.get("data", {})

    def call_raw(self, envelope, timeout=TIMEOUT):
        """Sends bytes, text or an object as it is; gives the next response message, whole."""
        since = len(self.messages)
        self.publish(CONTROL, envelope)
        message = self.wait_message(
            lambda m: m.topic == CONTROL_RESPONSE, timeout, since, "control response"
        )
        return json.loads(message.payload)

    def _responses(self, since):
        for message in self.messages[since:]:
            if message.topic == CONTROL_RESPONSE:
                yield from json.loads(message.payload)["responses"]

    def list_all(self, name, key, **fields):
        """All pages of a list."""
        rows, cursor = [], None
        while True:
            page = self.call(name, cursor=cursor, **fields)
            rows += page[key]
            cursor = page.get("nextCursor")
            if cursor is None:
                return rows

    def add_firmware(self, product, version, content=b"", filename=None, **fields):
        """Announces, uploads and commits; gives the firmware."""
        content = content or os.urandom(1000)
        announced = self.call(
            "addFirmware",
            product=product,
            version=version,
            filename=filename or f"fw-{version}.bin",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            **fields,
        )
        upload, offset, size = (announced[key] for key in ("upload", "offset", "blockSize"))
        while offset < len(content):
            data = base64.b64encode(content[offset : offset + size]).decode()
            offset = self.call("uploadFirmwareBlock", upload=upload, offset=offset, data=data)[
                "offset"
            ]
        return self.call("commitFirmware", upload=upload)["firmware"]

    def task(self, task):
        """The task as it is now, without its history."""
        return self.call("getTask", task=task)["task"]

    def wait_status(self, task, *statuses, timeout=TIMEOUT):
        """The task, once it has one of the statuses. Asks again and again: events aren't needed."""
        deadline = time.monotonic() + timeout
        while True:
            now = self.task(task)
            if now["status"] in statuses:
                return now
            if time.monotonic() > deadline:
                raise AssertionError(f"not {statuses} in {timeout} s: {now}")
            time.sleep(0.02)


class Device(Client):
    """A device as device-protocol.md has it, driven step by step."""

    def __init__(self, broker, product, name, subscribe=True, username=None, **settings):
        self.product, self.name = product, name
        self.report_topic = f"$ota/report/{product}/{name}"
        self.update_topic = f"$ota/update/{product}/{name}"
        self.target = None  # version of the last notice that wait_notice gave
        settings.setdefault("client_id", f"{product}-{name}")
        super().__init__(broker, username or f"{product}/{name}", **settings)
        if subscribe and self.connected:
            assert self.subscribe(self.update_topic) < 128, "refused its own update topic"

    def updates(self, kind, since=0):
        """Payloads on the update topic of that type."""
        heard = [m for m in self.messages[since:] if m.topic == self.update_topic]
        payloads = [json.loads(m.payload) for m in heard]
        return [payload for payload in payloads if payload["type"] == kind]

    def report_version(self, version, wait=True, timeout=TIMEOUT):
        """Reports; waits for the answer and gives it."""
        since = len(self.messages)
        self.report({"type": "report_version", "report": {"version": version}})
        if not wait:
            return None
        return self.wait_for(
            lambda: next(iter(self.updates("report_version_rsp", since)), None), timeout,
            "report_version_rsp",
        )

    def report_progress(self, state, percent=None, version=None, code=0, message="", qos=1):
        progress = {"state": state, "result_code": str(code), "result_msg": message}
        if percent is not None:
            progress["percent"] = str(percent)
        report = {"progress": progress, "version": version or self.target}
        self.report({"type": "report_progress", "report": report}, qos)

    def report(self, payload, qos=1):
        self.publish(self.report_topic, payload, qos)

    def wait_notice(self, version=None, since=0, timeout=TIMEOUT):
        """The last notice (of that version) from message number `since` on, when there is one."""

        def last():
            notices = self.updates("update_firmware", since)
            return next((n for n in reversed(notices) if version in (None, n["version"])), None)

        notice = self.wait_for(last, timeout, f"notice of {version or 'any version'}")
        self.target = notice["version"]
        return notice

    def download(self, notice, first=None, last=None, timeout=TIMEOUT):
        """The firmware's bytes, or those of a range; urllib.error.HTTPError where it is refused."""
        request = urllib.request.Request(notice["url"])
        if first is not None:
            request.add_header("Range", f"bytes={first}-{'' if last is None else last}")
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()

    def run_upgrade(self, notice=None):
        """All that a good device does: downloads, checks, reports each step and the new version."""
        notice = notice or self.wait_notice()
        self.report_progress("downloading", 0)
        content = self.download(notice)
        assert len(content) == notice["file_size"]
        assert hashlib.md5(content).hexdigest() == notice["md5sum"]
        self.report_progress("downloading", 100)
        self.report_progress("burning")
        self.report_progress("done")
        self.report_version(notice["version"])
        return content
