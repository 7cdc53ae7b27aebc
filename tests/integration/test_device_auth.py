# SPDX-License-Identifier: BSD-3-Clause
"""Devices that log in with a secret, as the vendor's SDK does: by HMAC, by TLS-PSK; with a
password_file beside it, with dynamic-security, with nothing."""
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

import dynsec
import harness
import matrix
import vendor
from clients import ControlError
from common import IS_2_1
from crowd import until

REFUSED = 5


@pytest.fixture
def stage(broker, tmp_path):
    """(broker, admin) with the devices lamp/d1 and lamp/d2 that have secrets."""

    def make(**settings):
        started = vendor.start(broker, tmp_path, **settings)
        return started, vendor.admin(started)

    return make


def refused(admin):
    return admin.call("getInfo")["deviceAuth"]["refused"]


def start_fails(started, text):
    with pytest.raises(harness.BrokerDied):
        started.start()
    assert [line for line in started.log if text in line], started.log_tail()


@pytest.mark.parametrize("method", ["sha1", "sha256"])
@pytest.mark.parametrize("identity", ["username:%p/%d", "username:%p%d", "none"])
def test_who_knows_the_secret_is_that_device_and_no_other(stage, method, identity):
    broker, admin = stage(options={"device_identity": identity})
    device = vendor.connect(broker, "d1", vendor.KEY, method=method)
    assert device.connect_code == 0
    assert device.report_version("1.0")["result_code"] == 0
    assert admin.call("getDevice", product="lamp", device="d1")["device"]["online"]
    assert device.subscribe("$ota/update/lamp/d2") == 128
    device.publish("$ota/report/lamp/d2", {"type": "report_version", "report": {"version": "9"}})
    assert admin.call("getDevice", product="lamp", device="d2")["device"]["version"] is None
    assert admin.call("getInfo")["deviceAuth"]["loggedIn"] == 1


def test_who_does_not_is_refused_and_counted(stage):
    broker, admin = stage()
    admin.call("createDevice", product="lamp", device="bare")
    name = vendor.username("lampd1")
    moved = vendor.username("lampd2")
    over = vendor.username("lampd1", expiry=int(time.time()) - 1)
    tries = [
        ("wrong", "d1", {"secret": vendor.OTHER_KEY}),
        ("wrong", "d1", {"secret": "", "password": None}),
        ("wrong", "d1", {"secret": "", "password": vendor.password(name, vendor.KEY)}),
        ("wrong", "d2", {"secret": vendor.KEY, "name": moved}),
        ("wrong", "d1", {"secret": "", "name": name, "password": "f" * 40 + ";hmacmd5"}),
        ("expired", "d1", {"secret": vendor.KEY, "name": over}),
        ("unknown_device", "d9", {"secret": vendor.KEY}),
        ("no_secret", "bare", {"secret": vendor.KEY}),
    ]
    expected = {}
    began = time.monotonic()
    for reason, device, how in tries:
        client = vendor.connect(broker, device, **how)
        assert client.connect_code == REFUSED, (reason, how)
        client.release()
        expected[reason] = expected.get(reason, 0) + 1
        assert refused(admin) == expected
    said = [line for line in broker.log if "log-in of" in line]
    assert 1 <= len(said) <= 2 + time.monotonic() - began
    entries = [e for e in admin.call("listAudit", action="deviceLogin")["entries"]]
    assert {e["user"] for e in entries} == {"lamp/d1", "lamp/d2", "lamp/bare", None}
    assert sum(e["count"] for e in entries) <= len(tries)
    later = vendor.username("lampd1", expiry=int(time.time()) + 3600)
    assert vendor.connect(broker, "d1", vendor.KEY, name=later).connect_code == 0
    short = vendor.username("lampd2", expiry=2147483647)
    assert vendor.connect(broker, "d2", vendor.OTHER_KEY, name=short).connect_code == 0


def test_who_guesses_is_slowed_down_and_holds_up_nobody_else(stage):
    broker, admin = stage()
    for _ in range(11):
        client = vendor.connect(broker, "d1", vendor.OTHER_KEY)
        assert client.connect_code == REFUSED
        client.release()
    assert refused(admin)["wrong"] == 10
    assert refused(admin)["too_often"] == 1
    assert vendor.connect(broker, "d2", vendor.OTHER_KEY).connect_code == 0
    metrics = broker.otactl("info", "-P", vendor.PASSWORD, "--json")
    assert json.loads(metrics.stdout)["deviceAuth"]["loggedIn"] == 1


def test_others_are_left_to_the_password_file(stage):
    broker, admin = stage(users=("admin", "lamp/d2", "a;b;c;1"))
    for name, word, code in (
        ("lamp/d2", vendor.PASSWORD, 0), ("lamp/d2", "x", REFUSED), ("nobody", "x", REFUSED),
        (None, None, REFUSED), ("admin", "x", REFUSED),
    ):
        assert broker.client(name, password=word).connect_code == code, name
    device = broker.device("lamp", "d2", password=vendor.PASSWORD)
    assert device.report_version("1")["result_code"] == 0
    assert admin.call("getInfo")["deviceAuth"]["leftToOthers"] >= 6


def test_others_are_left_to_dynamic_security(broker, tmp_path):
    """Its line stands behind ours: it is asked about whom we don't know."""
    started = vendor.start(
        broker, tmp_path, users=(), config=dynsec.config(tmp_path / "dynsec"),
        options={"admins": "boss"},
    )
    dynsec.add(started, ["ann"])
    assert started.client("ann", password=matrix.PASSWORD).connect_code == 0
    assert started.client("ann", password="x").connect_code == REFUSED
    admin = started.admin("boss", password=matrix.PASSWORD)
    admin.call("createProduct", product="lamp")
    admin.call("createDevice", product="lamp", device="d1")
    admin.call("setDeviceSecret", product="lamp", device="d1", secret=vendor.KEY)
    device = vendor.connect(started, "d1", vendor.KEY)
    assert device.connect_code == 0 and device.report_version("1")["result_code"] == 0


def test_only_devices(broker, tmp_path):
    started = vendor.start(broker, tmp_path)
    vendor.admin(started)
    started.options["device_auth_only"] = "true"
    started.restart()
    assert started.client("admin", password=vendor.PASSWORD).connect_code == REFUSED
    assert started.client().connect_code == REFUSED
    device = vendor.connect(started, "d1", vendor.KEY)
    assert device.connect_code == 0
    assert device.report_version("1")["result_code"] == 0


@pytest.mark.skipif(IS_2_1, reason="2.1 denies nobody for it")
def test_where_nobody_else_could_log_in_that_must_be_said(broker, tmp_path):
    """Mosquitto 2.0 denies whom all plugins leave to others."""
    options = {"device_auth": "vendor", "secret_keyfile": tmp_path / "secret.key"}
    started = harness.Broker(tmp_path / "broker", options=options)
    start_fails(started, "say plugin_opt_device_auth_only true")
    started.options["device_auth_only"] = "true"
    started.start()
    started.close()


def test_another_secret_ends_the_connection_of_the_old_one(stage):
    broker, admin = stage()
    device = vendor.connect(broker, "d1", vendor.KEY)
    other = vendor.connect(broker, "d2", vendor.OTHER_KEY)
    device.report_version("1")
    answer = admin.call("setDeviceSecret", product="lamp", device="d1")
    device.wait_for(lambda: device.connect_code == REFUSED, what="refusal")  # it came back, in vain
    device.release()
    fresh = vendor.connect(broker, "d1", answer["secret"])
    assert fresh.connect_code == 0 and fresh.report_version("1")["result_code"] == 0
    assert admin.call("deleteDeviceSecret", product="lamp", device="d1") == {
        "product": "lamp", "device": "d1"}
    fresh.wait_for(lambda: fresh.connect_code == REFUSED, what="refusal")
    fresh.release()
    assert vendor.connect(broker, "d1", answer["secret"]).connect_code == REFUSED
    with pytest.raises(ControlError) as error:
        admin.call("deleteDeviceSecret", product="lamp", device="d1")
    assert error.value.code == "not_found"
    assert other.report_version("1")["result_code"] == 0


def test_a_deleted_device_takes_its_secret_with_it(stage):
    broker, admin = stage()
    device = vendor.connect(broker, "d1", vendor.KEY)
    device.report_version("1")
    admin.call("deleteDevice", product="lamp", device="d1")
    device.wait_for(lambda: device.connect_code == REFUSED, what="refusal")
    device.release()
    admin.call("createDevice", product="lamp", device="d1")
    assert vendor.connect(broker, "d1", vendor.KEY).connect_code == REFUSED
    other = vendor.connect(broker, "d2", vendor.OTHER_KEY)
    other.report_version("1")
    admin.call("deleteProduct", product="lamp", force=True)
    other.wait_for(lambda: other.connect_code == REFUSED, what="refusal")
    other.release()
    assert vendor.connect(broker, "d2", vendor.OTHER_KEY).connect_code == REFUSED


def test_a_drawn_secret_is_shown_once_and_written_nowhere(stage):
    broker, admin = stage()
    asked = {"product": "lamp", "device": "d1", "requestId": "once"}
    secret = admin.call("setDeviceSecret", **asked)["secret"]
    assert len(secret) == 44
    assert admin.call("setDeviceSecret", **asked) == {"product": "lamp", "device": "d1"}
    given = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
    admin.call("setDeviceSecret", product="lamp", device="d2", secret=given, requestId="two")
    assert vendor.connect(broker, "d1", secret).connect_code == 0
    assert vendor.connect(broker, "d2", given).connect_code == 0
    audit = json.dumps(admin.call("listAudit"))
    log = list(broker.log)
    broker.stop()
    files = b"".join(path.read_bytes() for path in broker.folder.iterdir() if path.is_file())
    for text in (secret, given):
        raw = base64.b64decode(text)
        assert text.encode() not in files and raw not in files and raw.hex().encode() not in files
        assert text not in audit and not [line for line in log if text in line]


def test_otactl_shows_a_drawn_secret_and_no_given_one(stage):
    broker, _ = stage()
    run = broker.otactl("-P", vendor.PASSWORD, "device", "set-secret", "lamp", "d1")
    (secret,) = re.findall(r"[A-Za-z0-9+/]{43}=", run.stdout)
    assert vendor.connect(broker, "d1", secret).connect_code == 0
    run = broker.otactl(
        "-P", vendor.PASSWORD, "device", "set-secret", "lamp", "d1", "--secret", vendor.KEY)
    assert vendor.KEY not in run.stdout + run.stderr
    broker.otactl("-P", vendor.PASSWORD, "device", "delete-secret", "lamp", "d1")
    assert vendor.connect(broker, "d1", vendor.KEY).connect_code == REFUSED


def test_bad_secrets(stage):
    _, admin = stage()
    for secret, code in (
        ("AAAA", "invalid_request"), ("A" * 68, "invalid_request"), ("?" * 24, "invalid_request"),
        ("AAAAAAAAAAAAAAAAAAAA", "invalid_request"), (17, "invalid_request"),
        ("AAAAAAAAAAAAAAAAAAAAAB==", "invalid_request"),
    ):
        with pytest.raises(ControlError) as error:
            admin.call("setDeviceSecret", product="lamp", device="d1", secret=secret)
        assert (error.value.code, error.value.field) == (code, "secret"), secret
    for fields in ({"product": "lamp", "device": "x"}, {"product": "x", "device": "d1"}):
        for command in ("setDeviceSecret", "deleteDeviceSecret"):
            with pytest.raises(ControlError) as error:
                admin.call(command, **fields)
            assert error.value.code == "not_found"


def test_without_device_auth_there_are_no_secrets(ota, admin):
    admin.call("createProduct", product="lamp")
    admin.call("createDevice", product="lamp", device="d1")
    with pytest.raises(ControlError) as error:
        admin.call("setDeviceSecret", product="lamp", device="d1")
    assert error.value.code == "conflict" and "device_auth" in error.value.text
    assert admin.call("getInfo")["deviceAuth"] is None


def test_a_product_that_would_make_two_readings_is_refused(stage):
    _, admin = stage()
    with pytest.raises(ControlError) as error:
        admin.call("createProduct", product="lampd")
    assert error.value.code == "conflict"


# -- the key


def test_the_key_file(stage, tmp_path):
    broker, _ = stage()
    key = tmp_path / "secret.key"
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 32
    assert [line for line in broker.log if "is a new key" in line]
    right = key.read_bytes()
    broker.stop()
    key.unlink()
    start_fails(broker, "is missing, and the database holds secrets")
    key.write_bytes(bytes(32))
    start_fails(broker, "others than the broker's user")
    key.chmod(0o600)
    start_fails(broker, "isn't the key")
    key.write_bytes(right + b"x")
    start_fails(broker, "32 random bytes")
    key.write_bytes(right)
    broker.start()
    assert vendor.connect(broker, "d1", vendor.KEY).connect_code == 0


def test_a_new_key_is_fine_as_long_as_nothing_is_encrypted(stage, tmp_path):
    broker, admin = stage()
    for device in ("d1", "d2"):
        admin.call("deleteDeviceSecret", product="lamp", device=device)
    broker.stop()
    (tmp_path / "secret.key").unlink()
    broker.start()
    admin = broker.admin(password=vendor.PASSWORD)
    admin.call("setDeviceSecret", product="lamp", device="d1", secret=vendor.KEY)
    broker.restart()
    assert vendor.connect(broker, "d1", vendor.KEY).connect_code == 0


# -- otasim, and TLS-PSK


def psk_listener(port, identity=True):
    return (f"listener {port} 127.0.0.1\npsk_hint hint\n"
            f"use_identity_as_username {'true' if identity else 'false'}\n")


@contextlib.contextmanager
def by_psk(port, key, *arguments):
    """openssl's client, with the identity of lamp/d1."""
    client = subprocess.Popen(
        ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", "-psk_identity",
         "lampd1", "-psk", key, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield client
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()


def upgrade(broker, admin, *arguments):
    """otasim is upgraded as lamp/d1; gives its output."""
    admin.add_firmware("lamp", "2.0")
    task = admin.call("upgradeDevice", product="lamp", device="d1", version="2.0")["task"]["task"]
    command = [harness.OTASIM, "-h", "127.0.0.1", "--product", "lamp", "--device", "d1", "--vendor",
               "--allow-port", "--exit-when-done", "--secret", vendor.KEY, *map(str, arguments)]
    run = subprocess.run(command, text=True, capture_output=True, timeout=harness.TIMEOUT,
                         check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return admin.wait_status(task, "succeeded")


@pytest.mark.parametrize("method", ["sha1", "sha256"])
def test_otasim_logs_in_by_hmac(stage, method):
    broker, admin = stage()
    upgrade(broker, admin, "-p", broker.port, "--hmac", method)
    assert admin.call("getInfo")["deviceAuth"]["loggedIn"] >= 1


def test_otasim_logs_in_by_psk(stage):
    port = harness.free_port()
    broker, admin = stage(config=psk_listener(port))
    upgrade(broker, admin, "-p", port, "--psk")
    info = admin.call("getInfo")["deviceAuth"]
    assert info["keysGiven"] >= 1 and info["loggedIn"] == 0


def connect_packet(client_id, name):
    """CONNECT of MQTT 3.1.1: clean session, a user name and no password, as the SDK sends it."""
    texts = b"".join(len(t).to_bytes(2, "big") + t.encode() for t in (client_id, name))
    body = b"\0\4MQTT\4\x82\0\x78" + texts
    return b"\x10" + bytes([len(body)]) + body


@pytest.mark.parametrize("suite", ["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA"])
@pytest.mark.parametrize("identity", [True, False])
def test_the_suites_of_the_vendor_work(stage, suite, identity):
    """Where the broker doesn't take the name from the handshake, a device is nobody."""
    port = harness.free_port()
    broker, admin = stage(config=psk_listener(port, identity))
    key = base64.b64decode(vendor.KEY).hex()
    with by_psk(port, key, "-tls1_2", "-cipher", suite) as client:
        client.stdin.write(connect_packet("lampd1", vendor.username("lampd1")))
        client.stdin.flush()
        assert client.stdout.read(4) == (b"\x20\2\0\0" if identity else b"\x20\2\0\5")
    if identity:
        assert broker.wait_log("u'lampd1'")
    else:
        assert refused(admin) == {"wrong": 1}


def unread(port):
    """How many connections to that port hold bytes that nobody has read."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = (line.split()[1:5] for line in lines)  # local and remote address, state, queues
    return sum(local.endswith(f":{port:04X}") and state == "01" and not queues.endswith(":00000000")
               for local, _, state, queues in rows)


@pytest.mark.parametrize("identity", [True, False])
def test_a_handshake_that_failed_opens_nothing(stage, identity):
    """Where its first bytes are there before it is taken in, 2.0 drops such a connection without
    DISCONNECT; the next client stands in its place in memory."""
    port = harness.free_port()
    broker, admin = stage(config=psk_listener(port, identity))
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(by_psk(port, "00" * 16, "-tls1_3"))
            until(lambda: unread(port) == 20, "20 handshakes")
            os.kill(broker.process.pid, signal.SIGCONT)
            until(lambda: [line for line in broker.log if "binder" in line][19:], "20 failures")
            for name in [None] * 10 + [vendor.username("lampd1")] * 10:
                assert broker.client(name).connect_code == REFUSED
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    assert admin.call("getInfo")["deviceAuth"]["loggedIn"] == 0


def test_a_wrong_psk_gets_nowhere(stage):
    port = harness.free_port()
    broker, admin = stage(config=psk_listener(port))
    for device, secret in (("d1", vendor.OTHER_KEY), ("d9", vendor.KEY)):
        run = subprocess.run(
            [harness.OTASIM, "-h", "127.0.0.1", "-p", str(port), "--product", "lamp", "--device",
             device, "--secret", secret, "--psk", "--duration", "0.5", "--json"],
            text=True, capture_output=True, timeout=harness.TIMEOUT, check=False)
        assert '"event":"connected"' not in run.stdout, run.stdout
    assert not admin.call("getDevice", product="lamp", device="d1")["device"]["online"]
