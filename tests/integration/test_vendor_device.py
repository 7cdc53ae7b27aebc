# SPDX-License-Identifier: BSD-3-Clause
"""otasim --vendor, beside the fifteen rules: what else tencent-sdk.md tells of the SDK."""
import json
import socket

import pytest

from harness import TIMEOUT

# pylint: disable=unused-import
from test_otasim import (  # noqa: F401 (fixtures)
    FAST,
    NAME,
    PRODUCT,
    Server,
    call,
    files,
    notice,
    otasim,
    plain,
    read_packet,
    server,
    until,
)
from test_vendor_rules import (  # noqa: F401 (fixtures)
    CONTENT,
    HASTY,
    OLD,
    Fleet,
    offer,
    stub,
)
from vendor_stub import HOLD, head, in_range, whole

pytestmark = pytest.mark.slow_asan


def test_urls(server, otasim, stub):
    """The longest that works, one that goes out garbled, and some that are none for it."""
    long, garbled = "/" + "x" * 812, "/" + "y" * 860
    host = "h" * 63
    urls = {
        f"http://fw.example.com{long}": "done",
        f"http://fw.example.com{garbled}": "done",
        "http://fw.example.com/" + "z" * 1023: "fail -5",
        f"http://{host}/a?b=c&d#e": "done",
        f"http://{host}h/": "fail -5",
        "http://user:password@fw.example.com/": "fail -5",
        "HTTP://127.0.0.1": "done",
        "https://fw.example.com/s": "done",  # as plain HTTP, without TLS
        "ftp://fw.example.com/": "fail -5",
    }
    stub.answers = {path: [whole(CONTENT)] for path in (long, garbled, "/a?b=c&d", "/", "/s")}
    fleet = Fleet(server, otasim, stub, len(urls))
    fleet.send([offer(stub, "/", url=url) for url in urls])
    for name, (url, end) in zip(fleet.names, urls.items(), strict=True):
        server.wait(end, name)
        assert fleet.end(name) == end, url
    [good], [bad] = stub.of(long), stub.of(garbled)
    assert b"Range: bytes=0-15000\r\n" in good and len(good) <= 1023
    assert bad.count(b"GET ") == 2 and b"Range" not in bad
    assert len(stub.requests) == 5


def test_the_largest_packet_that_it_takes(server, otasim, stub):
    stub.answers = {"/": [in_range(CONTENT)]}
    sim = otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    one = offer(stub, "/")
    topic = len(f"$ota/update/{PRODUCT}/{NAME}")
    bare = 3 + 2 + topic + len(json.dumps({**one, "x": ""}, separators=(",", ":")))
    server.send({**one, "x": "y" * (2049 - bare)})
    sim.wait("ignored", reason="its packet is over 2,048 bytes")
    assert not stub.requests
    server.send({**one, "x": "y" * (2048 - bare)})
    server.wait("done")


def test_what_it_reads_in_a_notice(server, otasim, stub):
    good = offer(stub, "/")
    odd = {"a": {"version": "9", "b": ['}"', None, True]}, "c": "{\"url\":", "d": [[]]}
    backwards = dict(reversed({**odd, **good}.items()))
    first = json.dumps(good)[:-1] + ', "version": "9", "file_size": 3}'
    notices = [
        {**good, "file_size": str(len(CONTENT))},
        {**good, "file_size": f"{len(CONTENT)}.0"},
        backwards,
        {**odd, **good},
        first,
        json.dumps(good, indent=3),
    ]
    stub.answers = {"/": [in_range(CONTENT)]}
    fleet = Fleet(server, otasim, stub, len(notices))
    fleet.send(notices)
    for name in fleet.names:
        server.wait("done", name)
    for payload in (json.dumps(good)[:-1], {**good, "type": "else"}, {"type": "update_firmware"}):
        server.send(payload, "d1")
    assert "ignored" not in fleet.sim.names()  # their programs have ended


@pytest.mark.parametrize("product, device", [("p" * 11, "d"), ("p" * 10, "d" * 41)])
def test_names_that_are_too_long(product, device):
    told = call("--vendor", "--product", product, "--device", device)
    assert told.returncode == 2 and "--vendor: its SDK takes" in told.stderr


def test_connect_to_is_a_place():
    for place in ("", "x", "x:", ":80", "x:0", "x:65536", "x:80x", "[]:80"):
        told = call("--product", "p", "-h", "127.0.0.1", "--connect-to", place)
        assert told.returncode == 2 and "--connect-to: HOST:PORT" in told.stderr


def test_a_subscription_that_fails_ends_the_program(plain, otasim):
    """Refused, or without a SUBACK within two seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        words = ("--vendor", "--haste", 100, "--count", 2, "--device", "d%d")
        sim = otasim(*words, port=listener.getsockname()[1])
        connections = [listener.accept()[0] for _ in range(2)]
        for connection in connections:
            connection.sendall(bytes([0x20, 2, 0, 0]))
        with connections[0].makefile("rb") as stream:
            read_packet(stream)
            mid = read_packet(stream)[:2]
            connections[0].sendall(bytes([0x90, 3, *mid, 0x80]))
            assert stream.read() == bytes([0xE0, 0])
        refused, late = sim.wait("disconnected"), sim.wait("disconnected", count=2)
        assert late["reason"] == "no SUBACK in time" and late["at"] - refused["at"] > 1500
        assert sim.names().count("exited") == 2
        listener.settimeout(0.3)
        with pytest.raises(TimeoutError):  # they don't come back
            listener.accept()
        for connection in connections:
            connection.close()


def test_gives_up_where_a_wait_would_pass_a_minute(plain, server, otasim):
    sim = otasim(*HASTY, "--haste", 500)
    server.wait(f"version {OLD}")
    plain.stop()
    sim.wait("gave_up")
    assert 5 <= sim.names().count("refused") <= 6  # 1 to 2 s, doubled while it is under 60 s


def test_its_percentages_wrap(server, otasim, stub):
    """From 42,949,673 bytes on it multiplies past 32 bits, and never says 100."""
    content = bytes(50_000_000)
    stub.answers = {"/": [in_range(content)]}
    otasim(*HASTY, "--haste", 200, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.send(offer(stub, "/", content))
    server.wait("done")
    said = [int(word.split()[1]) for word in server.words() if word.startswith("downloading")]
    most = max(said)
    wrapped = said[len(said) - said[::-1].index(most) :]  # it may say the same one twice
    assert 50 < most < 86  # 85 % are 42.9 million bytes
    assert wrapped and max(wrapped) <= 14


def test_its_speed_and_how_often_it_says_so(server, otasim, stub):
    """4,999 bytes, then a tenth of a second for MQTT; a percentage at most once a second."""
    content = CONTENT * 4
    stub.answers = {"/": [in_range(content)]}
    sim = otasim("--vendor", "--version", OLD, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.send(offer(stub, "/", content))
    server.wait("done")
    took = sim.wait("done")["at"] - sim.wait("download_start")["at"]
    assert took >= 12 * 102
    said = [word for word in server.words() if word.startswith("downloading")]
    assert (said[0], said[-1]) == ("downloading 0", "downloading 100")
    assert 3 <= len(said) <= 2 + took // 1000


def test_leaves_a_connection_open_until_its_next_attempt(server, otasim, stub):
    stub.answers = {"/": [[*whole(CONTENT), HOLD], in_range(CONTENT)]}
    otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.send(offer(stub, "/", md5sum="0" * 32))
    server.wait("fail -4")
    server.wait(f"version {OLD}", count=2)
    assert stub.closed == 0
    server.send(offer(stub, "/"))
    server.wait("done")
    until(lambda: stub.closed == 1)


def test_https_with_tls(broker, certificates, files, otasim):
    """The server's name is looked at, and that is the URL's, wherever the connection goes."""
    secure = broker(plugin=False, tls=certificates)
    server = Server(secure)
    http = files(tls=certificates)
    certificates.client("any")
    folder = certificates.folder / "clients"
    place = f"127.0.0.1:{http.server_address[1]}"
    words = ["--cafile", certificates.ca, "--cert", folder / "any.crt", "--key", folder / "any.key"]
    words += [*HASTY, "--connect-to", place, "--count", 2, "--device", "d%d"]
    otasim(*words, port=secure.tls_port)
    for name, url in (("d1", "https://localhost/x"), ("d2", "https://fw.example.com/x")):
        server.wait(f"version {OLD}", name)
        server.send(notice(http, url=url), name)
    server.wait("done", "d1")
    server.wait("fail -5", "d2")
    assert len(http.requests) == 1


def test_connect_to_for_a_device_of_ours(server, otasim, files):
    http = files()
    place = f"localhost:{http.server_address[1]}"
    sim = otasim(*FAST, "--exit-when-done", "--connect-to", place)
    server.wait("version 1.0.0")
    server.send(notice(http, url="http://fw.example.com/x"))
    assert sim.wait_end() == 0
    assert http.requests[0][0] == "Host: fw.example.com"


def test_a_slow_answer_to_nothing(server, otasim, stub):
    """An error without an end: it says 0 for ever, and hears nothing."""
    empty = [head("Content-Length: 0", status="503 Service Unavailable"), HOLD]
    stub.answers = {"/": [empty]}
    sim = otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.send(offer(stub, "/"))
    server.wait("downloading 0", count=5)
    server.send(offer(stub, "/"))
    sim.wait("ignored", reason="busy")
    assert len(stub.requests) == 1
