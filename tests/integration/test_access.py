# SPDX-License-Identifier: BSD-3-Clause
"""Identities, roles, and that other people's traffic is as it was. Who may touch what, whatever
other plugins and ACLs say: test_authorisation.py."""
import re
import subprocess

import pytest

import dynsec
import matrix
from common import IS_2_1
from harness import CONTROL, CONTROL_RESPONSE, ControlError
from steps import OLD, devices, ours, refused, round_trip, stock, upgrade

VERSION = {"type": "report_version", "report": {"version": OLD}}
CREATE = {"commands": [{"command": "createProduct", "product": "evil"}]}

OURS = [topic for topic in matrix.rows(matrix.SUBSCRIBE) if topic[0] == "$"]
TOPICS = list(matrix.rows(matrix.PUBLISH))


def ota_messages(client):
    return [m for m in client.messages if m.topic.startswith(("$ota", "$CONTROL", "$gateway"))]


class Scene:
    """A product with two devices, somebody who listens to all that a role may, and an admin."""

    def __init__(self, broker):
        self.broker = broker
        self.admin = broker.admin()
        stock(self.admin)
        self.other = broker.device("p", "other")
        self.other.report_version(OLD)
        self.listener = broker.client("viewer")
        for topic in ("$ota/event/#", "$ota/report/#", CONTROL_RESPONSE):
            assert self.listener.subscribe(topic) == 0
        self.settle()
        self.heard = self._count()

    def settle(self):
        round_trip(self.listener, self.other, self.admin)

    def _count(self):
        return len(ota_messages(self.listener)), len(ota_messages(self.other))

    def assert_nothing_happened(self, what=""):
        self.settle()
        assert self._count() == self.heard, what
        products = [p["product"] for p in self.admin.call("listProducts")["products"]]
        assert products == ["p"], what
        assert devices(self.admin)["other"]["version"] == OLD, what


@pytest.fixture
def scene(ota):
    return Scene(ota)


# -- names and sizes (who may do what: matrix.py) -------------------------------------------------


@pytest.mark.parametrize("username", ["p/nothing/else", "Admin", "q/d", "p/", "/d", "p"])
def test_a_name_that_is_nearly_one_opens_nothing(ota, scene, username):
    client = ota.client(username)
    for topic in OURS:
        assert client.subscribe(topic) >= 128, topic
    for topic in TOPICS:
        client.publish(topic, CREATE if topic == CONTROL else VERSION)
    round_trip(client)
    assert not ota_messages(client)
    scene.assert_nothing_happened()
    scene.other.report_version("0.0.7")
    round_trip(client)
    assert not ota_messages(client)


def test_size_and_oddities_dont_hurt(ota, scene):
    client = ota.client("p/d")
    for topic in ("$ota/report/p/d", CONTROL, "$ota/" + "x" * 5000, "$ota/report/" + "p" * 60000,
                  "$" + "x" * 200, "$CONTROL/ota", "$CONTROL/otaria/v1", "$otary/report/p/d"):
        client.publish(topic, b"\0" * 200_000)
    round_trip(client)
    scene.assert_nothing_happened()


# -- identity -------------------------------------------------------------------------------------


def test_a_client_id_is_no_identity(ota, scene):
    impostor = ota.client("stranger", client_id="p-d")
    impostor.publish("$ota/report/p/d", VERSION)
    assert refused(scene.admin) == {"identity": 1}


def test_joined_names_over_tls(broker, certificates):
    one = broker(options={"device_identity": "username:%p%d"}, tls=certificates)
    admin = one.admin()
    stock(admin)
    device = one.device("p", "d1", tls="pd1")
    assert device.report_version(OLD)["version"] == OLD
    upgrade(admin, device)
    device.run_upgrade()
    assert device.subscribe("$ota/update/p/d2") >= 128
    device.publish("$ota/report/p/d2", VERSION)
    assert list(devices(admin)) == ["d1"]
    slash = one.client("p/d1")
    slash.publish("$ota/report/p/d1", VERSION)
    assert refused(admin) == {"identity": 2}


def test_a_product_that_would_make_a_second_reading_is_refused(broker):
    one = broker(options={"device_identity": "username:%p/%d,username:%p%d"})
    admin = one.admin()
    stock(admin, "AB")
    for name in ("A", "ABC"):
        with pytest.raises(ControlError) as error:
            admin.call("createProduct", product=name)
        assert (error.value.code, error.value.field) == ("conflict", "product")
    stock(admin, "B")
    one.device("AB", "Cd", username="ABCd").report_version(OLD)
    one.device("B", "x", username="B/x").report_version(OLD)
    assert list(devices(admin, "AB")) == ["Cd"] and list(devices(admin, "B")) == ["x"]


def test_an_ambiguous_reading_is_refused(broker):
    one = broker()
    admin = one.admin()
    for name in ("AB", "ABC"):
        stock(admin, name)
    admin.close()
    one.options["device_identity"] = "username:%p%d"
    one.restart()
    admin = one.admin()
    for product, device in (("AB", "Cd"), ("ABC", "d")):
        client = one.device(product, device, username="ABCd", subscribe=False)
        assert client.subscribe(client.update_topic) >= 128
        client.publish(client.report_topic, VERSION)
    assert refused(admin) == {"identity": 2}
    one.device("AB", "xd", username="ABxd").report_version(OLD)
    assert list(devices(admin, "AB")) == ["xd"]


def test_a_joined_name_of_known_devices_has_one_reading(broker):
    """Without auto_register only devices that exist make a reading."""
    one = broker(options={"auto_register": "false"})
    admin = one.admin()
    for name in ("AB", "ABC"):
        stock(admin, name)
    admin.call("createDevice", product="ABC", device="d")
    admin.close()
    one.options["device_identity"] = "username:%p%d"
    one.restart()
    admin = one.admin()
    one.device("ABC", "d", username="ABCd").report_version(OLD)
    assert devices(admin, "ABC")["d"]["version"] == OLD


def test_identity_none_is_warned_about(broker):
    one = broker(options={"device_identity": "none"})
    assert [line for line in ours(one) if "device_identity is none" in line]
    admin = one.admin()
    stock(admin)
    anybody = one.device("p", "d", username="whoever")
    anybody.report_version(OLD)
    upgrade(admin, anybody)
    anybody.run_upgrade()
    assert any("device_identity" in text for text in admin.call("getInfo")["warnings"])
    devices_own = re.compile(r"\$(ota/update|gateway/operation/result)/p/\w+|\$ota/block/p/\w+/#")
    for topic in OURS:
        assert (anybody.subscribe(topic) < 128) == bool(devices_own.fullmatch(topic)), topic
    anybody.publish(CONTROL, CREATE)
    round_trip(anybody)
    assert [p["product"] for p in admin.call("listProducts")["products"]] == ["p"]
    anybody.publish("$ota/report/nothing/d", VERSION)
    assert refused(admin) == {"unknown_product": 1}
    connects = admin.connects
    one.restart()
    admin.wait_reconnected(connects)
    assert len([line for line in ours(one) if "device_identity is none" in line]) == 2


# -- roles ----------------------------------------------------------------------------------------


def test_the_roles_file_is_read_again_on_sighup(broker, tmp_path):
    roles = tmp_path / "roles"
    roles.write_text("# who\n\nmay viewer\nboss  admin\r\n")
    one = broker(options={"roles_file": roles})
    listener, boss, late = one.client("may"), one.admin("boss"), one.admin("late")
    assert listener.subscribe("$ota/event/#") == 0
    boss.call("createProduct", product="p")
    device = one.device("p", "d")
    device.report_version("1")
    listener.wait_message(lambda m: m.topic == "$ota/event/p/d")
    late.publish(CONTROL, {"commands": [{"command": "createProduct", "product": "q"}]})
    round_trip(late)
    assert not ota_messages(late)

    roles.write_text("late admin\n")
    mark = len(one.log)
    one.reload()
    one.wait_log("roles were read again", since=mark)
    late.call("createProduct", product="q")
    since = len(listener.messages)
    device.report_version("2")
    boss.publish(CONTROL, {"commands": [{"command": "createProduct", "product": "r"}]})
    round_trip(listener, boss)
    assert not [m for m in listener.messages[since:] if m.topic[0] == "$"], "its role is gone"
    assert [p["product"] for p in late.call("listProducts")["products"]] == ["q", "p"]
    assert one.admin("admin").call("listProducts"), "the lists of the options stay"

    roles.write_text("late admin\nnonsense\n")
    mark = len(one.log)
    one.reload()
    one.wait_log(r"the roles stay as they were.*line 2", since=mark)
    assert late.call("listProducts")


# -- bridges --------------------------------------------------------------------------------------


def test_a_retained_report_over_a_bridge_is_refused(broker):
    remote = broker(plugin=False)
    sender = remote.client()
    sender.publish("remote/report/p/d", VERSION, retain=True)
    one = broker()
    admin = one.admin()
    stock(admin)
    one.config = f"""
connection bridge
address 127.0.0.1:{remote.port}
local_username p/d
notifications false
topic # in 1 $ota/report/ remote/report/
"""
    connects = admin.connects
    one.restart()
    admin.wait_reconnected(connects)
    remote.wait_log(r"Received PUBACK from ")
    assert refused(admin) == {"retained": 1}
    assert not devices(admin)


# -- foreign traffic ------------------------------------------------------------------------------

def can_reach(broker, writer, reader, topic):
    """Whether what `writer` publishes comes to `reader`."""
    to, by = broker.client(reader), broker.client(writer)
    if to.subscribe(topic) >= 128:
        return False
    by.publish(topic, b"hello")
    by.publish(topic, b"hello")
    heard = any(m.topic == topic for m in to.messages)
    if not heard:
        try:
            to.wait_message(lambda m: m.topic == topic, 0.3)
            heard = True
        except AssertionError:
            pass
    to.close()
    by.close()
    return heard


def test_an_acl_file_still_decides_about_foreign_topics(broker):
    rows = (
        "user alice\ntopic readwrite open/#\ntopic deny open/secret/#\n"
        "user bob\ntopic read open/#\npattern readwrite own/%u/#\n"
    )
    with_ours = broker(acl=rows, options={"acl_fallback": None})
    without = broker(acl=rows, plugin=False)
    cases = [
        ("alice", "alice", "open/a"), ("alice", "bob", "open/a"), ("bob", "alice", "open/a"),
        ("alice", "alice", "open/secret/a"), ("alice", "alice", "closed/a"),
        ("alice", "alice", "own/alice/x"), ("bob", "alice", "own/alice/x"),
    ]
    decided = [can_reach(with_ours, *case) for case in cases]
    assert decided == [can_reach(without, *case) for case in cases]
    assert decided == [True, True, False, False, False, True, False]


def test_an_acl_file_is_read_again_and_decides_about_its_own(broker):
    one = broker(acl="pattern readwrite round-trip/#\nuser alice\ntopic readwrite a/#\n",
                 options={"acl_fallback": None})
    scene = Scene(one)
    assert can_reach(one, "alice", "alice", "a/x")
    (one.folder / "acl").write_text("pattern readwrite round-trip/#\nuser alice\n"
                                    "topic readwrite b/#\ntopic readwrite $ota/#\n")
    mark = len(one.log)
    one.reload()
    one.wait_log("roles were read again", since=mark)
    assert not can_reach(one, "alice", "alice", "a/x")
    assert can_reach(one, "alice", "alice", "b/x")
    assert one.client("alice").subscribe("$ota/event/#") >= 128
    scene.assert_nothing_happened()
    scene.other.report_version("0.0.7")


def test_an_acl_file_need_not_name_our_topics(broker):
    one = broker(acl="pattern readwrite round-trip/#\n", options={"acl_fallback": None})
    admin = one.admin()
    stock(admin)
    device = one.device("p", "d")
    device.report_version(OLD)
    upgrade(admin, device)
    device.run_upgrade()
    assert one.client("viewer").subscribe("$ota/event/#") == 0


def stock_clients(broker, topic, *more):
    """Whether mosquitto_sub hears what mosquitto_pub says."""
    place = ["-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-q", "1", *more]
    mark = len(broker.log)
    with subprocess.Popen(
        ["mosquitto_sub", *place, "-C", "1", "-W", "5"], stdout=subprocess.PIPE, text=True
    ) as listener:
        broker.wait_log("Sending SUBACK to", since=mark)
        subprocess.run(["mosquitto_pub", *place, "-m", "said"], check=True, timeout=10)
        return "said\n" in listener.stdout.readlines()


def test_the_stock_clients_work_as_before(broker):
    one = broker(acl="topic readwrite open/#\n", options={"acl_fallback": None})
    assert stock_clients(one, "open/a")
    assert stock_clients(one, "open/a", "-V", "mqttv5")
    free = broker()
    assert stock_clients(free, "anything/at all")


def test_without_acl_file_the_fallback_decides(broker):
    allow = broker()
    assert can_reach(allow, None, "bob", "any/thing") and can_reach(allow, "x", None, "$foreign/y")
    defer = broker(options={"acl_fallback": None})
    # 2.1 goes on as if our plugin weren't there
    assert can_reach(defer, "alice", "alice", "any/thing") == IS_2_1
    admin = defer.admin()
    stock(admin)
    assert defer.device("p", "d").report_version(OLD)


# -- with dynamic-security ------------------------------------------------------------------------


OPEN = [("publishClientSend", "open/#"), ("subscribePattern", "open/#"),
        ("publishClientSend", "round-trip/#"), ("subscribePattern", "round-trip/#")]


def test_dynamic_security_after_ours_decides_about_foreign_topics(broker, tmp_path):
    one = broker(config=dynsec.config(tmp_path / "dynsec"), options={"acl_fallback": None})
    boss = dynsec.add(one, ["alice", "p/d", "p/other", "admin", "viewer"], OPEN)
    login = {"password": dynsec.PASSWORD}
    alice = one.client("alice", **login)
    assert alice.subscribe("open/a") == 0 and alice.subscribe("closed/a") >= 128
    alice.publish("open/a", b"x")
    alice.wait_message(lambda m: m.topic == "open/a")
    assert alice.subscribe("$CONTROL/dynamic-security/v1/response") >= 128
    assert one.client("alice", password="wrong", connect=False).connect().connect_code != 0

    admin = one.admin(**login)
    stock(admin)
    device = one.device("p", "d", **login)
    device.report_version(OLD)
    upgrade(admin, device)
    device.run_upgrade()
    for client in (alice, boss):
        assert client.subscribe(CONTROL_RESPONSE) >= 128
        client.publish(CONTROL, CREATE)
        client.publish("$ota/report/p/d", {**VERSION, "report": {"version": "6"}})
    round_trip(alice)
    assert [p["product"] for p in admin.call("listProducts")["products"]] == ["p"]
    assert refused(admin) == {"identity": 2}
    assert not admin.call("getInfo")["warnings"]


def test_dynamic_security_before_ours_is_noticed_and_opens_no_command(broker, tmp_path):
    one = broker(plugin=False, config=dynsec.before_ours(tmp_path))
    rules = [("publishClientSend", "$ota/#"), ("publishClientSend", "$CONTROL/ota/#"),
             ("subscribePattern", "$CONTROL/ota/#"), ("publishClientReceive", "$CONTROL/ota/#")]
    dynsec.add(one, ["alice", "p/d", "admin"], rules + OPEN)
    admin = one.admin(password=dynsec.PASSWORD)
    admin.call("createProduct", product="p")
    alice = one.client("alice", password=dynsec.PASSWORD)
    alice.subscribe(CONTROL_RESPONSE)
    alice.publish(CONTROL, CREATE)
    for topic in TOPICS:
        if topic.startswith("$ota"):
            alice.publish(topic, VERSION)
    round_trip(alice)
    assert not ota_messages(alice)
    assert [p["product"] for p in admin.call("listProducts")["products"]] == ["p"]
    assert not devices(admin)
    assert one.wait_log("put the plugin line of mosquitto_ota.so first")
    assert any("plugin line first" in text for text in admin.call("getInfo")["warnings"])
    shadowed = admin.call("listAudit", action="shadowing")["entries"]
    assert {row["user"] for row in shadowed} == {"admin", "alice"}
    assert "commands" in {row["target"] for row in shadowed}
    one.device("p", "d", password=dynsec.PASSWORD, subscribe=False).report_version(OLD)
