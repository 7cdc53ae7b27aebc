# SPDX-License-Identifier: BSD-3-Clause
"""What a server must and must not do for a device with the Tencent C SDK: its fifteen rules.

Each twice: otasim --vendor really breaks where a server does the forbidden, so that the second half
means something; and with our plugin the upgrade goes through. Half of the rules are about HTTP: one
otasim with many devices tries a whole table of answers side by side."""
import json
import re

import pytest

from console_help import wait_until
from steps import NEW, OLD, stock
from test_downloads import Offer, ask

# pylint: disable=unused-import
from test_otasim import (  # noqa: F401 (fixtures)
    NAME,
    PRODUCT,
    notice,
    otasim,
    plain,
    server,
)
from vendor_stub import HOLD, Stub, Way, head, in_range, stays_so, whole

pytestmark = pytest.mark.slow_asan  # what the plugin does here, others make it do as well

HASTY = ("--vendor", "--haste", 50, "--speed", 0, "--version", OLD)
CONTENT = bytes(range(250)) * 60  # 15,000 bytes: three rounds and a bit
PATIENCE = 1.4  # a device that fails has failed by then


@pytest.fixture
def stub():
    made = Stub()
    yield made
    made.close()


class File:
    """What test_otasim's notice() makes a notice of."""

    def __init__(self, stub, path, content=CONTENT):
        self.url, self.content = (lambda: stub.url(path)), content


def offer(stub, path, content=CONTENT, version=NEW, **changes):
    return notice(File(stub, path, content), version=version, sha256=None, task=None, **changes)


class Fleet:
    """A device for each of many offers, all in one otasim."""

    def __init__(self, server, otasim, stub, count, *words):
        self.server = server
        more = (*HASTY, *words, "--connect-to", stub.place, "--count", count, "--device", "d%d")
        self.sim = otasim(*more)
        self.names = [f"d{number}" for number in range(1, count + 1)]
        for name in self.names:
            server.wait(f"version {OLD}", name)

    def send(self, offers):
        for name, one in zip(self.names, offers, strict=True):
            self.server.send(one, name)

    def end(self, name):
        """What it said last: "done", "fail -1 fail -5"."""
        said = [word for word in self.server.words(name) if word[:4] in ("fail", "done")]
        return " ".join(said)


def run_table(server, otasim, stub, table, *words, **changes):
    """table: {path: (answer, end)}; "" is a device that hangs."""
    stub.answers = {path: [answer] for path, (answer, _) in table.items()}
    fleet = Fleet(server, otasim, stub, len(table), *words)
    fleet.send([offer(stub, path, **changes) for path in table])
    hanging = []
    for name, (path, (_, end)) in zip(fleet.names, table.items(), strict=True):
        if end:
            last = end.rpartition("fail ")
            server.wait("".join(last[1:]), name)
            assert fleet.end(name) == end, path
        else:
            hanging.append(name)
    if hanging:
        fleet.sim.wait("download_start", device=hanging[-1])
        stays_so(lambda: not any(fleet.end(name) for name in hanging), PATIENCE)
    return fleet


class Product:
    """The real thing: our plugin, whose downloads have no port in their URL, and a vendor device
    that finds them all the same."""

    def __init__(self, broker, otasim, **options):
        base = {"download_url": "http://fw.example.com", "notice_interval": 1}
        self.broker = broker(options={**base, **options})
        self.admin = self.broker.admin()
        stock(self.admin, PRODUCT, OLD)
        self.content = CONTENT * 10
        self.admin.add_firmware(PRODUCT, NEW, self.content)
        self._otasim = otasim

    def start(self, *words, port=None):
        place = f"127.0.0.1:{self.broker.http_port}"
        more = (*HASTY, *words, "--connect-to", place)
        sim = self._otasim(*more, port=port or self.broker.port)
        sim.wait("answered")
        return sim

    def upgrade(self, **fields):
        answer = self.admin.call(
            "upgradeDevice", product=PRODUCT, device=NAME, version=NEW, **fields
        )
        return answer["task"]["task"]

    def device(self):
        return self.admin.call("getDevice", product=PRODUCT, device=NAME)["device"]

    def check_done(self, task):
        done = self.admin.wait_status(task, "succeeded", "failed")
        assert done["status"] == "succeeded", done

    def sent_to(self, sim):
        """QoS and size of what the broker sent to the device's update topic."""
        line = rf"Sending PUBLISH to {PRODUCT}{NAME} \(d0, q(\d), .*'\$ota/update/.*\((\d+) bytes"
        found = [re.search(line, text) for text in self.broker.log]
        return [(int(one[1]), int(one[2])) for one in found if one]


@pytest.fixture
def product(broker, otasim):
    """product(option=value) starts the plugin's broker."""
    return lambda **options: Product(broker, otasim, **options)


# -- 1: the URL has no port -----------------------------------------------------------------------


def test_1_a_url_with_a_port_fails(server, otasim, stub):
    stub.answers = {"/": [in_range(CONTENT)]}
    fleet = Fleet(server, otasim, stub, 3)
    ports = (":8070", ":80", "")
    fleet.send([offer(stub, "/", url=f"http://fw.example.com{port}/") for port in ports])
    server.wait("done", "d3")
    server.wait("fail -5", "d1")
    server.wait("fail -5", "d2")
    assert len(stub.requests) == 1 and b"Host: fw.example.com\r\n" in stub.requests[0][1]
    assert fleet.sim.names().count("fail") == 2


def test_1_our_url_has_none(product):
    ours = product()
    sim = ours.start()
    ours.check_done(ours.upgrade())
    assert sim.wait("download_start")["url"].startswith("http://fw.example.com/")


# -- 2: a message at QoS 1 may be acknowledged and thrown away ------------------------------------

ANSWER = {"type": "report_version_rsp", "result_code": 0, "result_msg": "success"}


def reconnect(broker, server, sim):
    """A restart: Mosquitto begins at packet id 1 again."""
    connects, count = server.client.connects, sim.names().count("subscribed")
    broker.restart()
    server.client.wait_reconnected(connects)
    sim.wait("subscribed", count=count + 1)


def test_2_ten_packet_ids_are_remembered_over_connections(plain, server, otasim, stub):
    stub.answers = {"/": [in_range(CONTENT)]}
    sim = otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.send(ANSWER, qos=1)  # packet id 1
    sim.wait("answered")
    reconnect(plain, server, sim)
    server.send(offer(stub, "/"), qos=1)
    sim.wait("ignored", reason="its packet id was seen before")
    for count in range(2, 11):  # with these it remembers ten
        server.send(ANSWER, qos=1)
        sim.wait("answered", count=count)
    reconnect(plain, server, sim)
    for count in range(2, 12):
        server.send(ANSWER, qos=1)
        sim.wait("ignored", count=count)
    server.send(ANSWER, qos=1)  # 11: the first one is forgotten
    sim.wait("answered", count=11)
    reconnect(plain, server, sim)
    server.send(ANSWER, qos=1)
    sim.wait("answered", count=12)
    assert not stub.requests
    server.send(offer(stub, "/"), qos=0)
    server.wait("done")


def test_2_we_send_at_qos_0(product):
    ours = product()
    sim = ours.start("--report-on-reconnect")
    ours.broker.restart()
    sim.wait("answered", count=2)
    ours.admin.wait_reconnected(1)
    ours.check_done(ours.upgrade())
    assert {qos for qos, _ in ours.sent_to(sim)} == {0}
    assert "ignored" not in sim.names()


# -- 3: a notice before the version report is lost ------------------------------------------------


def test_3_a_notice_before_the_report_is_lost(server, otasim, stub):
    sim = otasim(*HASTY, "--haste", 1, "--connect-to", stub.place)
    sim.wait("subscribed")
    server.send(offer(stub, "/"))
    sim.wait("ignored", reason="hasn't reported yet")
    server.wait(f"version {OLD}")
    assert not stub.requests


def test_3_ours_comes_after_it(product):
    ours = product()
    ours.admin.call("createDevice", product=PRODUCT, device=NAME)
    task = ours.upgrade()
    sim = ours.start()
    ours.check_done(task)
    names = sim.names()
    assert names.index("reported") < names.index("notice") and "ignored" not in names


# -- 4: after an idle reconnect the version isn't reported again ----------------------------------


def test_4_after_an_idle_reconnect_it_only_subscribes(plain, server, otasim, stub):
    stub.answers = {"/": [in_range(CONTENT)]}
    sim = otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    reconnect(plain, server, sim)
    stays_so(lambda: server.words() == [f"version {OLD}"], 0.3)  # 15 s for this device
    server.send(offer(stub, "/"))
    server.wait("done")


def test_4_our_notice_comes_after_subscribe(product):
    ours = product()
    way = Way(ours.broker.port)
    try:
        sim = ours.start(port=way.port)
        way.close()
        sim.wait("disconnected")
        wait_until(lambda: not ours.device()["online"], "its absence")
        task = ours.upgrade()
        assert ours.admin.task(task)["status"] == "device_offline"
        way.open()
        ours.check_done(task)
        assert sim.names().count("reported") == 1
    finally:
        way.close()


# -- 5: a result code other than 0 makes it deaf --------------------------------------------------


def test_5_an_answer_other_than_0_makes_it_deaf(plain, server, otasim, stub):
    sim = otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.answer(code=-1)
    sim.wait("answered")
    for count in (1, 2):
        server.send(offer(stub, "/"))
        sim.wait("ignored", count=count, reason="deaf since an answer other than 0")
        reconnect(plain, server, sim)
    assert server.words() == [f"version {OLD}"]


def test_5_a_0_in_a_string_and_no_answer_do_no_harm(server, otasim, stub):
    stub.answers = {"/": [in_range(CONTENT)]}
    otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.send({"result_code": "0", "type": "report_version_rsp"})
    server.send(offer(stub, "/"))
    server.wait("done")


def test_5_ours_is_0_or_there_is_none(product):
    ours = product()
    sim = ours.start()
    ours.check_done(ours.upgrade())
    assert [e["result_code"] for e in sim.events if e["event"] == "answered"] == [0]
    device = ours.broker.device(PRODUCT, "other")
    for version in ("a b", "", "x" * 33, 7, None):
        device.report({"type": "report_version", "report": {"version": version}})
    device.report("{")
    device.report_version(OLD)
    assert [one["result_code"] for one in device.updates("report_version_rsp")] == [0]


# -- 6: errors are 403 or 404, or a closed connection ---------------------------------------------

ERRORS = ("302 Found", "401 Unauthorized", "410 Gone", "416 Range Not Satisfiable",
          "429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable")


def refusal(status, *more):
    body = b"no such luck"
    lines = (f"Content-Length: {len(body)}", "Location: http://fw.example.com/there")
    return [head(*lines, status=status) + body, *more]


def test_6_other_errors_hang_or_spoil(server, otasim, stub):
    table = {f"/open/{status[:3]}": (refusal(status, HOLD), "") for status in ERRORS}
    table |= {f"/closed/{status[:3]}": (refusal(status), "fail -1 fail -5") for status in ERRORS}
    table["/403"] = refusal("403 Forbidden", HOLD), "fail -3 fail -5"
    table["/404"] = refusal("404 Not Found", HOLD), "fail -2 fail -5"
    table["/none"] = [], "fail -5"
    run_table(server, otasim, stub, table)
    assert not stub.of("/there"), "no redirect is followed"


def test_6_an_errors_body_is_in_the_firmware(server, otasim, stub):
    stub.answers = {"/": [refusal("503 Service Unavailable"), in_range(CONTENT)]}
    otasim(*HASTY, "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    server.send(offer(stub, "/"))
    server.wait(f"version {OLD}", count=2)
    server.send(offer(stub, "/"))
    server.wait("fail -4")
    assert b"Range: bytes=12-15000\r\n" in stub.requests[1][1]


def test_6_ours_are_403_and_404(ota, server, otasim, stub):
    """The product's own answers to a device of a stub's: one that it knows by name."""
    known = Offer(ota, product=PRODUCT)
    known.admin.call("cancelTask", task=known.task)
    path = known.url.removeprefix(f"http://127.0.0.1:{ota.http_port}")
    words = (*HASTY, "--connect-to", f"127.0.0.1:{ota.http_port}", "--count", 2)
    otasim(*words, "--device", "d%d")
    for name, where, end in (("d1", path, -3), ("d2", "/nothing", -2)):
        server.wait(f"version {OLD}", name)
        server.send(offer(stub, where), name)
        server.wait("fail -5", name)
        assert server.words(name)[-2:] == [f"fail {end}", "fail -5"]


# -- 7: 416 has no body ---------------------------------------------------------------------------


def test_7_a_body_in_a_416_spoils_the_file(server, otasim, stub):
    """Killed between its last byte and its check, it asks for what lies behind the end."""
    late = "416 Range Not Satisfiable"
    empty, full = [head("Content-Length: 0", status=late), HOLD], refusal(late, HOLD)
    stub.answers = {"/empty": [in_range(CONTENT), empty], "/full": [in_range(CONTENT), full]}
    fleet = Fleet(server, otasim, stub, 2, "--fault", "reboot@100", "--reboot-ms", 50)
    offers = [offer(stub, path) for path in stub.answers]
    fleet.send(offers)
    for name in fleet.names:
        server.wait(f"version {OLD}", name, count=2)
    fleet.send(offers)
    server.wait("done", "d1")
    server.wait("fail -4", "d2")
    for path in stub.answers:
        assert b"Range: bytes=15000-15000\r\n" in stub.of(path)[1]


def test_7_ours_is_empty(product):
    ours = product()
    sim = ours.start("--fault", "reboot@100", "--reboot-ms", 50)
    task = ours.upgrade()
    sim.wait("download_start", offset=len(ours.content))
    ours.check_done(task)


# -- 8, 9: the head -------------------------------------------------------------------------------

SIZE = len(CONTENT)


def padded(size):
    """A good head of so many bytes."""
    bare = head(f"Content-Length: {SIZE}", "X-Filler: ")
    return head(f"Content-Length: {SIZE}", "X-Filler: " + "x" * (size - len(bare)))


def chunks(name):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, CONTENT)
    return [head(f"{name}: chunked") + body, HOLD]


def in_pieces(data, count, pause):
    step = len(data) // count + 1
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return [one for piece in pieces for one in (piece, pause)]


HEADS = {
    "/good": ([head(f"Content-Length: {SIZE}") + CONTENT, HOLD], "done"),
    "/lower": ([head(f"content-length: {SIZE}") + CONTENT, HOLD], "fail -5"),
    "/no-length": ([head("Server: x") + CONTENT], "fail -5"),
    "/no-space": ([head(f"Content-Length:{SIZE}") + CONTENT, HOLD], "fail -2 fail -5"),
    "/chunked": (chunks("Transfer-Encoding"), "fail -2 fail -5"),
    "/lower-chunked": (chunks("transfer-encoding"), "fail -5"),
    "/no-http": ([b"SSH-2.0-OpenSSH\r\n\r\n" + CONTENT, HOLD], "fail -5"),
    "/close": (whole(CONTENT, "Connection: close"), "done"),
    "/1000": ([padded(1000) + CONTENT, HOLD], "done"),
    "/1264": ([padded(1264) + CONTENT, HOLD], "fail -5"),
    "/pieces": ([*in_pieces(padded(900), 3, 0.1), CONTENT, HOLD], "done"),
}


def test_8_9_heads(server, otasim, stub):
    assert len(HEADS["/1000"][0][0]) == 1000 + SIZE
    run_table(server, otasim, stub, HEADS)


def test_8_9_ours(product):
    ours = product()
    sim = ours.start()
    ours.check_done(ours.upgrade())
    place = f"127.0.0.1:{ours.broker.http_port}"
    dead = sim.wait("download_start")["url"].replace("fw.example.com", place)
    alive = Offer(ours.broker, name="other", product="second").url.replace("fw.example.com", place)
    for url, lines, status in (
        (alive, [], 200),
        (alive, ["Range: bytes=10-20"], 206),
        (alive, ["Range: bytes=99999999-"], 416),
        (dead, [], 403),
        (f"http://{place}/none", [], 404),
    ):
        answer = ask(url, lines=[*lines, "Accept-Encoding: gzip, deflate"])
        assert answer.status == status
        check_head(answer)


def check_head(answer):
    assert answer.size < 1000
    assert answer.header("Content-Length").isdigit()
    assert not answer.header("Transfer-Encoding") and not answer.header("Content-Encoding")


# -- 10: no pause of a second, and 5,000 bytes a second at least ----------------------------------


def paced(speed):
    """In pieces of a tenth of a second."""
    step = speed // 10
    pieces = [CONTENT[at : at + step] for at in range(0, SIZE, step)]
    return [head(f"Content-Length: {SIZE}"), *(x for piece in pieces for x in (piece, 0.1)), HOLD]


def paused(seconds, at=6000):
    start = head(f"Content-Length: {SIZE}")
    return [start + CONTENT[:at], seconds, CONTENT[at:], HOLD]


def test_10_pace(server, otasim, stub):
    table = {
        "/3000": (paced(3000), "fail -5"),
        "/10000": (paced(10000), "done"),
        "/1.5s": (paused(1.5), "fail -5"),
        "/0.5s": (paused(0.5), "done"),
        "/late": ([2.0, *whole(CONTENT), HOLD], "done"),
        "/cut": ([head(f"Content-Length: {SIZE}") + CONTENT[:6000]], "fail -5"),
    }
    fleet = run_table(server, otasim, stub, table)
    late = fleet.server.words("d5")
    assert late.count("downloading 0") > 10  # it says so all the time, twice a second


def test_10_ours_keeps_thirty_devices_going(product):
    """Each reads in its own time, far more slowly than the server could send."""
    ours = product()
    ours.admin.add_firmware(PRODUCT, "0.0.3", bytes(1_000_000))
    sim = ours.start("--count", 30, "--device", "d%d")
    sim.wait("answered", count=30)
    ours.admin.call("createBatch", product=PRODUCT, version="0.0.3", target={"all": True})
    sim.wait("upgraded", count=30)
    assert "fail" not in sim.names()


# -- 11: Range is honoured ------------------------------------------------------------------------


def test_11_a_200_to_a_range_is_appended(server, otasim, stub):
    cut = [head(f"Content-Length: {SIZE}") + CONTENT[:6000]]
    stub.answers = {"/": [cut, whole(CONTENT), in_range(CONTENT)]}
    otasim(*HASTY, "--connect-to", stub.place)
    for count, word in enumerate(("fail -5", "fail -4", "done"), 1):
        server.wait(f"version {OLD}", count=count)
        server.send(offer(stub, "/", url=stub.url("/")))
        server.wait(word)
    ranges = [re.search(rb"Range: bytes=(\d+)-15000\r\n", x).group(1) for _, x in stub.requests]
    assert ranges == [b"0", b"4999", b"0"]


def test_11_ours_goes_on_where_it_was_cut(product):
    ours = product()
    sim = ours.start("--fault", "reboot@50", "--reboot-ms", 50)
    task = ours.upgrade()
    sim.wait("download_start", offset=len(ours.content) // 2)
    ours.check_done(task)


# -- 12, 13: the notice ---------------------------------------------------------------------------


def test_12_texts_are_taken_as_they_stand(server, otasim, stub):
    stub.answers = {"/": [in_range(CONTENT)], "/a\\u0026b": [whole(CONTENT)]}
    fleet = Fleet(server, otasim, stub, 3)
    text = json.dumps(offer(stub, "/a&b"))
    server.send(text.replace("/", "\\/"), "d1")
    server.send(text.replace("&", "\\u0026"), "d2")
    server.send(json.dumps(offer(stub, "/")).replace(NEW, "0.0.\\u0032"), "d3")
    server.wait("fail -5", "d1")
    server.wait("done", "d2")
    server.wait("done", "d3")
    said = [payload for payload, _ in server.heard("d3") if b"done" in payload]
    assert b'"version":"0.0.\\u0032"' in said[0]
    assert fleet.end("d1") == "fail -5" and not stub.of("/a&b")


def test_13_digest_and_size(server, otasim, stub):
    stub.answers = {path: [in_range(CONTENT)] for path in ("/md5", "/large", "/small", "/zero")}
    fleet = Fleet(server, otasim, stub, 4)
    good = offer(stub, "/md5")
    fleet.send([
        {**good, "md5sum": good["md5sum"].upper()},
        offer(stub, "/large", file_size=SIZE + 1),
        offer(stub, "/small", file_size=SIZE - 2000),
        offer(stub, "/zero", file_size=0),
    ])
    server.wait("fail -4", "d1")
    server.wait("fail -4", "d3")
    fleet.sim.wait("crashed", device="d4")
    server.wait("downloading 100", "d3")
    assert b"Range: bytes=0-13000\r\n" in stub.of("/small")[0] and not stub.of("/zero")


def test_13_a_size_too_large_hangs(server, otasim, stub):
    table = {"/large": ([head(f"Content-Length: {SIZE}") + CONTENT, HOLD], "")}
    run_table(server, otasim, stub, table, file_size=SIZE + 1)


def test_12_13_ours(product):
    ours = product()
    device = ours.broker.device(PRODUCT, "reader")
    device.report_version(OLD)
    ours.admin.call("upgradeDevice", product=PRODUCT, device="reader", version=NEW)
    said = device.wait_message(lambda m: b"update_firmware" in m.payload).payload
    assert b"\\" not in said
    assert re.search(rb'"md5sum":"[0-9a-f]{32}","file_size":%d,' % len(ours.content), said)


# -- 14: no notice after done ---------------------------------------------------------------------


def test_14_a_notice_after_done_starts_again(server, otasim, stub):
    stub.answers = {"/": [in_range(CONTENT)]}
    otasim(*HASTY, "--stays", "--connect-to", stub.place)
    server.wait(f"version {OLD}")
    for count in (1, 2):
        server.send(offer(stub, "/"))
        server.wait("done", count=count)
    assert len(stub.requests) == 2


def test_14_we_stop_at_the_first_progress(product):
    ours = product()  # which repeats it every second until then
    sim = ours.start("--stays", "--speed", 2500)  # with its haste 1.2 s
    ours.check_done(ours.upgrade())
    stays_so(lambda: sim.names().count("notice") == 1, 1.2)


# -- 15: it tries again at once, and without a limit ----------------------------------------------


def test_15_it_takes_a_notice_after_each_fail(server, otasim, stub):
    stub.answers = {"/": [[head("Content-Length: 0", status="404 Not Found")]]}
    sim = otasim(*HASTY, "--connect-to", stub.place)
    for count in range(1, 8):
        server.wait(f"version {OLD}", count=count)
        server.send(offer(stub, "/"))
        server.wait("fail -5", count=count)
    failed, reported = sim.wait("fail", count=2), sim.wait("reported", count=2)
    assert 3500 // 50 - 5 <= reported["at"] - failed["at"] < 3000
    assert len(stub.requests) == 7


def test_15_a_fail_is_the_end_of_an_attempt(product):
    ours = product()
    sim = ours.start("--fault", "fail:-4@50", "--fault-always")
    task = ours.upgrade()
    failed = ours.admin.wait_status(task, "failed")
    assert failed["resultCode"] == -4
    sim.wait("reported", count=2)
    stays_so(lambda: sim.names().count("notice") == 1, 1.5)
    assert ours.admin.task(task)["status"] == "failed"


def test_15_two_fails_are_one_and_the_first_counts(product):
    """-1, -2 and -3 come with a -5 right behind them."""
    ours = product()
    sim = ours.start("--fault", "fail:-2@0")
    task = ours.upgrade()
    sim.wait("fail", count=2)
    sim.wait("reported", count=2)
    failed = ours.admin.task(task)
    assert (failed["status"], failed["resultCode"]) == ("failed", -2)
    assert "missing" in failed["resultMessage"]
