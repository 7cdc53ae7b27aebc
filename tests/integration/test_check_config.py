# SPDX-License-Identifier: BSD-3-Clause
"""otactl check-config: each rule finds what it is for, at its line; a good file has no finding; and
what it says about Mosquitto is what Mosquitto does."""
import json
import os
import pwd
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

import harness
from common import DYNSEC, IS_2_1
from test_conf import TEMPLATE, TEMPLATE_2_1, filled, known_options

pytestmark = pytest.mark.slow_asan  # what the plugin does here has unit tests

# The broker becomes whoever runs the tests: their files are this user's.
ME = pwd.getpwuid(os.geteuid()).pw_name

GOOD = """user {me}
plugin {plugin}
plugin_opt_db_path {folder}/ota.db
plugin_opt_admins alice
plugin_opt_download_url http://fw.example.com:8080
acl_file {folder}/acl
password_file {folder}/passwords
allow_anonymous false
set_tcp_nodelay true
listener 1883 127.0.0.1
"""


@pytest.fixture(name="folder")
def folder_with_files(tmp_path):
    (tmp_path / "acl").write_text("pattern readwrite device/%u/#\n")
    (tmp_path / "passwords").write_text("")
    return tmp_path


def text_of(folder, changes=(), more="", before=""):
    """The good file, with regular expressions replaced in it, and more lines before and after."""
    text = GOOD.format(me=ME, plugin=harness.PLUGIN, folder=folder)
    for old, new in changes:
        changed = re.sub(old, str(new), text, flags=re.MULTILINE)
        assert changed != text, old
        text = changed
    return before + text + more


def check(path, *options, code=0):
    run = subprocess.run([harness.OTACTL, "check-config", path, "--json", *options], text=True,
                         capture_output=True, check=False, timeout=harness.TIMEOUT)
    assert run.returncode == code, run.stdout + run.stderr
    return json.loads(run.stdout)["findings"] if run.stdout else run.stderr


def written(folder, text):
    path = folder / "mosquitto.conf"
    path.write_text(text)
    return path


def line_of(text, pattern):
    """The number of the last line that the pattern is found in; 0: the whole file."""
    return max((n for n, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)),
               default=0)


def test_a_good_file_has_no_finding(folder):
    assert check(written(folder, text_of(folder)), "--strict") == []
    run = subprocess.run([harness.OTACTL, "check-config", folder / "mosquitto.conf"], text=True,
                         capture_output=True, check=True)
    assert run.stdout == "nothing is wrong with this configuration\n" and not run.stderr


@pytest.mark.parametrize("template", [TEMPLATE, TEMPLATE_2_1], ids=["2.0", "2.1"])
def test_the_templates_have_no_finding(tmp_path, certificates, template):
    text = filled(tmp_path, certificates, 8883, 8080, template)
    (tmp_path / "console-passwords").write_text("")
    text = re.sub("^user .*$", f"user {ME}", text, flags=re.MULTILINE)
    text = text.replace("http://127.0.0.1:8080", "http://fw.example.com:8080")
    assert check(written(tmp_path, text), "--strict") == []


VENDOR = "plugin_opt_device_auth vendor\n"

# what is changed, what is added, the rule, the level, where it is found
CASES = {
    "no plugin": ([(r"^plugin .*$", "")], "", "no_plugin", "error", ""),
    "plugin missing": ([(r"^plugin .*$", "plugin /x/mosquitto_ota.so")], "", "file", "error",
                       "^plugin "),
    "plugin twice": ([], f"plugin {harness.PLUGIN}\n", "plugin_twice", "error", "^plugin "),
    "stray option": ([(r"^plugin (.*)\n(.*)$", r"\2\nplugin \1")], "", "stray_option", "error",
                     "db_path"),
    "unknown option": ([], "plugin_opt_admin alice\n", "plugin_option", "error", "admin alice"),
    "bad number": ([], "plugin_opt_notice_interval 0\n", "plugin_option", "error", "notice"),
    "bad word": ([], "plugin_opt_acl_fallback deny\n", "plugin_option", "error", "fallback"),
    "bad boolean": ([], "plugin_opt_auto_register yes\n", "plugin_option", "error", "auto_reg"),
    "no value": ([], "plugin_opt_operators\n", "plugin_option", "error", "operators"),
    "url missing": ([(r"^plugin_opt_download_url .*$", "")], "", "plugin_option", "error",
                    "^plugin "),
    "bad url": ([(r"http://fw.*$", "fw.example.com")], "", "plugin_option", "error", "^plugin_opt_download_url"),
    "half a pair": ([], "plugin_opt_http_certfile {folder}/acl\n", "plugin_option", "error",
                    "http_certfile"),
    "option twice": ([], "plugin_opt_admins bob\n", "option_twice", "warning", "admins bob"),
    "nobody is admin": ([(r"^plugin_opt_admins.*$", "")], "", "roles", "warning", "^plugin "),
    "identity none": ([], "plugin_opt_device_identity none\n", "device_identity", "warning",
                      "^plugin_opt_device_identity"),
    "downloads off": ([(r"download_url .*$", "download_listen off")], "", "downloads", "note",
                      "download_listen"),
    "url of this machine": ([(r"fw.example.com", "localhost")], "", "download_url", "warning",
                            "download_url"),
    "database folder": ([(r"^plugin_opt_db_path .*$", "plugin_opt_db_path /nowhere/ota.db")], "",
                        "file", "error", "db_path"),
    "roles file": ([], "plugin_opt_roles_file /nowhere/roles\n", "file", "error", "^plugin_opt_roles_file"),
    "signing key": ([], "plugin_opt_signing_keys {folder}/acl,/nowhere/k.pub\n", "file", "error",
                    "signing_keys"),
    "backup folder": ([], "plugin_opt_backup_dir /nowhere\n", "file", "error", "backup_dir"),
    "download port taken": ([], "plugin_opt_download_listen 0.0.0.0:1883\n", "port", "error",
                            "download_listen"),
    "no port": ([], "plugin_opt_download_listen localhost\n", "port", "error", "download_listen"),
    "unknown setting": ([], "set_tcp_nodely true\n", "unknown_setting", "error", "nodely"),
    "tab": ([(r"^allow_anonymous false", "allow_anonymous\tfalse")], "", "tab", "error", "anonym"),
    "bad bool": ([(r"^allow_anonymous false", "allow_anonymous no")], "", "bad_value", "error",
                 "anonym"),
    "bad count": ([], "max_connections many\n", "bad_value", "error", "many"),
    "empty value": ([], "log_dest\n", "bad_value", "error", "log_dest"),
    "newer setting": ([], "enable_control_api true\n", "newer_setting", "warning", "control_api"),
    "deprecated": ([], "port 1884\nbind_address 127.0.0.1\n", "deprecated", "warning", "bind_"),
    "per listener": ([(r"\A", "per_listener_settings true\n")], "", "per_listener_settings",
                     "error", "^per_lis"),
    "per listener, late": ([], "per_listener_settings true\n", "per_listener_settings", "error",
                           "^per_lis"),
    "no nodelay": ([(r"^set_tcp_nodelay.*$", "")], "", "nodelay", "warning", ""),
    "nodelay off": ([(r"^set_tcp_nodelay.*$", "set_tcp_nodelay false")], "", "nodelay", "warning",
                    "nodelay"),
    "packets": ([], "max_packet_size 4096\n", "packet_size", "error", "max_packet"),
    "no acl_file": ([(r"^acl_file.*$", "")], "", "acl_file", "error", "^plugin "),
    "acl_file twice over": ([], "plugin_opt_acl_fallback allow\n", "acl_file", "warning",
                            "^acl_file"),
    "acl_file missing": ([(r"^acl_file.*$", "acl_file /nowhere/acl")], "", "file", "error",
                         "^acl_file"),
    "no login": ([(r"^allow_anonymous.*$", "allow_anonymous true"), (r"^password_file.*$", "")],
                 "", "login", "error", "^allow_an"),
    "no listener": ([(r"^listener.*$", "")], "", "no_listener", "warning", ""),
    "listener port": ([(r"^listener.*$", "listener 70000 127.0.0.1")], "", "port", "error",
                      "^listener"),
    "listeners collide": ([], "listener 1883\n", "port", "error", "^listener 1883$"),
    "clear text": ([(r"^listener.*$", "listener 1883")], "", "clear_text", "warning", "^listener"),
    "no key": ([], "certfile {tls}/server.crt\n", "tls", "error", "certfile"),
    "no authority": ([], "certfile {tls}/server.crt\nkeyfile {tls}/server.key\n"
                         "require_certificate true\n", "tls", "error", "require"),
    "certificate missing": ([], "certfile /nowhere/a.crt\nkeyfile {tls}/server.key\n", "file",
                            "error", "certfile"),
    "wrong key": ([], "certfile {tls}/server.crt\nkeyfile {tls}/ca.key\n", "certificate", "error",
                  "keyfile"),
    "key's folder": ([], VENDOR + "plugin_opt_secret_keyfile /nowhere/k\n", "file", "error",
                     "secret_keyfile"),
    "key beside the database": ([], VENDOR + "plugin_opt_secret_keyfile {folder}/k\n",
                                "device_auth", "warning", "secret_keyfile"),
    "no key of ours": ([], VENDOR + "plugin_opt_secret_keyfile {tls}/server.crt\n", "device_auth",
                       "error", "secret_keyfile"),
    "no key file": ([], VENDOR, "plugin_option", "error", "^plugin "),
    "nobody else logs in": ([(r"^password_file.*$", "")],
                            VENDOR + "plugin_opt_secret_keyfile {tls}/k\n", "device_auth", "error",
                            "^plugin_opt_device_auth"),
    "only devices": ([], VENDOR + "plugin_opt_secret_keyfile {tls}/k\n"
                                  "plugin_opt_device_auth_only true\n", "device_auth", "warning",
                     "device_auth_only"),
    "psk without names": ([(r"^listener.*$", r"\g<0>\npsk_hint ota")],
                          VENDOR + "plugin_opt_secret_keyfile {tls}/k\n", "device_auth",
                          "warning", "psk_hint"),
    "include_dir": ([], "include_dir /nowhere\n", "include_dir", "error", "include_dir"),
}


# What comes with it, since one mistake may be two.
BESIDE = {
    "no plugin": {"stray_option"},
    "stray option": {"file"},
    "deprecated": {"clear_text", "port"},
    "listeners collide": {"clear_text"},
}


@pytest.mark.parametrize("case", CASES)
def test_finds(folder, certificates, case):
    changes, more, rule, level, where = CASES[case]
    more = more.replace("{folder}", str(folder)).replace("{tls}", str(certificates.folder))
    if "plugin_opt" in more:  # below the plugin's line
        changes, more = [*changes, (r"^plugin_opt_admins.*\n", rf"\g<0>{more}")], ""
    text = text_of(folder, changes, more)
    path = written(folder, text)
    found = check(path, code=5 if level == "error" else 0)
    place = f"{path}:{line_of(text, where)}" if where else str(path)
    assert (rule, level, place) in [(f["rule"], f["level"], f["where"]) for f in found], found
    for finding in found:
        assert len(finding["finding"]) > 15 and len(finding["remedy"]) > 5
    assert {f["rule"] for f in found} - BESIDE.get(case, set()) == {rule}, found
    if level == "warning":
        check(path, "--strict", code=5)


@pytest.fixture
def public():
    """A folder that everybody on the machine can enter: pytest's own can't be."""
    with tempfile.TemporaryDirectory(prefix="otactl-public-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "acl").write_text("pattern readwrite device/%u/#\n")
        (path / "passwords").write_text("")
        yield path


def rules(found):
    return [(f["rule"], f["level"]) for f in found]


def test_finds_a_plugin_that_is_loaded_before_ours(folder):
    dynsec = DYNSEC
    text = text_of(folder, [(r"^plugin (.*)$", rf"plugin {dynsec}\nplugin_opt_config_file /x\n\g<0>")])
    (found,) = check(written(folder, text), code=5)
    assert found["rule"] == "plugin_order" and dynsec in found["finding"]
    assert found["where"].endswith(f":{line_of(text, '^plugin .*mosquitto_ota')}")
    after = text_of(folder, [(r"^acl_file.*$", f"plugin {dynsec}")])
    assert check(written(folder, after), "--strict") == []  # that one decides instead of acl_file


def test_reads_what_include_dir_names_in_order(folder):
    (folder / "conf.d").mkdir()
    text = text_of(folder, [(r"^plugin(.*\n)+?(?=acl)", "include_dir {0}\n".format(folder / "conf.d"))])
    path = written(folder, text)
    assert rules(check(path, code=5)) == [("no_plugin", "error")]
    lines = GOOD.format(me=ME, plugin=harness.PLUGIN, folder=folder).splitlines()[1:5]
    (folder / "conf.d" / "b.conf").write_text("# ours\n" + "\n".join(lines) + "\n")
    (folder / "conf.d" / "ignored.txt").write_text("nonsense\n")
    assert check(path, "--strict") == []
    (folder / "conf.d" / "c.conf").write_text("\n\nplugin_opt_viewers bob\n")
    (found,) = check(path, code=5)
    assert found["rule"] == "stray_option" and found["where"] == f"{folder}/conf.d/c.conf:3"
    (folder / "conf.d" / "c.conf").write_text(f"include_dir {folder}\n")
    assert rules(check(path, code=5)) == [("include_dir", "error")]


@pytest.mark.parametrize("name, mode, option", [
    ("roles", 0o666, "plugin_opt_roles_file {}"), ("key.pub", 0o666, "plugin_opt_signing_keys {}"),
    ("ota.db", 0o644, None), (".", 0o777, None),
])
def test_finds_permissions_that_others_should_not_have(public, name, mode, option):
    folder, path = public, public / name
    if name != ".":
        path.touch()
    more = f"\\g<0>{option.format(path)}\n" if option else "\\g<0>"
    text = text_of(folder, [(r"^plugin_opt_admins alice\n", more)]) if option else text_of(folder)
    path.chmod(mode & ~0o22 & ~0o44 if name == "ota.db" else mode & ~0o22)
    assert check(written(folder, text), "--strict") == []
    path.chmod(mode)
    assert rules(check(written(folder, text))) == [("permissions", "warning")]
    if name != ".":
        folder.chmod(0o700)  # nobody gets there
        assert check(written(folder, text), "--strict") == []


def test_finds_private_keys_that_others_can_read(public, certificates):
    folder = public
    (folder / "key").write_bytes((certificates.folder / "server.key").read_bytes())
    pair = f"certfile {certificates.folder}/server.crt\nkeyfile {folder}/key\n"
    (folder / "key").chmod(0o600)
    assert check(written(folder, text_of(folder, more=pair)), "--strict") == []
    (folder / "key").chmod(0o644)
    assert rules(check(written(folder, text_of(folder, more=pair)))) == [("permissions", "warning")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's files are another user's")
def test_finds_what_the_brokers_own_user_cannot_reach(folder):
    text = text_of(folder, [(r"^user .*\n", "")])  # mosquitto, then
    folder.chmod(0o700)
    found = check(written(folder, text), code=5)
    assert {f["rule"] for f in found} == {"file"} and "mosquitto" in found[0]["finding"]


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("days, level", [(5, "warning"), (-1, "error")])
def test_finds_certificates_that_end(folder, days, level):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=x", "-keyout", folder / "k", "-out", folder / "c", "-days", max(days, 1))
    if days < 0:
        openssl("req", "-new", "-key", folder / "k", "-subj", "/CN=x", "-out", folder / "r")
        (folder / "ca").mkdir()
        (folder / "ca" / "index").touch()
        (folder / "ca" / "serial").write_text("01")
        (folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/ca/index\nserial={folder}/ca/serial\n"
            f"new_certs_dir={folder}/ca\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        openssl("ca", "-batch", "-config", folder / "ca.cnf", "-selfsign", "-keyfile", folder / "k",
                "-in", folder / "r", "-out", folder / "c", "-notext",
                "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    (folder / "k").chmod(0o600)
    pair = f"certfile {folder}/c\nkeyfile {folder}/k\n"
    found = check(written(folder, text_of(folder, more=pair)), code=5 if level == "error" else 0)
    assert rules(found) == [("certificate", level)]


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path):
    assert "cannot read" in check(tmp_path / "none.conf", code=2)


def test_says_it_to_people_with_line_rule_and_remedy(folder):
    path = written(folder, text_of(folder, [(r"^acl_file.*\n", "")]))
    run = subprocess.run([harness.OTACTL, "check-config", path], text=True, capture_output=True,
                         check=False)
    assert run.returncode == 5 and run.stderr == "otactl: 1 error, 0 warnings\n"
    first, what, remedy = run.stdout.splitlines()
    assert first == f"error acl_file  {path}:2"
    assert "denies all topics but ours" in what and remedy.startswith("  → acl_file FILE")


# -- Mosquitto itself


@pytest.mark.parametrize("lines, starts", [
    ("set_tcp_nodely true", False), ("persistence yes", False), ("persistence\ttrue", False),
    ("log_dest", False), ("plugin_opt_db_path x", False), ("include_dir /nowhere", False),
    ("allow_anonymous false\nper_listener_settings true", False),
    ("allow_anonymous true\nper_listener_settings false", True), ("retry_interval 3", True), ("persistence 1", True), ("  persistence   true  ", True),
    ("max_connections many", not IS_2_1),
])
def test_mosquitto_agrees(broker, tmp_path, lines, starts):
    """Where the broker doesn't start an error is found, and the other way round."""
    path = tmp_path / "some.conf"
    lines += f"\npersistence_location {tmp_path}/"
    path.write_text(lines + "\n")
    found = [f for f in check(path, code=5) if f["rule"] not in ("no_plugin", "bad_value") or
             (f["rule"] == "bad_value" and (IS_2_1 or "many" not in f["finding"]))]
    assert any(f["level"] == "error" for f in found) != starts, found
    if starts:
        broker(plugin=False, config=lines)
    else:
        with pytest.raises(harness.BrokerDied):
            broker(plugin=False, config=lines)


def test_every_option_of_the_plugin_is_known(folder):
    """Each with its default: no finding says that it is unknown."""
    lines = "".join(f"plugin_opt_{n} {v}\n" for n, v in known_options().items()
                    if v and n not in ("db_path", "download_url"))
    text = text_of(folder, [(r"^plugin_opt_admins alice\n", "\\g<0>" + lines)])
    assert check(written(folder, text), "--strict") == []
    for name in known_options():
        wrong = text_of(folder, [(r"^plugin_opt_admins alice\n", f"\\g<0>plugin_opt_{name}x y\n")])
        (found,) = check(written(folder, wrong), code=5)
        assert f"plugin_opt_{name}x is not an option" in found["finding"]
