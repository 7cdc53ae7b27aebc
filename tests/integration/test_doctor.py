# SPDX-License-Identifier: BSD-3-Clause
"""otactl doctor against real brokers: one for each finding that is set up so wrongly, and some that
are set up right and have none."""
import http.server
import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

import dynsec
import harness
from common import BROKER_VERSION, IS_2_1
from test_otactl import Server, Tool, environment  # pylint: disable=unused-import

pytestmark = pytest.mark.slow_asan  # what the plugin does here has unit tests

USERS = {"admin": "secret", "viewer": "secret", "p/d": "secret", "nobody": "secret"}


def doctor(broker, *options, code=None, username="admin", password="secret", host=None):
    """Its findings as {rule: finding}; code: the exit status, by default what they ask for."""
    words = ["doctor", "--json", *options] + (["-h", host] if host else [])
    environ = {**os.environ, "OTACTL_PASSWORD": password or ""}
    if password is None:
        del environ["OTACTL_PASSWORD"]
    run = broker.otactl(*words, username=username, check=False, env=environ)
    found = json.loads(run.stdout)["findings"] if run.stdout else []
    errors = any(finding["level"] == "error" for finding in found)
    assert run.returncode == (code if code is not None else 5 * errors), run.stdout + run.stderr
    for finding in found:
        assert len(finding["finding"]) > 20 and len(finding["remedy"]) > 10, finding
    return {finding["rule"]: finding for finding in found}


def assert_only(found, rule, level):
    assert {name: finding["level"] for name, finding in found.items()} == {rule: level}, found


def test_a_good_broker_has_no_finding(broker):
    one = broker(users=USERS)
    for username in ("admin", "viewer"):
        assert not doctor(one, "--strict", username=username)
    run = one.otactl("doctor", env={**os.environ, "OTACTL_PASSWORD": "secret"})
    assert run.stdout == "nothing is wrong with this service\n" and not run.stderr


def test_a_good_broker_with_certificates_has_no_finding(broker, certificates):
    one = broker(tls=certificates, users=USERS)
    certificate, key = certificates.client("admin")
    words = ["--port", one.tls_port, "--cafile", certificates.ca, "--cert", certificate, "--key", key]
    assert not doctor(one, "--strict", *words, password=None, host="localhost")


def test_a_plugin_that_is_loaded_before_ours(broker, tmp_path):
    one = broker(plugin=False, config=dynsec.before_ours(tmp_path))
    rules = [("publishClientSend", "$CONTROL/ota/#"), ("subscribePattern", "$CONTROL/ota/#"),
             ("publishClientReceive", "$CONTROL/ota/#")]
    dynsec.add(one, ["admin"], rules)
    found = doctor(one, password=dynsec.PASSWORD)
    assert found["plugin_order"]["level"] == "error" and "first" in found["plugin_order"]["finding"]
    assert set(found) == {"plugin_order", "downloads"}


def test_devices_of_a_product_that_nobody_created(broker):
    one = broker(users=USERS)
    device = one.device("p", "d", subscribe=False, password="secret")
    device.report_version("0.0.1", wait=False)
    device.subscribe(device.update_topic)  # what came before it was heard by then
    found = doctor(one)
    assert_only(found, "unknown_product", "warning")
    assert "product p," in found["unknown_product"]["finding"]


class PerListener(harness.Broker):
    """per_listener_settings true: the plugin belongs to the listener."""

    def make_config(self):
        head, listener = super().make_config().rsplit("listener ", 1)
        rows = head.replace("per_listener_settings false", "").splitlines()
        own = [row for row in rows if row.startswith(("plugin", "allow_anonymous", "password"))]
        rest = [row for row in rows if row not in own]
        return "\n".join(["per_listener_settings true", *rest, f"listener {listener}", *own]) + "\n"


@pytest.mark.skipif(BROKER_VERSION > (2, 0, 11), reason="later ones give ticks there, too")
def test_per_listener_settings(tmp_path):
    one = PerListener(tmp_path / "broker", users=USERS).start()
    try:
        assert_only(doctor(one, "--timeout", "2"), "per_listener_settings", "error")
    finally:
        one.close()


def test_no_plugin(broker):
    one = broker(plugin=False, users=USERS)
    assert_only(doctor(one, "--timeout", "2"), "no_plugin", "error")


def test_no_role(broker):
    one = broker(users=USERS)
    found = doctor(one, "--timeout", "2", username="nobody")
    assert_only(found, "role", "error")
    assert "nobody" in found["role"]["finding"]


def test_no_broker_is_no_finding(broker):
    one = broker(users=USERS)
    assert not doctor(one, code=3, password="wrong")
    one.stop()
    assert not doctor(one, code=3)


@pytest.mark.skipif(IS_2_1, reason="nothing is denied there")
def test_a_missing_acl_file(broker):
    one = broker(users=USERS, options={"acl_fallback": None})
    device = one.client("p/d", password="secret")
    for _ in range(19):
        device.publish("telemetry/p/d", b"20.5")
    assert not doctor(one)  # a few may be one client's mistake
    device.publish("telemetry/p/d", b"20.5")
    assert_only(doctor(one), "acl_file", "error")


def test_an_acl_file_that_lets_something_in(broker):
    one = broker(users=USERS, options={"acl_fallback": None}, acl="user p/d\ntopic readwrite device/#\n")
    device = one.client("p/d", password="secret")
    device.publish("device/p/d/x", b"20.5")
    for _ in range(25):
        device.publish("telemetry/p/d", b"20.5")
    assert not doctor(one)


class Delayed(harness.Broker):
    def make_config(self):
        return super().make_config().replace("set_tcp_nodelay true\n", "")


def test_no_nodelay(tmp_path):
    one = Delayed(tmp_path / "broker", users=USERS).start()
    try:
        found = doctor(one)
        assert_only(found, "nodelay", "warning")
        doctor(one, "--strict", code=5)
    finally:
        one.close()


def test_a_name_without_password(broker):
    one = broker()  # any name is let in
    found = doctor(one)
    assert_only(found, "login", "error")
    assert "lets in admin without a password" in found["login"]["finding"]


class AnyPassword(harness.Broker):
    """Users without a name are let in on the TLS listener; names come from nothing but the client."""

    def make_config(self):
        return super().make_config().replace("require_certificate true", "").replace(
            "use_identity_as_username true", "")


def test_a_name_without_password_under_tls(tmp_path, certificates):
    one = AnyPassword(tmp_path / "broker", tls=certificates).start()
    try:
        found = doctor(one, "--port", one.tls_port, "--cafile", certificates.ca, host="localhost")
        assert_only(found, "login", "error")
    finally:
        one.close()


def test_a_download_url_that_nobody_answers(broker):
    port = harness.free_port()
    one = broker(users=USERS, options={"download_url": f"http://127.0.0.1:{port}"})
    found = doctor(one)
    assert_only(found, "download_url", "error")
    assert "not reached from here" in found["download_url"]["finding"]


def test_a_download_url_of_somebody_else(broker):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        found = doctor(broker(users=USERS, options={"download_url": url}))
        other.shutdown()
    assert_only(found, "download_url", "error")
    assert "somebody else answers there, with status 501" in found["download_url"]["finding"]


def test_a_download_url_of_this_machine_alone(broker):
    """0.0.0.0 leads here, but isn't the loopback: so devices may come from elsewhere."""
    found = doctor(broker(users=USERS), host="0.0.0.0")
    assert {rule: finding["level"] for rule, finding in found.items()} == {
        "download_url": "error", "clear_text": "warning"}


def test_downloads_off(broker):
    one = broker(users=USERS, options={"download_listen": "off", "download_url": None})
    assert_only(doctor(one), "downloads", "note")


def test_any_client_may_be_any_device(broker):
    one = broker(users=USERS, options={"device_identity": "none"})
    assert_only(doctor(one), "device_identity", "warning")


def test_signatures_that_nobody_has_to_make(broker, tmp_path):
    subprocess.run([harness.OTACTL, "key", "create", tmp_path / "release"], check=True,
                   capture_output=True)
    one = broker(users=USERS, options={"signing_keys": tmp_path / "release.pub"})
    assert_only(doctor(one), "require_signature", "warning")


@pytest.mark.parametrize("name, mode, option", [
    (".", 0o777, None), ("ota.db", 0o644, None), ("roles", 0o666, "roles_file"),
    ("key.pub", 0o666, "signing_keys"),
])
def test_permissions(broker, certificates, name, mode, option):
    with tempfile.TemporaryDirectory(prefix="otactl-public-", dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        options = {"db_path": folder / "ota.db"}
        if option == "roles_file":
            (folder / name).write_text("")
        elif option:
            subprocess.run([harness.OTACTL, "key", "create", folder / "key"], check=True,
                           capture_output=True)
            options["require_signature"] = "true"
        if option:
            options[option] = folder / name
        one = broker(users=USERS, options=options)
        for path in folder.iterdir():
            path.chmod(path.stat().st_mode & ~0o66 if path.name.startswith("ota.db") else 0o644)
        one.reload()
        assert not doctor(one)
        (folder / name).chmod(mode)
        one.reload()
        found = doctor(one)
        assert_only(found, "permissions", "warning")
        assert str(folder) in found["permissions"]["finding"]
        one.stop()


def test_a_disk_that_fills_up(broker):
    one = broker(users=USERS)
    assert not doctor(one, "--min-free-mb", "1")
    found = doctor(one, "--min-free-mb", "1000000000")
    assert_only(found, "disk", "warning")


def test_the_configuration_too(broker):
    one = broker(users=USERS)
    config = one.folder / "mosquitto.conf"
    rules = set(doctor(one, "--config", config))
    assert rules == {"acl_file", "download_url"} or rules == {"download_url"}, rules
    config.write_text("plugin nothing.so\n")
    assert "no_plugin" in doctor(one, "--config", config)
    one.stop()
    assert "no_plugin" in doctor(one, "--config", config, code=3)


@pytest.mark.parametrize("seconds, words", [
    (3630, "1 h ahead of"), (-7 * 86400 - 60, "7 d behind"), (0, None),
    (None, None)])  # an older plugin doesn't tell
def test_a_clock_that_is_wrong(broker, environment, seconds, words):
    """Only here the service is played: nobody may set this machine's clock."""
    anonymous = broker(plugin=False)
    played = Server(anonymous.port, lambda command: {
        "user": None, "warnings": [], "downloadUrl": "",
        "now": None if seconds is None else int((time.time() + seconds) * 1000)})
    try:
        run = Tool(environment, anonymous.port)("doctor", "--json")
    finally:
        played.close()
    found = json.loads(run.stdout)["findings"]
    if words is None:
        assert not found
    else:
        assert [f["rule"] for f in found] == ["clock"] and words in found[0]["finding"]
