# SPDX-License-Identifier: BSD-3-Clause
"""The download server among people who mean it ill, in a real broker. Each rule by itself, with its
times, is in tests/unit/test_http_guests.c and test_http_shape.c."""
import os
import re
import resource
import select
import socket
import time

import pytest

from harness import TIMEOUT
from steps import NEW, OLD, upgrade
from test_downloads import CONTENT, Connection, Offer, ask

BIG = 4 * 1024 * 1024  # more than a connection's buffers hold


def is_closed(connection):
    """Whether the server has closed or reset; what it sent before is thrown away."""
    connection.settimeout(0)
    try:
        while connection.recv(1 << 20):
            pass
        return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def drain(connection):
    """Bytes until the server closes or resets."""
    received = 0
    connection.settimeout(TIMEOUT)
    try:
        while data := connection.recv(1 << 20):
            received += len(data)
    except ConnectionError:
        pass
    return received


# -- the life of a URL ----------------------------------------------------------------------------


def override(offer):
    offer.admin.add_firmware(offer.product, "0.0.3")
    upgrade(offer.admin, offer.device, "0.0.3", override=True)


def new_attempt(offer):
    offer.device.report_progress("fail", version=NEW, code=-1)
    offer.admin.call("retryTask", task=offer.task)


def delete_after_cancel(offer, command, **fields):
    offer.admin.call("cancelTask", task=offer.task)
    offer.admin.call(command, product=offer.product, **fields)


ENDS = {
    "done": lambda offer: offer.device.report_progress("done", version=NEW),
    "version": lambda offer: offer.device.report_version(NEW),
    "override": override,
    "attempt": new_attempt,
    "firmware": lambda offer: delete_after_cancel(offer, "deleteFirmware", version=NEW),
    "device": lambda offer: delete_after_cancel(offer, "deleteDevice", device="d"),
    "product": lambda offer: delete_after_cancel(offer, "deleteProduct", force=True),
}


def expect_the_end(offer, end):
    """The URL's running transfer is dropped, and the URL is dead."""
    with Connection(offer.url, SO_RCVBUF=65536) as connection:
        connection.send()
        assert connection.read_head().status == 200
        end(offer)
        began = time.monotonic()
        assert drain(connection.socket) < len(offer.content)
        assert time.monotonic() - began < 3
    assert [ask(offer.url, method).status for method in ("GET", "HEAD")] == [403, 403]


def test_a_running_transfer_ends_with_its_url(ota):
    content = os.urandom(BIG)
    for name, end in ENDS.items():
        expect_the_end(Offer(ota, content, product=name), end)


def test_a_running_transfer_ends_with_its_time(broker):
    offer = Offer(broker(options={"upgrade_timeout": 1}), os.urandom(BIG))
    expect_the_end(offer, lambda one: one.admin.wait_status(one.task, "failed"))


# -- those who only take places -------------------------------------------------------------------


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_000:
        pytest.skip("not enough open files allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow_asan
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_idle_connections_keep_nobody_out(many_files, broker, source):
    """More than there are places, from the device's own address and from another."""
    content = os.urandom(BIG)
    offer = Offer(broker(), content)
    idle = []
    with Connection(offer.url, SO_RCVBUF=65536) as running:
        place = (running.place.hostname, running.place.port)
        running.send()
        assert running.read_head().status == 200
        try:
            for _ in range(2300):
                one = socket.create_connection(place, TIMEOUT, source_address=(source, 0))
                one.send(b"GET / HTTP/1.1\r\n")
                idle.append(one)
            began = time.monotonic()
            assert ask(offer.url).body == content
            assert time.monotonic() - began < 3
            received = len(running.kept)
            while received < BIG:
                received += len(running.socket.recv(1 << 20))
        finally:
            for one in idle:
                one.close()
    offer.broker.wait_log("downloads: the places are scarce")


@pytest.mark.slow_asan
def test_a_head_has_ten_seconds(offer_of_small):
    """From the connection, or from the first byte of a later request; a connection that is kept
    and silent has longer."""
    silent, trickling, kept, idle = (Connection(offer_of_small.url) for _ in range(4))
    for connection in (kept, idle):
        assert connection.ask(lines=["Range: bytes=0-9"]).body == CONTENT[:10]
    began = time.monotonic()
    ended = {}
    late = {"silent": silent, "trickling": trickling, "kept": kept}
    while len(ended) < 3:
        assert time.monotonic() - began < 14, ended
        for name in ("trickling", "kept"):
            if name not in ended:
                try:
                    late[name].socket.send(b"G")
                except ConnectionError:
                    pass
        select.select([late[name].socket for name in late if name not in ended], [], [], 0.5)
        for name in late:
            if name not in ended and is_closed(late[name].socket):
                ended[name] = time.monotonic() - began
    assert all(9 < seconds < 13 for seconds in ended.values()), ended
    assert not is_closed(idle.socket)
    idle.socket.settimeout(TIMEOUT)
    assert idle.ask(lines=["Range: bytes=5-9"]).body == CONTENT[5:10]
    for connection in (silent, trickling, kept, idle):
        connection.socket.close()


@pytest.fixture
def offer_of_small(ota):
    return Offer(ota)


# -- smuggled requests ----------------------------------------------------------------------------

SHAPES = {
    "both lengths": (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n", {400, 413}),
    "chunked": (["Transfer-Encoding: chunked"], b"0\r\n\r\n", {400}),
    "two lengths": (["Content-Length: 0", "Content-Length: 5"], b"hello", {400}),
    "a length that is none": (["Content-Length: +5"], b"hello", {400}),
    "a body": (["Content-Length: 5"], b"hello", {413}),
    "no body": (["Content-Length: 5"], b"", {413}),
    "a blank before the colon": (["Content-Length : 5"], b"hello", {400}),
    "a folded line": (["Content-Length: 5", " 0"], b"hello", {400}),
    "two hosts": (["Host: other"], b"", {400}),
    "a bare line feed": (["X: y\nContent-Length: 5"], b"hello", {400, 413}),
    "a NUL": (["X: y\0Content-Length: 5"], b"hello", {400}),
    "two ranges": (["Range: bytes=0-1", "Range: bytes=2-3"], b"", {400}),
}


def test_what_stands_behind_an_odd_request_is_never_answered(offer_of_small):
    offer = offer_of_small
    for name, (lines, body, statuses) in SHAPES.items():
        with Connection(offer.url) as connection:
            good = f"GET {connection.place.path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
            head = [f"GET {connection.place.path} HTTP/1.1", "Host: h", *lines, "", ""]
            connection.socket.sendall("\r\n".join(head).encode() + body + good)
            received = b""
            try:
                while data := connection.socket.recv(65536):
                    received += data
            except ConnectionError:
                pass
            assert len(re.findall(rb"(?:^|\n)HTTP/1\.", received)) == 1, name
            assert int(received.split(b" ")[1]) in statuses, (name, received)
    offer.device.report_version(OLD)
    assert ask(offer.url).body == CONTENT
