# SPDX-License-Identifier: BSD-3-Clause
"""conf/ is what the broker and the plugin really take."""
import os
import re
import socket
import ssl
import subprocess

import pytest

import harness
from common import IS_2_1, PLUGINS
from console_help import write_passwords

CONF = harness.ROOT / "conf"
TEMPLATE = (CONF / "mosquitto.conf.in").read_text()
TEMPLATE_2_1 = (CONF / "mosquitto-2.1.conf.in").read_text()
OPTION = re.compile(r"^#?plugin_opt_(\w+) (\S+)", re.MULTILINE)


def known_options():
    """(name, default) of each row in the plugin's own table."""
    source = (harness.ROOT / "plugin" / "options.c").read_text()
    return dict(re.findall(r'\{"(\w+)", [A-Z]+, AT\(\w+\), "([^"]*)"', source))


def filled(folder, certificates, port, http_port, template=TEMPLATE):
    """The template as a configuration, as scripts/demo makes it."""
    words = {
        "USER": "root" if os.geteuid() == 0 else "nobody",
        "PLUGIN": harness.PLUGIN,
        "PLUGINS": PLUGINS,
        "DB": folder / "ota.db",
        "ADMINS": "admin",
        "DOWNLOAD_LISTEN": f"127.0.0.1:{http_port}",
        "DOWNLOAD_URL": f"http://127.0.0.1:{http_port}",
        "CONSOLE_LISTEN": "127.0.0.1:0",
        "CONSOLE_PASSWORDS": folder / "console-passwords",
        "TLS_LISTENER": f"{port} 127.0.0.1",
        "CERTS": certificates.folder,
        "ACL": harness.ROOT / "conf" / "acl",
        "DATA": folder,
        "LOG": "stderr",
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: str(words[match[1]]), template)


def test_names_every_option_and_no_other():
    assert {name for name, _ in OPTION.findall(TEMPLATE)} == set(known_options())


def test_shows_the_defaults():
    examples = {"operators", "viewers", "roles_file", "http_certfile", "http_keyfile",
                "signing_keys", "backup_dir", "secret_keyfile", "console_hosts", "console_dir"}
    shown = {n: v for n, v in OPTION.findall(TEMPLATE) if "@" not in v and n not in examples}
    known = known_options()
    assert shown == {name: known[name] for name in shown}


def documented_options():
    """(name, (default, range)) of each row in docs/options.md."""
    text = (harness.ROOT / "docs" / "options.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\S*) ?\| ([^|]*?) ?\| ", text, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (default.strip("`"), words) for name, default, words in rows}


def test_the_documented_options_are_those_there_are():
    source = (harness.ROOT / "plugin" / "options.c").read_text()
    limits = re.findall(r'\{"(\w+)", (\w+), AT\(\w+\), "[^"]*", (\d+), (\d+), (.+?)\},', source)
    ranges = {"NUMBER": lambda low, high, words: f"{low}-{high}",
              "WORD": lambda low, high, words: ", ".join(f"`{w}`" for w in words[1:-1].split("|"))}
    may_be = {name: ranges.get(kind, lambda *_: "")(low, high, words)
              for name, kind, low, high, words in limits}
    assert documented_options() == {name: (preset, may_be[name])
                                    for name, preset in known_options().items()}


class FromTemplate(harness.Broker):
    """A broker that is configured by the template, its optional options switched on or not."""

    def __init__(self, folder, certificates, all_options, template=TEMPLATE):
        super().__init__(folder, tls=certificates)
        self.all_options = all_options
        self.template = template

    def make_config(self):
        write_passwords(self.folder / "console-passwords", {"admin": "secret"})
        text = filled(self.folder, self.tls, self.tls_port, self.http_port, self.template)
        if self.all_options:
            # Not those that name files, which aren't there.
            text = re.sub(r"^#(plugin_opt_\w+ [^/\n]+)$", r"\1", text, flags=re.MULTILINE)
        return text


def check_it_works(broker, name="testProduct/testDevice0"):
    """name: of a device that uses ordinary topics, too."""
    broker.start()
    try:
        admin = broker.admin(None, tls="admin")
        admin.call("createProduct", product="testProduct")
        device = broker.device("testProduct", "testDevice0", tls="testProduct/testDevice0")
        assert device.report_version("0.0.1")["result_code"] == 0
        if IS_2_1 and "/" in name:
            return  # %u is one level there
        # An ordinary topic: its own subtree and no other.
        device = broker.device("testProduct", "testDevice0", tls=name, client_id="ordinary")
        device.subscribe("device/#")
        device.publish("device/other/x", b"x")
        device.publish(f"device/{name}/x", b"x")
        heard = device.wait_message(lambda m: m.topic.startswith("device/"))
        assert heard.topic == f"device/{name}/x"
    finally:
        broker.close()


@pytest.mark.parametrize("all_options", [False, True])
def test_works(tmp_path, certificates, all_options):
    check_it_works(FromTemplate(tmp_path, certificates, all_options))


@pytest.mark.skipif(not IS_2_1, reason="of Mosquitto 2.1: scripts/test --brokers has one")
def test_works_on_2_1_and_nothing_is_deprecated(tmp_path, certificates):
    broker = FromTemplate(tmp_path, certificates, False, TEMPLATE_2_1)
    check_it_works(broker, "testProducttestDevice0")
    assert not [line for line in broker.log if "deprecated" in line]


def test_2_1_says_the_same_as_2_0():
    """But for what is plugins there."""
    lines = {text: {line for line in text.splitlines() if line and not line.startswith("#")}
             for text in (TEMPLATE, TEMPLATE_2_1)}
    identity = "plugin_opt_device_identity username:%p/%d"
    assert lines[TEMPLATE] - lines[TEMPLATE_2_1] == {
        "per_listener_settings false", "acl_file @ACL@", identity}
    assert lines[TEMPLATE_2_1] - lines[TEMPLATE] == {
        "plugin @PLUGINS@/mosquitto_acl_file.so", "plugin_opt_acl_file @ACL@",
        f"{identity},username:%p%d"}


class FromDebian(harness.Broker):
    """Debian's own configuration, and our file among what it includes."""

    def make_config(self):
        text = (CONF / "debian.conf").read_text()
        here = {"plugin_opt_admins alice": "plugin_opt_admins admin",
                "plugin_opt_download_url http://fw.example.com:8080":
                f"plugin_opt_download_url http://127.0.0.1:{self.http_port}",
                "plugin /usr/lib/mosquitto-ota/mosquitto_ota.so":
                f"plugin {harness.PLUGIN}\nplugin_opt_db_path {self.db_path}\n"
                f"plugin_opt_download_listen 127.0.0.1:{self.http_port}\n"
                "plugin_opt_acl_fallback allow"}
        for line, instead in here.items():
            assert f"\n{line}\n" in text
            text = text.replace(f"\n{line}\n", f"\n{instead}\n")
        (self.folder / "conf.d").mkdir()
        (self.folder / "conf.d" / "00-ota.conf").write_text(text)
        return (f"user {'root' if os.geteuid() == 0 else 'nobody'}\npersistence false\n"
                f"log_dest stderr\ninclude_dir {self.folder}/conf.d\n"
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")


def test_works_in_debians_broker(tmp_path):
    broker = FromDebian(tmp_path).start()
    try:
        broker.admin().call("createProduct", product="p")
        assert broker.device("p", "d").report_version("0.0.1")["result_code"] == 0
    finally:
        broker.close()


def test_nobody_without_a_certificate(tmp_path, certificates):
    broker = FromTemplate(tmp_path, certificates, False).start()
    context = ssl.create_default_context(cafile=certificates.ca)
    try:
        with socket.create_connection(("127.0.0.1", broker.tls_port)) as plain:
            # TLS 1.3 tells the refusal only when the client reads.
            with pytest.raises(ssl.SSLError, match="certificate required|CERTIFICATE_REQUIRED"):
                context.wrap_socket(plain, server_hostname="localhost").recv(1)
    finally:
        broker.close()


def test_certificates_name_who_they_are_for(tmp_path):
    made = harness.Certificates(tmp_path)
    certificate, _ = made.client("p/" + "d" * 48)
    show = ["-noout", "-subject", "-ext", "extendedKeyUsage"]
    command = ["openssl", "x509", "-in", certificate, *show]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"CN = p/{'d' * 48}" in said and "TLS Web Client Authentication" in said
    verify = ["openssl", "verify", "-CAfile", made.ca, certificate]
    subprocess.run(verify, check=True, capture_output=True)


@pytest.mark.parametrize("cn", ["../x", "a//b", "", "a b", "x" * 65])
def test_certificates_refuse_what_cannot_be(tmp_path, cn):
    made = harness.Certificates(tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        made.client(cn)
