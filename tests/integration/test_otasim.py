# SPDX-License-Identifier: BSD-3-Clause
"""otasim against a plain broker and a server made of paho and http.server: every byte it says."""
import functools
import hashlib
import http.server
import itertools
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from harness import OTASIM, TIMEOUT, free_port

pytestmark = pytest.mark.slow_asan  # the plugin does nothing here that others leave out

PRODUCT = "sensor"
NAME = "hall-1"
OLD, NEW = "1.0.0", "1.1.0"
CONTENT = bytes(range(256)) * 400  # 102,400 bytes


# -- the server's side ------------------------------------------------------------------------


class FileServer(http.server.ThreadingHTTPServer):
    """Serves one file. What it does to the requests, one after the other, is in `misbehave`: a
    status, ("cut", bytes), ("pause", bytes, event) or ("late", event); afterwards, and for None, it
    behaves."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, content, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.etag = '"%s"' % hashlib.md5(content).hexdigest()
        self.misbehave = []
        self.requests = []  # header lines, without the request line
        self.changed = threading.Condition()
        self.scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.folder / "server.crt", tls.folder / "server.key")
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def url(self, host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.server_address[1]}/fw/1.bin?t=1"

    def handle_error(self, request, client_address):
        pass  # a device that stops in the middle is what many tests want

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        with server.changed:
            server.requests.append([f"{k}: {v}" for k, v in self.headers.items()])
            how = server.misbehave.pop(0) if server.misbehave else None
            server.changed.notify_all()
        if isinstance(how, tuple) and how[0] == "late":
            how[1].wait(TIMEOUT * 3)
            how = None
        if isinstance(how, int):
            self.answer(how, b"")
        elif "Range" in self.headers and self.headers.get("If-Range", server.etag) == server.etag:
            self.answer_range(how)
        else:
            self.answer(200, server.content, how)

    def answer_range(self, how):
        size = len(self.server.content)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"]).groups()
        first, last = int(first), min(int(last or size), size - 1)
        if first >= size:
            self.answer(416, b"")
            return
        span = f"bytes {first}-{last}/{size}"
        self.answer(206, self.server.content[first : last + 1], how, span)

    def answer(self, status, body, how=None, span=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.etag)
        if span:
            self.send_header("Content-Range", span)
        self.end_headers()
        if how is None:
            self.wfile.write(body)
            return
        self.wfile.write(body[: how[1]])
        self.wfile.flush()
        if how[0] == "pause":
            how[2].wait(TIMEOUT * 3)
            self.wfile.write(body[how[1] :])
        else:
            self.close_connection = True


@pytest.fixture
def files(request):
    """files(content) starts a FileServer."""
    started = []

    def start(content=CONTENT, **settings):
        started.append(FileServer(content, **settings))
        return started[-1]

    yield start
    for one in started:
        one.close()


def notice(server, version=NEW, task=7, **changes):
    content = server.content
    made = {
        "type": "update_firmware",
        "version": version,
        "url": server.url(),
        "md5sum": hashlib.md5(content).hexdigest(),
        "file_size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "task": task,
        **changes,
    }
    return {key: value for key, value in made.items() if value is not None}


marks = itertools.count(1)


class Server:
    """What the plugin is to a device, driven by hand."""

    def __init__(self, broker):
        self.client = broker.client("server")
        assert self.client.subscribe("$ota/report/#", 1) == 1

    def send(self, payload, name=NAME, qos=0, product=PRODUCT):
        self.client.publish(f"$ota/update/{product}/{name}", payload, qos)

    def heard(self, name=NAME, since=0):
        """(payload bytes, QoS) of the reports of a device that the broker has by now."""
        mark = f"$ota/report/mark/{next(marks)}"  # what came before it, we have with it
        self.client.publish(mark, b"", 0, wait=False)
        self.client.wait_message(lambda m: m.topic == mark)
        return self._heard(name, since)

    def _heard(self, name, since):
        topic = f"$ota/report/{PRODUCT}/{name}"
        messages = list(self.client.messages[since:])
        return [(m.payload, m.qos) for m in messages if m.topic == topic]

    def words(self, name=NAME, since=0):
        """A device's reports in short: "version 1.0.0", "downloading 0", "fail -4", "done"."""
        return [short(payload) for payload, _ in self.heard(name, since)]

    def wait(self, word, name=NAME, count=1, since=0, timeout=TIMEOUT):
        def enough():
            words = [short(payload) for payload, _ in self._heard(name, since)]
            return words.count(word) >= count

        self.client.wait_for(enough, timeout, f"{count} {word!r}")

    def answer(self, name=NAME, code=0):
        rsp = {"type": "report_version_rsp", "result_code": code, "result_msg": "success"}
        self.send(rsp, name)


def short(payload):
    report = json.loads(payload)["report"]
    if "progress" not in report:
        return f"version {report['version']}"
    progress = report["progress"]
    more = {"downloading": "percent", "fail": "result_code"}.get(progress["state"])
    return progress["state"] + (f" {progress[more]}" if more else "")


@pytest.fixture
def plain(broker):
    """A broker without our plugin: the tests are the server."""
    return broker(plugin=False)


@pytest.fixture
def server(plain):
    return Server(plain)


# -- the devices' side ------------------------------------------------------------------------


class Sim:
    """A running otasim; its events are kept, and can be waited for."""

    def __init__(self, folder, *words, json_lines=True, hosts=None):
        self.errors = folder / "otasim.err"
        self.events, self.lines = [], []
        self.changed = threading.Condition()
        command = [OTASIM, *map(str, words)] + (["--json"] if json_lines else [])
        if hosts:
            (folder / "hosts").write_text(hosts)
            command = [*with_hosts(folder / "hosts"), *command]
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL
            )
        self.json_lines = json_lines
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.decode())
                if self.json_lines:
                    self.events.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def names(self):
        return [event["event"] for event in self.events]

    def wait(self, name, count=1, timeout=TIMEOUT, **values):
        """The event number `count` of that name and values."""

        def look():
            fitting = [
                e for e in self.events if e["event"] == name and values.items() <= e.items()
            ]
            return fitting[count - 1] if len(fitting) >= count else None

        with self.changed:
            found = self.changed.wait_for(look, timeout)
        assert found, f"no {count} {name} {values} in {timeout} s; " + "".join(self.lines[-30:])
        return found

    def wait_end(self, timeout=TIMEOUT):
        """The exit code."""
        code = self.process.wait(timeout)
        self.reader.join(timeout)
        said = self.errors.read_text()
        assert "Sanitizer" not in said and "runtime error" not in said, said
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.wait_end()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
                self.reader.join()
            self.process.stdout.close()
        assert code in (0, 1), (code, self.errors.read_text())


# Runs a program with another /etc/hosts, which nobody else sees. As python, since a chroot's root
# is no mount, and unshare(1) gives up there.
OTHER_HOSTS = """
import ctypes, errno, os, sys
NEWNS, NEWUSER, BIND, REC_PRIVATE = 0x20000, 0x10000000, 0x1000, 0x44000
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEWNS) and libc.unshare(NEWNS | NEWUSER):
    sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
if libc.mount(None, b"/", None, REC_PRIVATE, None) and ctypes.get_errno() != errno.EINVAL:
    sys.exit("make-private: " + os.strerror(ctypes.get_errno()))
if libc.mount(os.fsencode(sys.argv[1]), b"/etc/hosts", None, BIND, None):
    sys.exit("bind: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def with_hosts(path):
    """What goes before a command so that it has that file as /etc/hosts."""
    problem = why_no_hosts()
    if problem and os.geteuid() != 0:  # who is root can do it, and has to
        pytest.skip(f"no /etc/hosts of its own: {problem}")
    assert not problem, problem
    return [sys.executable, "-c", OTHER_HOSTS, str(path)]


@functools.lru_cache
def why_no_hosts():
    command = [sys.executable, "-c", OTHER_HOSTS, "/etc/hosts", "/bin/true"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.fixture
def otasim(plain, tmp_path):
    """otasim("--fault", "silent") runs it as one device, unless --count is among the words. hosts:
    the text of its /etc/hosts."""
    started = []

    def start(*words, port=None, json_lines=True, hosts=None):
        place = [] if "-h" in words else ["-h", "127.0.0.1"]
        place += ["-p", port or plain.port]
        if "--device" not in words and "--count" not in words:
            place += ["--device", NAME]
        place += [] if "--product" in words else ["--product", PRODUCT]
        folder = tmp_path / f"otasim{len(started)}"
        folder.mkdir()
        started.append(Sim(folder, *place, *words, json_lines=json_lines, hosts=hosts))
        return started[-1]

    yield start
    for one in started:
        one.close()


FAST = ("--burn-ms", 20, "--reboot-ms", 50, "--progress-ms", 50)


def run(server, sim, offer, name=NAME):
    """One upgrade, from the first report on."""
    server.wait(f"version {OLD}", name)
    server.send(offer, name)


# -- the better device ------------------------------------------------------------------------


def test_an_upgrade_from_notice_to_proof(server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    assert sim.wait_end() == 0
    words = server.words()
    assert words[0] == f"version {OLD}"
    assert words[1] == "downloading 0"
    assert words[-4:] == ["downloaded", "burning", "done", f"version {NEW}"]
    assert all(qos == 1 for _, qos in server.heard())
    assert len(http.requests) == 1
    assert not [line for line in http.requests[0] if line.startswith(("Range", "Accept-Enc"))]


def test_its_messages_are_those_of_the_protocol(server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    sim.wait_end()
    said = [payload.decode() for payload, _ in server.heard()]
    assert said[0] == '{"type":"report_version","report":{"version":"1.0.0"}}'
    head, tail = '{"type":"report_progress","report":{"progress":{"state":', '},"version":"1.1.0"}}'
    well = ',"result_code":"0","result_msg":""'
    assert said[1] == f'{head}"downloading","percent":"0"{well}{tail}'
    assert said[-4:] == [
        f'{head}"downloaded"{well}{tail}',
        f'{head}"burning"{well}{tail}',
        f'{head}"done"{well}{tail}',
        '{"type":"report_version","report":{"version":"1.1.0"}}',
    ]


def test_what_it_prints_as_json(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(files()))
    sim.wait_end()
    order = [n for n in sim.names() if n not in ("downloading", "answered")]
    assert order == [
        "connected", "subscribed", "reported", "notice", "download_start", "downloaded",
        "verified", "burning", "done", "reboot", "disconnected", "connected", "subscribed",
        "reported", "upgraded", "summary",
    ]  # fmt: skip
    first = sim.events[0]
    assert first["device"] == NAME and abs(first["at"] / 1000 - time.time()) < 60


def test_what_it_prints_for_people(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", json_lines=False)
    run(server, sim, notice(files(), signature="abc"))
    assert sim.wait_end() == 0
    text = "".join(sim.lines)
    assert re.match(r"\d\d:\d\d:\d\d\.\d\d\d hall-1: connected as sensor-hall-1\n", text)
    assert "hall-1: notice: version 1.1.0, 102400 bytes, task 7, signed\n" in text
    assert "hall-1: upgraded: runs 1.1.0\n" in text


def test_quiet_prints_nothing(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "-q", json_lines=False)
    run(server, sim, notice(files()))
    assert sim.wait_end() == 0
    assert sim.lines == []


def test_the_names_it_connects_with(plain, server, otasim):
    otasim("-u", "%d@%p", "-i", "id-%p-%d")
    server.wait(f"version {OLD}")
    plain.wait_log(r"connected from 127\.0\.0\.1.* as id-sensor-hall-1 .*u'hall-1@sensor'")


def test_the_default_names(plain, server, otasim):
    otasim()
    server.wait(f"version {OLD}")
    plain.wait_log(r"as sensor-hall-1 \(.*k60, u'sensor/hall-1'\)")


def test_a_topic_prefix(plain, server, otasim):
    other = plain.client("other")
    other.subscribe("fw/report/#", 1)
    otasim("--topic-prefix", "fw")
    other.wait_message(lambda m: m.topic == f"fw/report/{PRODUCT}/{NAME}")


def test_saves_the_image(server, files, otasim, tmp_path):
    sim = otasim(*FAST, "--exit-when-done", "--save", tmp_path / "image")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 0
    assert (tmp_path / "image").read_bytes() == CONTENT


def test_percentages_of_a_slow_download(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--speed", 60000)
    run(server, sim, notice(files()))
    assert sim.wait_end() == 0
    percents = [int(w.split()[1]) for w in server.words() if w.startswith("downloading")]
    assert len(percents) > 5 and percents == sorted(percents) and percents[0] == 0


@pytest.mark.parametrize("field", ["md5sum", "sha256"])
def test_a_wrong_digest(server, files, otasim, field):
    http = files()
    wrong = hashlib.new(field.removesuffix("sum"), b"other").hexdigest()
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http, **{field: wrong}))
    assert sim.wait_end() == 1
    assert server.words()[-2:] == ["downloaded", "fail -4"]
    message = json.loads(server.heard()[-1][0])["report"]["progress"]["result_msg"]
    assert "checksum" in message


def test_a_file_larger_than_told(server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http, file_size=len(CONTENT) - 1))
    assert sim.wait_end() == 1
    assert server.words()[-1] == "fail -4"


def test_a_file_smaller_than_told_fails_in_the_end(server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http, file_size=len(CONTENT) + 1))
    assert sim.wait_end(TIMEOUT * 3) == 1
    assert server.words()[-1].startswith("fail")


@pytest.mark.parametrize("status, code", [(403, -3), (404, -2), (302, -5)])
def test_a_refused_download(server, files, otasim, status, code):
    http = files()
    http.misbehave = [status]
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    assert sim.wait_end() == 1
    assert server.words()[-1] == f"fail {code}"
    assert len(http.requests) == 1


def test_resumes_a_download_that_was_cut(server, files, otasim):
    http = files()
    http.misbehave = [("cut", 30000), ("cut", 20000), 503]
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    assert sim.wait_end() == 0
    assert f"If-Range: {http.etag}" in http.requests[1]
    assert "Range: bytes=30000-" in http.requests[1]
    assert "Range: bytes=50000-" in http.requests[2]
    assert "Range: bytes=50000-" in http.requests[3]


def test_begins_again_when_the_file_changed_meanwhile(server, files, otasim):
    http = files()
    http.misbehave = [("cut", 30000)]
    sim = otasim(*FAST, "--exit-when-done")
    offer = notice(http)
    run(server, sim, offer)
    sim.wait("download_cut")
    http.etag = '"another"'
    assert sim.wait_end() == 0
    assert "Range: bytes=30000-" in http.requests[1]


def test_gives_up_a_server_that_is_gone(server, files, otasim):
    http = files()
    offer = notice(http)
    http.close()
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, offer)
    assert sim.wait_end(TIMEOUT * 3) == 1
    assert server.words()[-1] == "fail -1"
    files().requests.clear()  # so that the fixture has one to close


def test_ignores_a_repeated_notice(server, files, otasim):
    http, go_on = files(), threading.Event()
    http.misbehave = [("pause", 1000, go_on)]
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    server.wait("downloading 0")
    server.send(notice(http))
    sim.wait("ignored", reason="busy with it")
    go_on.set()
    assert sim.wait_end() == 0
    assert len(http.requests) == 1 and server.words().count("done") == 1


def until(true):
    """Waits for what another thread of this test does."""
    deadline = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_newer_task_takes_over(server, files, otasim):
    http, go_on = files(), threading.Event()
    http.misbehave = [("pause", 1000, go_on)]
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    server.wait("downloading 0")
    until(lambda: http.requests)  # else the second download is the one that pauses
    server.send(notice(http, version="2.0.0", task=8))
    server.wait("version 2.0.0")
    go_on.set()
    assert "done" in server.words()


def test_does_not_take_what_it_runs(server, files, otasim):
    sim = otasim()
    http = files()
    run(server, sim, notice(http, version=OLD))
    sim.wait("ignored", reason="runs it")
    server.wait(f"version {OLD}", count=2)
    assert http.requests == []


def test_a_cancelled_download(server, files, otasim):
    http, go_on = files(), threading.Event()
    http.misbehave = [("pause", 1000, go_on)]
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    server.wait("downloading 0")
    server.send({"type": "cancel_firmware", "version": NEW, "task": 8})
    sim.wait("ignored", what="the cancellation")
    server.send({"type": "cancel_firmware", "version": NEW, "task": 7})
    sim.wait("cancelled")
    go_on.set()
    assert sim.wait_end() == 1
    assert not [w for w in server.words() if w.startswith(("fail", "done"))]


def test_a_late_refusal_of_blocks_is_of_the_task_that_it_names(server, files, otasim):
    file = files()
    sim = otasim("--inband")
    sim.wait("subscribed")
    server.send(notice(file, task=7))
    sim.wait("download_start")
    for task, code in ((6, 3), (7, 2)):
        server.send({"type": "request_block_rsp", "result_code": code, "result_msg": "no",
                     "task": task, "offset": 0})
    sim.wait("download_cut", reason="range not satisfiable")
    assert "fail" not in sim.names()


def test_bad_messages_do_it_no_harm(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done")
    server.wait(f"version {OLD}")
    http = files()
    bad = [b"", b"{", b"[]", b"null", b'{"type":7}', b'{"type":"else"}', b"\xff\xfe", b"{}" * 5000]
    bad += [json.dumps(notice(http, **{key: None})) for key in ("url", "md5sum", "file_size")]
    bad += [json.dumps(notice(http, file_size=size)) for size in (0, -1, "x", "", 1e300, None, [])]
    bad += [json.dumps(notice(http, url="http://x/" + "y" * 2000))]
    bad += [json.dumps(notice(http, version="1/2"))]
    for payload in bad:
        server.send(payload)
    sim.wait("ignored", count=len(bad))
    server.send(notice(http, file_size=f"{len(CONTENT)}.0", task=None, sha256=None))
    assert sim.wait_end() == 0


def test_a_url_that_is_no_http(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(files(), url="file:///etc/passwd"))
    assert sim.wait_end(TIMEOUT * 3) == 1
    assert server.words()[-1] == "fail -5"


def test_comes_back_after_the_broker_was_away(plain, server, otasim):
    sim = otasim()
    server.wait(f"version {OLD}")
    connects = server.client.connects
    plain.stop()
    sim.wait("disconnected")
    sim.wait("refused")
    plain.start()
    server.client.wait_reconnected(connects)
    sim.wait("connected", count=2)
    sim.wait("reported", count=2)


def test_goes_on_downloading_while_the_broker_is_away(plain, server, files, otasim):
    http, go_on = files(), threading.Event()
    http.misbehave = [("pause", 1000, go_on)]
    sim = otasim(*FAST, "--exit-when-done")
    run(server, sim, notice(http))
    server.wait("downloading 0")
    connects = server.client.connects
    plain.stop()
    go_on.set()
    sim.wait("done")
    plain.start()
    server.client.wait_reconnected(connects)
    assert sim.wait_end(TIMEOUT * 2) == 0
    assert "done" in server.words() or f"version {NEW}" in server.words()
    assert len(http.requests) == 1


SIX_FIRST = "127.0.0.1 localhost\n::1 localhost\n"
TWOFOLD = "127.0.0.1 twofold\n127.0.0.2 twofold\n"  # tried in this order


@pytest.fixture
def second(broker):
    """A broker that listens on 127.0.0.2 too, at a port where 127.0.0.1 has nobody: second_port."""
    port = free_port()
    made = broker(plugin=False, config=f"listener {port} 127.0.0.2")
    made.second_port = port
    return made


def test_the_next_address_where_the_first_refuses(server, otasim):
    sim = otasim("-h", "localhost", hosts=SIX_FIRST)  # the broker has 127.0.0.1 alone
    server.wait(f"version {OLD}")
    assert "refused" not in sim.names()


def test_the_next_address_of_one_family(second, otasim):
    sim = otasim("-h", "twofold", port=second.second_port, hosts=TWOFOLD)
    sim.wait("reported")
    assert sim.names()[0] == "connected"


def test_the_next_address_with_tls(broker, certificates, otasim):
    secure = broker(plugin=False, tls=certificates)
    certificates.client("any")
    folder = certificates.folder / "clients"
    words = ["-h", "localhost", "--cafile", certificates.ca]
    words += ["--cert", f"{folder}/any.crt", "--key", f"{folder}/any.key"]
    sim = otasim(*words, port=secure.tls_port, hosts=SIX_FIRST)
    sim.wait("reported")
    assert sim.names()[0] == "connected"


def test_the_next_address_where_the_first_says_nothing(second, otasim):
    with socket.create_server(("127.0.0.1", second.second_port), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        sim = otasim("-h", "twofold", port=second.second_port, hosts=TWOFOLD)
        sim.wait("reported")
        assert sim.names()[0] == "connected"
        for one in waiting:
            one.close()


def test_downloads_from_the_next_address_too(server, files, otasim):
    http = files()  # on 127.0.0.1 alone
    sim = otasim(*FAST, "--exit-when-done", hosts=SIX_FIRST)
    run(server, sim, notice(http, url=http.url("localhost")))
    assert sim.wait_end() == 0
    assert len(http.requests) == 1


def test_each_attempt_begins_at_the_first_address(second, otasim):
    sim = otasim("-h", "twofold", port=second.second_port, hosts=TWOFOLD)
    sim.wait("connected")
    with socket.create_server(("127.0.0.1", second.second_port)) as first:
        first.settimeout(TIMEOUT)
        second.restart()
        for _ in range(2):
            with first.accept()[0] as connection, connection.makefile("rb") as stream:
                read_packet(stream)  # it is up, so no other address is tried
    sim.wait("connected", count=2)
    assert sim.names().count("refused") >= 2


def test_says_why_no_address_would_do(otasim):
    sim = otasim("-h", "twofold", port=free_port(), hosts=TWOFOLD)
    refused = "127.0.0.1: Connection refused, 127.0.0.2: Connection refused"
    for count in (1, 2):
        assert sim.wait("refused", count=count)["reason"] == refused


def test_a_login(broker, otasim):
    closed = broker(plugin=False, users={"server": "s", f"{PRODUCT}/{NAME}": "se%cret"})
    otasim("-P", "se%cret", port=closed.port).wait("reported")
    refused = otasim("-P", "other", "-i", "another", port=closed.port)
    assert "not authorised" in refused.wait("refused", count=2)["reason"]


def test_a_refused_subscription(plain, otasim):
    """Mosquitto's own ACLs refuse no subscription, so this is no Mosquitto."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sim = otasim(port=listener.getsockname()[1])
        times = []
        for _ in range(2):
            connection = listener.accept()[0]
            times.append(time.monotonic())
            with connection, connection.makefile("rb") as stream:
                read_packet(stream)
                connection.sendall(bytes([0x20, 2, 0, 0]))
                mid = read_packet(stream)[:2]
                connection.sendall(bytes([0x90, 3, *mid, 0x80]))
                assert stream.read() == bytes([0xE0, 0])
        assert sim.wait("disconnected", count=2)["reason"] == "subscription refused"
        assert times[1] - times[0] >= 0.95  # it waits before it tries again
        assert "reported" not in sim.names()


def read_packet(stream):
    """The body of one short MQTT packet."""
    return stream.read(stream.read(2)[1])


def test_offline_at_start_until_a_signal(plain, server, otasim):
    sim = otasim("--offline-at-start")
    server.wait(f"version {OLD}")
    sim.wait("disconnected")
    assert sim.names()[-2:] == ["away", "disconnected"]
    sim.process.send_signal(signal.SIGUSR1)
    sim.wait("returned")
    server.wait(f"version {OLD}", count=2)


def test_offline_at_start_for_a_time(server, otasim):
    sim = otasim("--offline-at-start", "--return-after", "0.3")
    server.wait(f"version {OLD}", count=2)
    away, returned = sim.wait("away"), sim.wait("returned")
    assert away["ms"] == 300 and 290 <= returned["at"] - away["at"] < 5000


def test_a_duration(server, otasim):
    began = time.monotonic()
    sim = otasim("--duration", "0.5")
    assert sim.wait_end() == 0
    assert 0.5 <= time.monotonic() - began
    assert sim.names()[-1] == "summary"


def test_exit_when_done_is_1_when_time_is_up(server, otasim):
    sim = otasim("--duration", "0.3", "--exit-when-done")
    assert sim.wait_end() == 1


def test_leaves_with_a_disconnect(plain, server, otasim):
    sim = otasim()
    server.wait(f"version {OLD}")
    sim.close()
    plain.wait_log("Received DISCONNECT from sensor-hall-1")


def test_the_answer_is_printed(server, otasim):
    sim = otasim()
    server.wait(f"version {OLD}")
    server.answer()
    assert sim.wait("answered")["result_code"] == 0


# -- faults -----------------------------------------------------------------------------------


def test_fault_fail(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--fault", "fail:-4@40")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 1
    assert server.words()[-2:] == ["downloading 40", "fail -4"]


def test_a_fault_strikes_once(server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--fault", "fail:-1@40")
    run(server, sim, notice(http))
    server.wait("fail -1")
    server.send(notice(http))
    server.wait(f"version {NEW}")


def test_a_fault_strikes_always(server, files, otasim):
    http = files()
    otasim(*FAST, "--fault", "fail:-4@0", "--fault-always")
    server.wait(f"version {OLD}")
    for count in (1, 2, 3):
        server.send(notice(http))
        server.wait("fail -4", count=count)
    assert http.requests == []


def test_fault_silent(server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--fault", "silent")
    run(server, sim, notice(http))
    sim.wait("fault", fault="silent")
    server.send(notice(http))
    sim.wait("ignored")
    assert server.words() == [f"version {OLD}"] and http.requests == []
    server.send(notice(http, task=8))
    server.wait(f"version {NEW}")


def test_fault_ignore_notice(server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--fault", "ignore-notice:2")
    run(server, sim, notice(http))
    server.send(notice(http))
    sim.wait("fault", count=2)
    assert server.words() == [f"version {OLD}"]
    server.send(notice(http))
    server.wait(f"version {NEW}")


def test_fault_stall(server, files, otasim):
    sim = otasim(*FAST, "--fault", "stall@30")
    run(server, sim, notice(files()))
    server.wait("downloading 30")
    sim.wait("fault", fault="stall")
    server.answer()
    sim.wait("answered")  # it still listens
    assert server.words()[-1] == "downloading 30"


def test_fault_reboot(plain, server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--exit-when-done", "--fault", "reboot@50")
    run(server, sim, notice(http))
    server.wait(f"version {OLD}", count=2)
    assert server.words()[-2:] == ["downloading 50", f"version {OLD}"]
    assert not [line for line in plain.log if "Received DISCONNECT" in line]
    server.send(notice(http))
    assert sim.wait_end() == 0
    assert f"Range: bytes={len(CONTENT) // 2}-" in http.requests[1]
    assert server.words().count("downloading 50") == 2
    assert server.words()[-1] == f"version {NEW}"


def test_fault_wrong_version(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--fault", "wrong-version:0.9")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 1
    assert server.words()[-2:] == ["done", "version 0.9"]


def test_fault_disconnect(plain, server, files, otasim):
    http = files()
    sim = otasim(*FAST, "--exit-when-done", "--fault", "disconnect:0.3")
    run(server, sim, notice(http))
    sim.wait("disconnected")
    server.wait(f"version {OLD}", count=2)
    assert server.words() == [f"version {OLD}"] * 2
    assert not [line for line in plain.log if "Received DISCONNECT" in line]
    server.send(notice(http))
    assert sim.wait_end() == 0


def test_fault_slow(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--fault", "slow:80000")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 0
    took = sim.wait("downloaded")["at"] - sim.wait("download_start")["at"]
    assert took >= 700


def test_fault_no_done(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--fault", "no-done")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 0
    assert server.words()[-2:] == ["burning", f"version {NEW}"]


def test_fault_late(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--fault", "late:0.4")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 0
    assert sim.wait("done")["at"] - sim.wait("burning")["at"] >= 400


def test_is_not_stopped_while_it_burns(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--burn-ms", 1000)
    run(server, sim, notice(files()))
    server.wait("burning")
    server.send({"type": "cancel_firmware", "version": NEW, "task": 7})
    sim.wait("ignored", reason="burning already")
    assert sim.wait_end() == 0


def test_fault_rollback(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--fault", "rollback:0.2")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 1
    assert server.words()[-3:] == ["done", f"version {NEW}", f"version {OLD}"]


def test_fault_corrupt(server, files, otasim):
    sim = otasim(*FAST, "--exit-when-done", "--fault", "corrupt")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 1
    assert server.words()[-2:] == ["downloaded", "fail -4"]


# -- the vendor's device ----------------------------------------------------------------------

VENDOR = ("--vendor", "--allow-port", "--speed", 0)
HASTY = (*VENDOR, "--haste", 20)


def test_vendor_byte_for_byte(plain, server, files, otasim):
    http = files()
    sim = otasim(*VENDOR, "--burning", "--exit-when-done")
    run(server, sim, notice(http, version="0.0.2"))
    assert sim.wait_end() == 0
    progress = '{"type": "report_progress", "report": {"progress": {"state":"downloading", '
    tail = '"result_code":"0", "result_msg":""}, "version": "0.0.2"}}'
    other = '{"type": "report_progress", "report":{"progress":{"state":"%s", '
    other += '"result_code":"0", "result_msg":""}, "version":"0.0.2"}}'
    # A server that takes its time hears 0 again.
    said = dict.fromkeys((payload.decode(), qos) for payload, qos in server.heard())
    assert list(said) == [
        ('{"type": "report_version", "report":{"version":"1.0.0"}}', 1),
        (progress + '"percent":"0", ' + tail, 0),
        (progress + '"percent":"100", ' + tail, 0),
        (other % "burning", 1),
        (other % "done", 1),
    ]
    assert "exited" in sim.names()
    plain.wait_log(r"as sensorhall-1 \(p[24], c1, k120")
    plain.wait_log(r"\$ota/update/sensor/hall-1 \(QoS 1\)")


def test_vendor_reports_a_moment_after_it_connected(server, otasim):
    sim = otasim(*VENDOR)
    connected, reported = sim.wait("connected"), sim.wait("reported")
    assert 690 <= reported["at"] - connected["at"] < 5000


def test_vendor_loses_a_notice_before_its_report(server, files, otasim):
    http = files()
    sim = otasim(*VENDOR)
    sim.wait("subscribed")
    server.send(notice(http))
    sim.wait("ignored", reason="hasn't reported yet")
    server.wait(f"version {OLD}")
    assert server.words() == [f"version {OLD}"]


def test_vendor_requests(server, files, otasim):
    http = files()
    sim = otasim(*HASTY, "--exit-when-done")
    run(server, sim, notice(http))
    assert sim.wait_end() == 0
    assert http.requests[0] == [
        f"Host: 127.0.0.1:{http.server_address[1]}",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Encoding: gzip, deflate",
        f"Range: bytes=0-{len(CONTENT)}",
    ]
    assert "burning" not in server.words()


def test_vendor_checks_md5_alone(server, files, otasim):
    sim = otasim(*HASTY, "--exit-when-done")
    run(server, sim, notice(files(), sha256="0" * 64))
    assert sim.wait_end() == 0


def test_vendor_checks_md5_after_100_percent(server, files, otasim):
    sim = otasim(*HASTY, "--exit-when-done")
    run(server, sim, notice(files(), md5sum="0" * 32))
    assert sim.wait_end() == 1
    assert server.words()[-2:] == ["downloading 100", "fail -4"]
    failed = server.heard()[-1]
    assert failed == (
        b'{"type": "report_progress", "report": {"progress": {"state":"fail", "result_code":"-4", '
        b'"result_msg":"time_out"}, "version": "1.1.0"}}',
        1,
    )


@pytest.mark.parametrize("status, code", [(403, -3), (404, -2)])
def test_vendor_fails_twice(server, files, otasim, status, code):
    http = files()
    http.misbehave = [status]
    sim = otasim(*HASTY)
    run(server, sim, notice(http))
    server.wait("fail -5")
    assert server.words()[-2:] == [f"fail {code}", "fail -5"]
    server.wait(f"version {OLD}", count=2)
    failed, reported = sim.wait("fail"), sim.wait("reported", count=2)
    assert 3400 / 20 <= reported["at"] - failed["at"] < 3000


def test_vendor_refuses_a_port(server, files, otasim):
    sim = otasim("--vendor", "--exit-when-done")
    run(server, sim, notice(files()))
    assert sim.wait_end() == 1
    assert server.words() == [f"version {OLD}", "fail -5"]


def test_vendor_hears_nothing_while_it_downloads(server, files, otasim):
    http, go_on = files(), threading.Event()
    http.misbehave = [("late", go_on)]
    sim = otasim(*HASTY, "--exit-when-done")
    run(server, sim, notice(http))
    server.wait("downloading 0")
    server.send(notice(http, version="3.0.0", task=9))
    sim.wait("ignored", reason="busy")
    server.send({"type": "cancel_firmware", "version": NEW, "task": 7})
    server.wait("downloading 0", count=2)  # it says so again while nothing comes
    go_on.set()
    assert sim.wait_end() == 0


def test_vendor_gives_up_a_pause(server, files, otasim):
    http, go_on = files(), threading.Event()
    http.misbehave = [("pause", 30000, go_on)]
    sim = otasim(*VENDOR, "--exit-when-done")
    run(server, sim, notice(http))
    assert sim.wait_end() == 1
    go_on.set()
    assert server.words()[-1] == "fail -5" and "fail -1" not in server.words()


def test_vendor_resumes_by_the_versions_name(server, files, otasim):
    http = files()
    http.misbehave = [("cut", 30000)]
    sim = otasim(*HASTY)
    run(server, sim, notice(http))
    server.wait("fail -5")
    server.wait(f"version {OLD}", count=2)
    server.send(notice(http))
    sim.wait("upgraded")
    whole_rounds = 6 * 4999  # what was read of the seventh is lost
    assert f"Range: bytes={whole_rounds}-{len(CONTENT)}" in http.requests[1]
    assert "downloading 29" in server.words()


def test_vendor_has_more_than_it_is_to_have(server, files, otasim):
    http, small = files(), files(CONTENT[:20000])
    http.misbehave = [("cut", 30000)]
    sim = otasim(*HASTY)
    run(server, sim, notice(http))
    server.wait("fail -5")
    server.wait(f"version {OLD}", count=2)
    server.send(notice(small))
    sim.wait("upgraded")
    assert f"Range: bytes=0-{len(small.content)}" in small.requests[0]


def test_vendor_cut_off_in_mid_download(plain, server, files, otasim):
    http, go_on = files(), threading.Event()
    http.misbehave = [("late", go_on)]
    sim = otasim(*HASTY)
    run(server, sim, notice(http))
    server.wait("downloading 0")
    connects = server.client.connects
    plain.restart()
    go_on.set()
    server.client.wait_reconnected(connects)
    server.wait(f"version {OLD}", count=2, timeout=TIMEOUT * 2)
    subscribed, reported = sim.wait("subscribed", count=2), sim.wait("reported", count=2)
    assert 2400 / 20 <= reported["at"] - subscribed["at"] < 2000
    assert not [w for w in server.words() if w.startswith("fail")]


def test_vendor_says_nothing_after_an_idle_reconnect(plain, server, files, otasim):
    sim = otasim(*HASTY)
    server.wait(f"version {OLD}")
    connects = server.client.connects
    plain.restart()
    server.client.wait_reconnected(connects)
    sim.wait("subscribed", count=2)
    server.send(notice(files()))
    server.wait("done")
    assert server.words().count(f"version {OLD}") == 1


def test_vendor_takes_known_packet_ids_for_repetitions(plain, server, files, otasim):
    sim = otasim(*HASTY)
    server.wait(f"version {OLD}")
    rsp = {"type": "report_version_rsp", "result_code": 0, "result_msg": "success"}
    server.send(rsp, qos=1)
    sim.wait("answered")
    connects = server.client.connects
    plain.restart()
    server.client.wait_reconnected(connects)
    sim.wait("subscribed", count=2)
    server.send(notice(files()), qos=1)
    sim.wait("ignored", reason="its packet id was seen before")


def test_vendor_is_deaf_after_an_answer_other_than_0(server, files, otasim):
    sim = otasim(*HASTY)
    server.wait(f"version {OLD}")
    server.answer(code=-1)
    server.send(notice(files()))
    sim.wait("ignored", reason="deaf since an answer other than 0")
    assert server.words() == [f"version {OLD}"]


def test_vendor_starts_again_with_its_old_version(server, files, otasim):
    sim = otasim(*HASTY, "--reboot-ms", 100)
    run(server, sim, notice(files()))
    server.wait(f"version {OLD}", count=2)
    assert server.words()[-2:] == ["done", f"version {OLD}"]


# -- TLS --------------------------------------------------------------------------------------


def test_mutual_tls(broker, certificates, files, otasim):
    secure = broker(plugin=False, tls=certificates)
    server = Server(secure)
    certificates.client(f"{PRODUCT}{NAME}")
    folder = certificates.folder / "clients"
    words = ["--cafile", certificates.ca, "--exit-when-done", *FAST]
    words += ["--cert", f"{folder}/%p%d.crt", "--key", f"{folder}/%p%d.key"]
    sim = otasim(*words, port=secure.tls_port)
    run(server, sim, notice(files(tls=certificates)))
    assert sim.wait_end() == 0
    assert server.words()[-1] == f"version {NEW}"
    secure.wait_log(rf"u'{PRODUCT}{NAME}'")


def test_tls_checks_the_servers_name(broker, certificates, otasim):
    secure = broker(plugin=False, tls=certificates)
    certificates.client("any")
    folder = certificates.folder / "clients"
    words = ["--cafile", certificates.ca]
    words += ["--cert", f"{folder}/any.crt", "--key", f"{folder}/any.key", "-h", "127.0.0.2"]
    # Listens on 127.0.0.1 alone; the name is in no certificate.
    forward = Forward("127.0.0.2", secure.tls_port)
    try:
        sim = otasim(*words, port=forward.port)
        assert "certificate verify failed" in sim.wait("refused")["reason"]
        assert "connected" not in sim.names()
        lax = otasim(*words, "--insecure", port=forward.port)
        lax.wait("reported")
    finally:
        forward.close()


class Forward:
    """Passes connections on to 127.0.0.1, under another address."""

    def __init__(self, host, port):
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-c", FORWARD, host, str(port)], stdout=subprocess.PIPE
        )
        self.port = int(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


FORWARD = """
import socket, sys, threading
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
def pump(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
while True:
    a = listener.accept()[0]
    b = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for pair in ((a, b), (b, a)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


# -- fleets -----------------------------------------------------------------------------------


def test_two_hundred_devices(server, files, otasim):
    http = files()
    sim = otasim("--count", 200, *FAST, "--exit-when-done")
    names = [f"dev{i:05d}" for i in range(1, 201)]
    for name in names:
        server.wait(f"version {OLD}", name, timeout=TIMEOUT * 2)
    for name in names:
        server.send(notice(http), name)
    assert sim.wait_end(TIMEOUT * 4) == 0
    assert sim.names().count("upgraded") == 200
    assert all(server.words(name)[-1] == f"version {NEW}" for name in names)


def test_a_summary_instead_of_lines(server, otasim):
    sim = otasim("--count", 30, "--duration", "1.5", json_lines=False)
    assert sim.wait_end() == 0
    assert all("30 connected: 30 idle" in line for line in sim.lines) and len(sim.lines) == 2


MIX = "ok=95,fail:-4=2,silent=1,slow=2"


def fleet_with_faults(server, otasim, offer, count, mix, seed):
    """Offers an upgrade to a fleet; gives who had which fault and who upgraded, all of them."""
    sim = otasim("--count", count, "--mix", mix, "--seed", seed, *FAST)
    sim.wait("reported", count=count)
    for number in range(1, count + 1):
        server.send(offer, f"dev{number:05d}")

    def settled():
        ended = [e for e in sim.events if (e["event"], e.get("fault")) in ENDS]
        return len(ended) >= count

    with sim.changed:
        assert sim.changed.wait_for(settled, TIMEOUT * 2), sim.lines[-10:]
    sim.close()
    faults = {e["device"]: e["fault"] for e in sim.events if e["event"] == "fault"}
    return faults, {e["device"] for e in sim.events if e["event"] == "upgraded"}


ENDS = [("upgraded", None), ("fail", None), ("fault", "silent")]


def test_a_mix(server, files, otasim):
    """Shares are exact, places follow from the seed."""
    offer = notice(files(CONTENT[:4000]))
    runs = [fleet_with_faults(server, otasim, offer, 100, MIX, seed) for seed in (7, 7, 8)]
    for faults, upgraded in runs:
        assert sorted(faults.values()) == ["fail", "fail", "silent", "slow", "slow"]
        assert {name for name, fault in faults.items() if fault != "slow"}.isdisjoint(upgraded)
        assert len(upgraded) == 97
    assert runs[0] == runs[1] and runs[0][0] != runs[2][0]


def test_a_mix_that_doesnt_come_out_even(server, files, otasim):
    offer = notice(files(CONTENT[:4000]))
    faults, upgraded = fleet_with_faults(server, otasim, offer, 20, "ok,fail:-1@0,silent=1", 1)
    counts = [len(upgraded), *(list(faults.values()).count(word) for word in ("fail", "silent"))]
    assert sum(counts) == 20 and all(count in (6, 7) for count in counts)


def test_a_connect_rate(plain, server, otasim):
    sim = otasim("--count", 11, "--connect-rate", 20)
    sim.wait("connected", count=11)
    connects = server.client.connects
    plain.restart()
    server.client.wait_reconnected(connects)
    sim.wait("connected", count=22)
    times = [e["at"] for e in sim.events if e["event"] == "connected"]
    assert max(times[:11]) - min(times[:11]) >= 400
    assert max(times[11:]) - min(times[11:]) >= 400


def test_at_most_500_connect_at_a_time(otasim):
    """Whatever the rate: a broker that is slow with each of them isn't made slower."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.settimeout(TIMEOUT)
        words = ["--count", 520, "--connect-rate", 10000, "-q"]
        otasim(*words, port=listener.getsockname()[1], json_lines=False)
        accepted = [listener.accept()[0] for _ in range(500)]
        assert not select.select([listener], [], [], 0.2)[0]
        for one in accepted[:20]:
            one.sendall(bytes([0x20, 2, 0, 0]))
        accepted += [listener.accept()[0] for _ in range(20)]
        assert not select.select([listener], [], [], 0.2)[0]
        for one in accepted:
            one.close()


# -- the command line -------------------------------------------------------------------------


def call(*words):
    return subprocess.run([OTASIM, *words], capture_output=True, text=True, timeout=30, check=False)


def test_help():
    told = call("--help")
    assert told.returncode == 0 and told.stderr == ""
    for word in ("--mix", "ignore-notice:N", "Examples:", "--vendor", f"--mix '{MIX}'"):
        assert word in told.stdout


def test_too_few_open_files():
    limited = ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", OTASIM]
    told = subprocess.run(
        [*limited, "--product", "p", "--count", "50"], capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert told.returncode == 2
    assert "--count 50 needs 110 open files and 100 are allowed" in told.stderr


@pytest.mark.parametrize(
    "words, sentence",
    [
        ([], "--product must be given"),
        (["--product", "a b"], "--product: 1 to 32"),
        (["--product", "p", "--device", "a b"], "--device: 1 to 48"),
        (["--product", "p", "--device", "%x"], "unknown %"),
        (["--product", "p", "--count", "2", "--device", "one"], "--count needs"),
        (["--product", "p", "--count", "10001"], "--count takes a number from 1 to 10000"),
        (["--product", "p", "--port", "x"], "--port takes a number"),
        (["--product", "p", "--port"], "needs a value"),
        (["--product", "p", "--wrong"], "is no option"),
        (["--product", "p", "more"], "is no option"),
        (["--product", "p", "--version", "1/2"], "--version: 1 to 32"),
        (["--product", "p", "--fault", "odd"], "there is none of that name"),
        (["--product", "p", "--fault", "fail"], "fail:CODE[@P]"),
        (["--product", "p", "--fault", "fail:4"], "fail:CODE[@P]"),
        (["--product", "p", "--fault", "silent@3"], "silent"),
        (["--product", "p", "--fault", "stall@101"], "stall[@P]"),
        (["--product", "p", "--mix", "ok=x"], "share"),
        (["--product", "p", "--mix", "ok=0"], "sum up to nothing"),
        (["--product", "p", "--mix", "ok=inf"], "share"),
        (["--product", "p", "--mix", "ok=-1"], "share"),
        (["--product", "p", "--mix", "ok=95,slow:x=5"], "slow[:BYTES_PER_S]"),
        (["--product", "p", "--mix", ""], "sum up to nothing"),
        (["--product", "p", "--mix", "ok", "--fault", "silent"], "not both"),
        (["--product", "p", "--cert", "x"], "go together"),
        (["--product", "p", "--cafile", "/nonexistent"], "/nonexistent"),
        (["--product", "p", "-h", "no.such.host.invalid"], "no.such.host.invalid"),
    ],
)
def test_refuses(words, sentence):
    told = call(*words)
    assert told.returncode == 2
    assert sentence in told.stderr and told.stderr.startswith("otasim: ")


def test_is_one_thread(server, otasim):
    sim = otasim()
    server.wait(f"version {OLD}")
    assert len(os.listdir(f"/proc/{sim.process.pid}/task")) == 1
