# SPDX-License-Identifier: BSD-3-Clause
"""Downloads through the real broker, byte for byte (device-protocol.md "Download"). What the server
does with odd requests is in tests/unit/test_http.c; here: a notice's URL and its life."""
import hashlib
import os
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

import pytest

from harness import TIMEOUT, BrokerDied, free_port
from steps import NEW, OLD, round_trip, stock, upgrade

CONTENT = os.urandom(100_000)
BIG = 8 * 1024 * 1024


class Answer:
    def __init__(self, head, body):
        lines = head.decode("ascii").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.lines = lines[1:]
        self.body = body
        self.size = len(head) + 4

    def header(self, name):
        """The value, under exactly this spelling; None where it isn't there."""
        found = [line[len(name) + 2 :] for line in self.lines if line.startswith(name + ": ")]
        assert len(found) < 2, f"{name} twice"
        return found[0] if found else None


class Connection:
    """A raw HTTP connection to the broker's download server."""

    def __init__(self, url, context=None, **settings):
        self.place = urlsplit(url)
        self.socket = socket.create_connection(
            (self.place.hostname, self.place.port), timeout=TIMEOUT
        )
        for option, value in settings.items():
            self.socket.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=self.place.hostname)
        self.kept = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, method="GET", path=None, lines=()):
        lines = [f"{method} {path or self.place.path} HTTP/1.1", f"Host: {self.place.netloc}",
                 *lines, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    def read_head(self):
        while b"\r\n\r\n" not in self.kept:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"closed after {self.kept!r}")
            self.kept += data
        head, _, self.kept = self.kept.partition(b"\r\n\r\n")
        return Answer(head, b"")

    def read(self, method="GET"):
        answer = self.read_head()
        size = 0 if method == "HEAD" else int(answer.header("Content-Length"))
        body = bytearray(self.kept)
        while len(body) < size:
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError(f"closed after {len(body)} of {size} bytes")
            body += data
        answer.body, self.kept = bytes(body[:size]), bytes(body[size:])
        return answer

    def ask(self, method="GET", path=None, lines=()):
        self.send(method, path, lines)
        return self.read(method)


def ask(url, method="GET", path=None, lines=(), **settings):
    with Connection(url, **settings) as connection:
        return connection.ask(method, path, lines)


class Offer:
    """A device that was sent a notice."""

    def __init__(self, broker, content=CONTENT, name="d", product="p", **settings):
        self.broker, self.content, self.product = broker, content, product
        self.admin = broker.admin()
        self.admin.call("createProduct", product=product)
        self.admin.add_firmware(product, NEW, content)
        self.task, self.device, self.url = self.to(name, **settings)

    def to(self, name, **settings):
        device = self.broker.device(self.product, name)
        device.report_version(OLD)
        task = upgrade(self.admin, device, **settings)
        return task, device, device.wait_notice()["url"]


@pytest.fixture
def offer(ota):
    return Offer(ota)


# -- one request ----------------------------------------------------------------------------------


def test_get_and_head(offer):
    got = ask(offer.url)
    assert (got.status, got.body) == (200, CONTENT)
    head = ask(offer.url, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for answer in (got, head):
        assert answer.header("Content-Length") == str(len(CONTENT))
        assert answer.header("ETag").strip('"') == hashlib.sha256(CONTENT).hexdigest()
        assert answer.size < 1000
        names = {line.partition(":")[0].lower() for line in answer.lines}
        assert not names & {"transfer-encoding", "content-encoding", "location"}


def test_the_vendors_request(offer):
    """As the SDK sends it: the range's end is one past the last byte."""
    lines = ["Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
             "Accept-Encoding: gzip, deflate", f"Range: bytes=0-{len(CONTENT)}"]
    answer = ask(offer.url, lines=lines)
    assert answer.status in (200, 206) and answer.body == CONTENT
    assert answer.header("Content-Length") == str(len(CONTENT))
    assert answer.header("Content-Encoding") is None


@pytest.mark.parametrize(
    "wanted, first, last",
    [("0-0", 0, 0), ("10-19", 10, 19), ("99990-", 99990, 99999), ("99990-100000", 99990, 99999),
     ("50000-999999999999", 50000, 99999), ("-10", 99990, 99999)],
)
def test_ranges(offer, wanted, first, last):
    answer = ask(offer.url, lines=[f"Range: bytes={wanted}"])
    assert answer.status == 206
    assert answer.body == CONTENT[first : last + 1]
    assert answer.header("Content-Length") == str(last + 1 - first)
    assert answer.header("Content-Range") == f"bytes {first}-{last}/{len(CONTENT)}"


@pytest.mark.parametrize("wanted", ["100000-100000", "100000-", "100001-200000"])
def test_a_range_behind_the_end_has_an_empty_body(offer, wanted):
    with Connection(offer.url) as connection:
        answer = connection.ask(lines=[f"Range: bytes={wanted}"])
        assert (answer.status, answer.header("Content-Length"), answer.body) == (416, "0", b"")
        assert connection.ask().body == CONTENT, "and nothing else came"


def test_if_range(offer):
    tag = ask(offer.url, "HEAD").header("ETag")
    same = ask(offer.url, lines=["Range: bytes=5-9", f"If-Range: {tag}"])
    assert (same.status, same.body) == (206, CONTENT[5:10])
    other = ask(offer.url, lines=["Range: bytes=5-9", 'If-Range: "other"'])
    assert (other.status, other.body) == (200, CONTENT)


def test_keep_alive(offer):
    with Connection(offer.url) as connection:
        for start in range(0, 5000, 1000):
            answer = connection.ask(lines=[f"Range: bytes={start}-{start + 999}"])
            assert answer.body == CONTENT[start : start + 1000]


def change(text, at, to):
    return text[:at] + to + text[at + 1 :]


def test_what_is_not_exactly_ours_is_403_or_404(offer):
    path = urlsplit(offer.url).path
    last = path[-1]
    forged = change(path, len(path) - 1, "0" if last != "0" else "1")
    assert ask(offer.url, path=forged).status == 403
    parts = path.split("/")
    for number in (2, 3, 4, 5):
        other = parts.copy()
        other[number] = str(int(other[number]) + 1)
        assert ask(offer.url, path="/".join(other)).status == 403, other
    assert ask(offer.url, path=path[:-1] + last.upper()).status in (
        (200,) if last.isdigit() else (403, 404)
    )
    for odd in ("/", "/f", path + "/", path + "?", path + "?a=b", path + "0", path[:-1],
                path.upper(), "/" + path, path.replace("/f/", "/f/0"),
                path.replace("/", "/./", 1), path.replace("f", "%66", 1), "/robots.txt"):
        assert ask(offer.url, path=odd).status in (403, 404), odd
    for method in ("POST", "DELETE", "OPTIONS"):
        assert ask(offer.url, method).status in (403, 404), method
    assert ask(offer.url).body == CONTENT


def test_a_refusal_has_a_length_and_no_body(offer):
    path = urlsplit(offer.url).path
    for answer in (ask(offer.url, path=path[:-64] + "0" * 64), ask(offer.url, path="/nothing")):
        assert answer.status in (403, 404)
        assert answer.header("Content-Length") == "0" and answer.size < 1000


# -- the life of a URL ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["done", "version", "fail", "cancel", "override", "retry"])
def test_a_url_dies_with_its_attempt(offer, end):
    device, admin, old = offer.device, offer.admin, offer.url
    device.report_progress("downloading", 1, NEW)
    assert ask(old, "HEAD").status == 200
    if end == "version":
        device.report_version(NEW)
    elif end == "cancel":
        admin.call("cancelTask", task=offer.task)
    elif end == "override":
        admin.add_firmware("p", "0.0.3")
        upgrade(admin, device, "0.0.3", override=True)
    else:
        device.report_progress("done" if end == "done" else "fail", version=NEW, code=-1)
    assert [ask(old, method).status for method in ("GET", "HEAD")] == [403, 403]
    if end == "retry":
        since = len(device.messages)
        admin.call("retryTask", task=offer.task)
        fresh = device.wait_notice(since=since)["url"]
        assert ask(old).status == 403 and ask(fresh).body == CONTENT


def test_a_url_dies_when_the_time_is_out(broker):
    offer = Offer(broker(options={"upgrade_timeout": 1}))
    assert ask(offer.url).status == 200
    assert offer.admin.wait_status(offer.task, "failed")["resultMessage"] == "timeout"
    assert ask(offer.url).status == 403


def test_a_url_outlives_connections_and_restarts(offer):
    offer.device.disconnect()
    assert ask(offer.url).body == CONTENT
    connects = offer.admin.connects
    offer.broker.kill9()
    offer.broker.start()
    offer.admin.wait_reconnected(connects)
    assert ask(offer.url).body == CONTENT


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_running_transfer_is_dropped(ota, end):
    offer = Offer(ota, os.urandom(BIG))
    with Connection(offer.url, SO_RCVBUF=65536) as connection:
        connection.send()
        assert connection.read_head().status == 200
        if end == "cancel":
            offer.admin.call("cancelTask", task=offer.task)
        else:
            offer.device.report_progress(end, version=NEW, code=-1)
        began = time.monotonic()
        received = 0
        try:
            while data := connection.socket.recv(1 << 20):
                received += len(data)
        except ConnectionError:
            pass
        assert received < BIG and time.monotonic() - began < 3


@pytest.mark.slow_asan
def test_another_devices_transfer_goes_on(ota):
    content = os.urandom(BIG)
    offer = Offer(ota, content)
    _, _, other = offer.to("other")
    with Connection(other, SO_RCVBUF=262144) as connection, Connection(offer.url) as cut:
        connection.send()
        cut.send()
        cut.read_head()
        offer.admin.call("cancelTask", task=offer.task)
        assert connection.read().body == content


@pytest.mark.slow_asan
def test_two_devices_at_once(ota):
    content = os.urandom(BIG)
    offer = Offer(ota, content)
    _, _, second = offer.to("second")
    got = {}
    threads = [
        threading.Thread(target=lambda u=url: got.update({u: ask(u).body}))
        for url in (offer.url, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert got == {offer.url: content, second: content}


def test_a_url_is_the_devices_own(offer):
    _, _, second = offer.to("second")
    parts, others = (urlsplit(url).path.split("/") for url in (offer.url, second))
    assert parts != others
    parts[-1] = others[-1]
    assert ask(second, path="/".join(parts)).status == 403
    offer.admin.call("cancelTask", task=offer.task)
    assert ask(offer.url).status == 403 and ask(second).body == CONTENT


@pytest.mark.slow_asan
def test_the_broker_serves_mqtt_while_it_serves_files(ota):
    """A device that doesn't read holds up nobody."""
    offer = Offer(ota, os.urandom(BIG))
    with Connection(offer.url, SO_RCVBUF=4096) as connection:
        connection.send()
        connection.read_head()
        began = time.monotonic()
        for number in range(20):
            offer.device.report_progress("downloading", number, NEW)
        round_trip(offer.device)
        assert time.monotonic() - began < 2


def test_the_counters_of_downloads(offer):
    ask(offer.url)
    ask(offer.url, path="/nothing")
    deadline = time.monotonic() + TIMEOUT
    while (counted := offer.admin.call("getInfo")["downloads"])["active"]:
        assert time.monotonic() < deadline, counted
    assert (counted["requests"], counted["refused"], counted["bytes"]) == (2, 1, len(CONTENT))


# -- HTTPS, and a start that fails ----------------------------------------------------------------


def test_https(broker, certificates):
    server = certificates.folder / "server"
    port = free_port()
    one = broker(options={
        "http_certfile": f"{server}.crt", "http_keyfile": f"{server}.key",
        "download_listen": f"127.0.0.1:{port}", "download_url": f"https://localhost:{port}",
    })
    offer = Offer(one)
    assert offer.url.startswith(f"https://localhost:{port}/")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=certificates.ca)
        context.minimum_version = context.maximum_version = version
        assert ask(offer.url, context=context).body == CONTENT
        part = ask(offer.url, lines=["Range: bytes=5-9"], context=context)
        assert (part.status, part.body) == (206, CONTENT[5:10])
    offer.admin.call("cancelTask", task=offer.task)
    assert ask(offer.url, context=context).status == 403
    with pytest.raises((ConnectionError, TimeoutError)):
        ask(offer.url)


def test_a_port_that_is_taken_stops_the_start(broker):
    with socket.socket() as other:
        port = free_port()
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(BrokerDied, match=f"download_listen.*127.0.0.1:{port}"):
            broker(options={"download_listen": f"127.0.0.1:{port}"})


@pytest.mark.parametrize("which", ["http_certfile", "http_keyfile"])
@pytest.mark.parametrize("content", [None, "", "nonsense\n"])
def test_an_unreadable_certificate_stops_the_start(broker, certificates, tmp_path, which, content):
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    server = certificates.folder / "server"
    files = {"http_certfile": f"{server}.crt", "http_keyfile": f"{server}.key", which: bad}
    with pytest.raises(BrokerDied, match=f"mosquitto-ota: .*{which}.*bad.pem"):
        broker(options=files)


def test_another_certificates_key_stops_the_start(broker, certificates):
    _, key = certificates.client("somebody")
    certificate = certificates.folder / "server.crt"
    with pytest.raises(BrokerDied, match="http_keyfile.*doesn't belong"):
        broker(options={"http_certfile": certificate, "http_keyfile": key})


def test_downloads_off(broker):
    one = broker(options={"download_listen": "off", "download_url": None})
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", one.http_port), timeout=1).close()
