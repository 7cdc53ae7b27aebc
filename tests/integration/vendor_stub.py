# SPDX-License-Identifier: BSD-3-Clause
"""Servers for a vendor device that misbehave to the byte, and a way to it that can be closed."""
import contextlib
import re
import socket
import threading
import time

from common import TIMEOUT

HOLD = object()  # among an answer's pieces: the connection stays open until the device closes it


def head(*lines, status="200 OK"):
    """An answer's head, from its lines as they are."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def whole(content, *lines):
    """A 200 with all of it."""
    return [head(f"Content-Length: {len(content)}", *lines) + content]


def in_range(content):
    """What answers a Range as it should be answered; a function of the request."""

    def answer(request):
        first, last = map(int, re.search(rb"Range: bytes=(\d+)-(\d+)", request).groups())
        size = len(content)
        if first >= size:
            return [head("Content-Length: 0", status="416 Range Not Satisfiable")]
        body = content[first : last + 1]
        span = f"bytes {first}-{first + len(body) - 1}/{size}"
        lines = (f"Content-Length: {len(body)}", f"Content-Range: {span}")
        return [head(*lines, status="206 Partial Content") + body]

    return answer


class Stub:
    """Answers requests by their path. `answers[path]` is a list of answers, one after the other;
    the last stays. An answer is a list of pieces: bytes to send, seconds to wait, an Event to wait
    for, HOLD; or a function of the request that gives them. After the last piece it hangs up."""

    def __init__(self):
        self.answers = {}
        self.requests = []  # (path, the request's bytes)
        self.closed = 0  # connections on HOLD that the device closed
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def place(self):
        return f"127.0.0.1:{self.port}"

    def url(self, path="/"):
        return f"http://fw.example.com{path}"

    def of(self, path):
        return [request for where, request in self.requests if where == path]

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(TIMEOUT)
            request = b""
            while b"\r\n\r\n" not in request:
                more = connection.recv(65536)
                if not more:
                    return
                request += more
            path = request.split(b" ")[1].decode()
            self.requests.append((path, request))
            left = self.answers[path]
            answer = left.pop(0) if len(left) > 1 else left[0]
            self._send(connection, answer(request) if callable(answer) else answer)

    def _send(self, connection, pieces):
        for piece in pieces:
            if isinstance(piece, bytes):
                connection.sendall(piece)
            elif piece is HOLD:
                connection.settimeout(0.1)
                while not self._ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1):
                            self.closed += 1
                            return
            elif isinstance(piece, threading.Event):
                piece.wait(TIMEOUT)
            else:
                self._ended.wait(piece)

    def close(self):
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(TIMEOUT)


class Way:
    """Passes connections on to a port, until it is closed, and again when it is opened. cuts: after
    how many bytes from there a connection is cut, one after the other."""

    def __init__(self, port, cuts=()):
        self._target = port
        self._cuts = list(cuts)
        self.said = []  # the first bytes on each connection
        self._sockets, self._threads = [], []
        self._listener = None
        self.port = 0
        self.open()

    def open(self):
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=16)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def close(self):
        """Cuts what goes through it, and lets nobody in."""
        for one in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for one in [self._listener, *self._sockets]:
            one.close()
        self._sockets, self._threads = [], []

    def _start(self, target, *arguments):
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                self._start(self._pump, near, far, float("inf"), self.said)
                self._start(self._pump, far, near, self._cuts.pop(0) if self._cuts else float("inf"))

    @staticmethod
    def _pump(source, target, left, said=None):
        with contextlib.suppress(OSError):
            while left > 0 and (data := source.recv(int(min(left, 65536)))):
                if said is not None:
                    said.append(data)
                    said = None
                target.sendall(data)
                left -= len(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def stays_so(condition, seconds):
    """Fails unless it holds for that long; for what must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition()
        time.sleep(0.02)
