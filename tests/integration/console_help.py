# SPDX-License-Identifier: BSD-3-Clause
"""The console's door, as a browser or a script sees it."""
import base64
import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
import time

from common import TIMEOUT, free_port, release_port

PASSWORDS = {"admin": "right horse", "op": "op's secret", "viewer": "v", "nobody": "n"}


def wait_until(look, what):
    deadline = time.monotonic() + TIMEOUT
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """Of the refusal."""
        return self.json["error"]["code"]


def write_passwords(path, passwords):
    """As mosquitto_passwd does it."""
    path.write_text("".join(f"{user}:{word}\n" for user, word in passwords.items()))
    if passwords:
        subprocess.run(["mosquitto_passwd", "-U", path], check=True, timeout=60)


class Console:
    """A console of a broker that is still to be started: its options, and requests."""

    def __init__(self, folder, passwords=None, tls=None, **options):
        self.port = free_port()
        self.tls = tls
        self.passwords = folder / "console-passwords"
        write_passwords(self.passwords, PASSWORDS if passwords is None else passwords)
        self.options = {
            "console_listen": f"127.0.0.1:{self.port}",
            "password_file": self.passwords,
            **options,
        }
        if tls:
            self.options["http_certfile"] = f"{tls.folder}/server.crt"
            self.options["http_keyfile"] = f"{tls.folder}/server.key"
        self.cookie = None

    def release(self):
        release_port(self.port)

    def connection(self):
        if self.tls:
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            return http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=TIMEOUT, context=context
            )
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def origin(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, user=None, password=None, headers=None, on=None):
        """user: HTTP Basic; else the session's cookie, and the Origin that a browser sends."""
        sent = {}
        if user is not None:
            word = PASSWORDS[user] if password is None else password
            sent["Authorization"] = "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()
        elif self.cookie:
            sent["Cookie"] = f"ota_session={self.cookie}"
            sent["Origin"] = self.origin()
        if isinstance(body, (dict, list)):
            sent["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        elif body is not None:
            sent["Content-Type"] = "application/octet-stream"
        sent.update(headers or {})
        connection = on or self.connection()
        try:
            connection.request(
                method, path, body, {k: v for k, v in sent.items() if v is not None}
            )
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            if on is None:
                connection.close()

    def get(self, path, **settings):
        return self.ask("GET", path, **settings)

    def login(self, user="admin", password=None, **settings):
        word = PASSWORDS.get(user) if password is None else password
        answer = self.ask("POST", "/api/v1/login", {"user": user, "password": word}, **settings)
        if answer.status == 200:
            self.cookie = answer.headers["Set-Cookie"].split(";")[0].partition("=")[2]
        return answer

    def control(self, *commands, **settings):
        return self.ask("POST", "/api/v1/control", {"commands": list(commands)}, **settings)

    def call(self, name, user="admin", **fields):
        """One command, that must be done; its data."""
        answer = self.control({"command": name, **fields}, user=user)
        assert answer.status == 200, answer.body
        (response,) = answer.json["responses"]
        assert "error" not in response, response
        return response["data"]

    def upload(self, product, version, content, user="admin", piece=1 << 20):
        announced = self.call(
            "addFirmware",
            user=user,
            product=product,
            version=version,
            filename=f"{version}.bin",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        offset = announced["offset"]
        while offset < len(content):
            answer = self.put(announced["upload"], offset, content[offset : offset + piece], user)
            assert answer.status == 200, answer.body
            offset = answer.json["offset"]
        return self.call("commitFirmware", user=user, upload=announced["upload"])["firmware"]

    def put(self, upload, offset, content, user="admin", **settings):
        return self.ask(
            "PUT", f"/api/v1/uploads/{upload}?offset={offset}", content, user=user, **settings
        )

    def events(self, query="", user="viewer", **settings):
        return Events(self, query, user, **settings)


class Events:
    """A stream of server-sent events; what has come is in `seen`, as (event, data)."""

    def __init__(self, console, query="", user="viewer", headers=None):
        sent = {}
        if user:
            word = base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
            sent["Authorization"] = f"Basic {word}"
        self.connection = console.connection()
        self.connection.request("GET", f"/api/v1/events{query}", None, {**sent, **(headers or {})})
        self._socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.seen = []
        self.comments = []
        self.ended = False
        self._changed = threading.Condition()
        if self.status == 200:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self):
        event = None
        try:
            while line := self.response.readline():
                text = line.decode().rstrip("\n")
                with self._changed:
                    if text.startswith("event: "):
                        event = text[7:]
                    elif text.startswith("data: "):
                        self.seen.append((event, json.loads(text[6:])))
                    elif text:
                        self.comments.append(text)
                    self._changed.notify_all()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, wanted, timeout=TIMEOUT):
        """The first event that `wanted(event, data)` takes."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: next((e for e in self.seen if wanted(*e)), None), timeout
            )
            assert found, f"not in {self.seen[-20:]}"
            return found

    def wait_end(self, timeout=TIMEOUT):
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended, timeout), "the stream goes on"

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the reader
        if self.status == 200:
            self._reader.join(TIMEOUT)
        self.connection.close()
