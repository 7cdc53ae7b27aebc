# SPDX-License-Identifier: BSD-3-Clause
"""Many people, scripts and vandals at the HTTP door at once, reloads in between, and a broker that
is stopped while they go on: nothing hangs, nothing that was answered is lost, devices notice
nothing."""
import contextlib
import random
import socket
import threading
import time

import pytest

import campaign

BODY = b'{"commands":[{"command":"listDevices","product":"lamp"}]}'
WHOLE = (
    b"POST /api/v1/control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Authorization: Basic YWRtaW46cmlnaHQgaG9yc2U=\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Crowd:
    def __init__(self, console, seed, size):
        self.console = console
        self.over = threading.Event()
        self.stopping = False  # the broker is, or was
        self.created = set()  # devices whose creation was answered
        self.wrong = []
        self.asked = 0
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(f"{seed}-{number}"), number))
            for number in range(size)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, draw, number):
        acts = (self._create, self._login, self._listen, self._look, self._upload, self._tear,
                self._shout)
        while not self.over.is_set():
            try:
                draw.choice(acts)(draw, number)
                self.asked += 1
            except (OSError, AssertionError) as problem:
                if not self.stopping:
                    self.wrong.append(repr(problem))
                self.over.wait(0.05)

    def _expect(self, answer, *statuses):
        if answer.status not in statuses and not (self.stopping and answer.status == 503):
            self.wrong.append(f"{answer.status} {answer.body[:200]}")

    def _create(self, draw, number):
        name = f"c{number}-{draw.randrange(10**9)}"
        answer = self.console.control(
            {"command": "createDevice", "product": "lamp", "device": name}, user="admin"
        )
        self._expect(answer, 200)
        if answer.status == 200:
            self.created.add(name)

    def _login(self, draw, _):
        body = {"user": draw.choice(("admin", "op", "who")), "password": "wrong"}
        self._expect(self.console.ask("POST", "/api/v1/login", body), 401, 429, 503)

    def _listen(self, draw, _):
        with contextlib.closing(self.console.events(user=draw.choice(("op", "viewer")))) as stream:
            self.over.wait(draw.random() / 5)
            assert stream.status in (200, 503)

    def _look(self, draw, _):
        path = draw.choice(("/", "/healthz", "/metrics", "/nothing"))
        self._expect(self.console.get(path, user="viewer"), 404 if path == "/nothing" else 200)

    def _upload(self, draw, _):
        self._expect(self.console.put(99, 0, bytes(draw.randrange(1, 1 << 20))), 404)

    def _tear(self, draw, _):
        with socket.create_connection(("127.0.0.1", self.console.port)) as one:
            one.sendall(WHOLE[: draw.randrange(1, len(WHOLE) + 1)])
            self.over.wait(draw.random() / 10)

    def _shout(self, draw, _):
        with socket.create_connection(("127.0.0.1", self.console.port)) as one:
            one.sendall(draw.randbytes(draw.randrange(1, 400)))


def crowd_for(console, seconds, seed, size):
    """Gives how many requests were made."""
    broker = console.broker
    console.call("createProduct", product="lamp")
    lamp = broker.device("lamp", "d1")
    with Crowd(console, seed, size) as crowd:
        end = time.monotonic() + seconds
        for number in range(10**9):
            assert lamp.report_version(f"1.{number}")["result_code"] == 0
            if number % 20 == 19:
                broker.process.send_signal(1)  # SIGHUP
            if time.monotonic() > end or crowd.wrong:
                break
        crowd.stopping = True
        broker.stop()
    assert not crowd.wrong, crowd.wrong[:10]
    broker.start()
    known = {d["device"] for d in broker.admin().list_all("listDevices", "devices", product="lamp")}
    assert crowd.created <= known
    assert console.get("/healthz").status == 200
    return crowd.asked


def test_a_crowd_and_a_stop_amid_it(console):
    crowd_for(console, 3, 1, 12)


@pytest.mark.campaign
def test_console_crowd(console):
    seconds, seed = campaign.count(300), campaign.seed()
    result = "failed"
    try:
        asked = crowd_for(console, seconds, seed, 24)
        result = f"ok: {asked} requests, nothing lost, nothing hung"
    finally:
        campaign.record("console_crowd", seconds, f"{result} (OTA_SEED={seed})")
