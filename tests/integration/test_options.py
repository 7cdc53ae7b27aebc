# SPDX-License-Identifier: BSD-3-Clause
"""The options (design.md): defaults, good values, and that a wrong one stops the broker's start
with a line that names the option and what it may be."""
import hashlib
import re
import sqlite3
import time
from pathlib import Path

import pytest

from common import IS_2_1
from harness import BrokerDied, ControlError
from steps import NEW, OLD, devices, stock, upgrade

DEFAULT_DB = "/var/lib/mosquitto/ota/ota.db"

BOOLEAN = "true or false"
URL = "http:// or https://"


def number(least, most):
    return f"whole number from {least} to {most}"


NUMBERS = {
    "max_devices_per_product": number(1, 100000000),
    "max_report_rate": number(1, 10000),
    "upgrade_timeout": number(1, 604800),
    "notice_interval": number(1, 3600),
    "max_firmware_size": number(1, 1073741824),
    "max_firmware_per_product": number(1, 10000),
}
# What getInfo tells of them, for those who explain the rules beforehand.
SHOWN = {
    "upgrade_timeout": "upgradeTimeoutSeconds",
    "max_firmware_size": "maxFirmwareSize",
    "max_firmware_per_product": "maxFirmwarePerProduct",
}
# One reader for all of them: the whole list for one, the ends of its range for each.
BAD_NUMBERS = ["-1", "99999999999999999999", "1.5", "1s", "ten", "0x10", "+1", "1 2"]

WRONG = [
    *(("notice_interval", value, NUMBERS["notice_interval"]) for value in BAD_NUMBERS),
    *((name, str(value), words) for name, words in NUMBERS.items()
      for value in (int(words.split()[3]) - 1, int(words.split()[5]) + 1)),
    *(("auto_register", value, BOOLEAN) for value in ("yes", "True", "1", "on")),
    *(("synchronous", value, "normal\\|full") for value in ("off", "FULL", "normal|full")),
    *(("acl_fallback", value, "defer\\|allow") for value in ("deny", "Allow", "def")),
    *(("topic_prefix", value, "begins with \\$") for value in
      ("ota", "$", "$a/b", "$a+", "$#", "$CONTROL", "$SYS", "$share", "$gateway", "$" + "x" * 32,
       "$ä")),
    *(("device_identity", value, "username:%p/%d") for value in
      ("username", "clientid:%p/%d", "username:%d/%p", "None", "username:%p/%d;none",
       "username:%p/%d,", ",none", "username:%p/%d,,none", "username:%p/%d, none")),
    *(("download_url", value, URL) for value in
      ("fw.example.com", "ftp://x", "http://", "https:///x", "http://x/", "http://x/a?b",
       "http://x y", 'http://x"', "http://x\\y", "http://x/%41", "http://" + "x" * 249)),
    *(("download_listen", value, "IP:PORT") for value in
      ("8080", "127.0.0.1", ":8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:8080",
       "localhost:8080", "On", "127.0.0.1:80:80")),
]


def refusal(broker, **options):
    """The line that says why the broker doesn't start."""
    with pytest.raises(BrokerDied) as death:
        broker(options=options)
    lines = [
        line
        for line in str(death.value).split("\n")
        if line.startswith("mosquitto-ota:") and not line.endswith("is a new database")
    ]
    assert len(lines) == 1, death.value
    return lines[0]


def as_groups(rows):
    """One test an option, not one a value: a broker's start isn't free."""
    groups = {}
    for name, value, words in rows:
        groups.setdefault(name, []).append((value, words))
    return groups.items()


@pytest.mark.parametrize(
    "name, values", as_groups(WRONG), ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_wrong_value_stops_the_start(broker, name, values):
    for value, words in values:
        line = refusal(broker, **{name: value})
        assert name in line and re.search(words, line), f"{name} {value}: {line}"


@pytest.mark.parametrize(
    "name", ["nonsense", "notice_intervals", "Admins", "dbpath", "download_url2", "topic"]
)
def test_an_unknown_option_stops_the_start(broker, name):
    line = refusal(broker, **{name: "1"})
    assert re.search(rf"plugin_opt_{name} is not an option", line)


def test_an_unknown_option_is_told_what_there_is(broker):
    assert "notice_interval" in refusal(broker, notice_intervals="1")


@pytest.mark.parametrize("name", ["admins", "db_path", "notice_interval", "topic_prefix"])
def test_mosquitto_refuses_an_empty_option(broker, name):
    with pytest.raises(BrokerDied, match="(?i)empty"):
        broker(options={name: ""})


# -- files ----------------------------------------------------------------------------------------


def test_roles_that_cant_be_read_or_understood(broker, tmp_path):
    path = tmp_path / "roles"
    assert re.search(r"roles_file.*No such file", refusal(broker, roles_file=path))
    for text, line in [("a\n", 1), ("# x\na viewer\nb root\n", 3), ("a viewer more\n", 1)]:
        path.write_text(text)
        said = refusal(broker, roles_file=path)
        assert "roles_file" in said and f"line {line}" in said and "viewer, operator or" in said


def test_a_database_that_cant_be_used(broker, tmp_path):
    assert "db_path" in refusal(broker, db_path=tmp_path / "none" / "ota.db")
    assert "db_path" in refusal(broker, db_path=tmp_path)
    text = tmp_path / "text"
    text.write_text("this is no database at all, but some text that is long enough\n" * 20)
    assert "text" in refusal(broker, db_path=text)
    assert text.read_text().startswith("this is no database")
    foreign = tmp_path / "foreign.db"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE other (x)")
    db.commit()
    db.close()
    assert "db_path" in refusal(broker, db_path=foreign)


def test_two_brokers_cant_share_a_database(broker):
    first = broker()
    assert "db_path" in refusal(broker, db_path=first.db_path)
    first.stop()
    broker(options={"db_path": first.db_path})


def test_a_certificate_needs_its_key(broker, certificates):
    server = certificates.folder / "server"
    for name, end in (("http_certfile", "crt"), ("http_keyfile", "key")):
        assert re.search("http_certfile.*http_keyfile|http_keyfile.*http_certfile",
                         refusal(broker, **{name: f"{server}.{end}"}))


def test_a_download_url_is_needed_unless_downloads_are_off(broker):
    line = refusal(broker, download_url=None)
    assert "download_url" in line and "download_listen off" in line
    broker(options={"download_url": None, "download_listen": "off"})


# -- defaults -------------------------------------------------------------------------------------


@pytest.mark.skipif(Path(DEFAULT_DB).parent.exists(), reason="a database may be there")
def test_the_default_db_path(broker):
    assert DEFAULT_DB in refusal(broker, db_path=None)


def test_defaults(broker):
    """Those that can be seen; download_listen's port may be in use, notice_interval takes 10 s."""
    one = broker(options={"operators": None, "viewers": None, "acl_fallback": None,
                          "device_identity": None})
    admin = one.admin()
    admin.call("createProduct", product="p")
    sha = hashlib.sha256(b"x").hexdigest()
    announced = {"product": "p", "filename": "a.bin", "sha256": sha}
    with pytest.raises(ControlError) as error:
        admin.call("addFirmware", version="big", size=10_485_761, **announced)
    assert (error.value.code, error.value.field) == ("too_large", "size")
    admin.call("abortFirmware", upload=admin.call("addFirmware", version="big", size=10_485_760,
                                                  **announced)["upload"])
    for number_ in range(50):
        admin.add_firmware("p", f"v{number_}", b"x")
    with pytest.raises(ControlError) as error:
        admin.call("addFirmware", version="v50", size=1, **announced)
    assert error.value.code == "limit_exceeded"
    device = one.device("p", "d")  # topic_prefix $ota, username:%p/%d
    device.report_version(OLD)  # auto_register true
    task = upgrade(admin, device, "v1")
    device.wait_notice()
    now = admin.task(task)
    assert abs(now["deadlineAt"] - now["sentAt"] - 900_000) < 2000
    for user in ("op", "viewer"):
        assert one.client(user).subscribe("$ota/event/#") >= 128, "nobody has a role by default"
    denied = one.client("x").subscribe("foreign") >= 128
    assert denied != IS_2_1, "acl_fallback defer"  # 2.1 goes on as if our plugin weren't there


# -- good values ----------------------------------------------------------------------------------


def test_all_options_at_once(broker, tmp_path, certificates):
    server = certificates.folder / "server"
    roles = tmp_path / "roles"
    roles.write_text("third admin\n")
    one = broker(options={
        "db_path": tmp_path / "other.db", "topic_prefix": "$firm-ware_1",
        "admins": "first, second ,", "operators": "op,first", "viewers": "v w,viewer",
        "roles_file": roles, "device_identity": "username:%p%d,username:%p/%d",
        "auto_register": "false", "max_devices_per_product": 1, "upgrade_timeout": 60,
        "notice_interval": 3600, "max_firmware_size": 100, "max_firmware_per_product": 1,
        "http_certfile": f"{server}.crt", "http_keyfile": f"{server}.key",
        "download_url": "https://[::1]:8443/a/b~c", "synchronous": "full",
        "acl_fallback": "allow",
    })
    for name in ("first", "second", "third"):
        admin = one.admin(name)
        admin.call("createProduct", product=name)
        with pytest.raises(ControlError):
            admin.call("createProduct", product=name)
    assert one.admin("v w").call("listProducts")
    assert (tmp_path / "other.db").exists()
    with pytest.raises(ControlError) as error:
        admin.add_firmware("first", NEW, b"x" * 101)
    assert error.value.code == "too_large"
    admin.add_firmware("first", NEW, b"x" * 100)
    with pytest.raises(ControlError) as error:
        admin.add_firmware("first", "0.0.3", b"x")
    assert error.value.code == "limit_exceeded"
    admin.call("createDevice", product="first", device="d")
    device = one.device("first", "d", username="firstd", subscribe=False)
    device.report_topic = "$firm-ware_1/report/first/d"
    device.update_topic = "$firm-ware_1/update/first/d"
    assert device.subscribe("$ota/update/first/d") == 0, "a foreign topic here"
    assert device.subscribe(device.update_topic) == 0
    device.report_version(OLD)
    task = upgrade(admin, device)
    assert device.wait_notice()["url"].startswith("https://[::1]:8443/a/b~c/")
    now = admin.task(task)
    assert abs(now["deadlineAt"] - now["sentAt"] - 60_000) < 2000
    assert list(devices(admin, "first")) == ["d"]


@pytest.mark.parametrize(
    "least", [True, False], ids=["least", "most"]
)
def test_the_ends_of_the_ranges(broker, least):
    values = {name: words.split()[3 if least else 5] for name, words in NUMBERS.items()}
    one = broker(options={**values, "topic_prefix": "$x" if least else "$" + "x" * 31,
                          "download_url": "http://" + "x" * 248, "auto_register": "true",
                          "device_identity": "none" if least else "username:%p%d"})
    info = one.admin().call("getInfo")
    assert info["devices"] == 0
    assert {name: str(info[key]) for name, key in SHOWN.items()} == {n: values[n] for n in SHOWN}


@pytest.mark.parametrize("seconds", [1, 2])
def test_the_notice_interval(broker, seconds):
    one = broker(options={"notice_interval": seconds})
    admin = one.admin()
    stock(admin)
    device = one.device("p", "d")
    device.report_version(OLD)
    upgrade(admin, device)
    began = time.monotonic()
    device.wait_for(lambda: len(device.updates("update_firmware")) == 2, what="second notice")
    assert seconds - 0.1 < time.monotonic() - began < seconds + 0.7
