# SPDX-License-Identifier: BSD-3-Clause
"""Who may touch what (device-protocol.md), whatever other plugins and ACLs say; identities, roles,
bridges; and that other people's traffic is as it was."""
import json
import subprocess
import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import dynsec
import harness
from harness import CONTROL, CONTROL_RESPONSE, ControlError
from steps import OLD, devices, ours, refused, round_trip, stock, upgrade

VERSION = {"type": "report_version", "report": {"version": OLD}}
CREATE = {"commands": [{"command": "createProduct", "product": "evil"}]}

OWN_FILTERS = ["$ota/update/p/d", "$ota/block/p/d/#"]
ROLE_FILTERS = [
    "$ota/event/#", "$ota/event/p", "$ota/event/p/d", "$ota/event/+/d", "$ota/report/#",
    "$ota/report/p/+", "$ota/report/p/d", "$share/g/$ota/event/#", "$share/g/$ota/report/p/d",
    CONTROL_RESPONSE, "$CONTROL/ota/#",
]
NOBODYS_FILTERS = [
    "$ota", "$ota/", "$ota/#", "$ota/+", "$ota/+/#", "$ota/+/p/d", "$ota/+/+/+", "$ota/update",
    "$ota/update/#", "$ota/update/p/#", "$ota/update/p/+", "$ota/update/+/d", "$ota/update/p/d/#",
    "$ota/update/p/d/", "$ota/update/p/d/+", "$ota/update/p/other", "$ota/update//d",
    "$ota/block/#", "$ota/block/p/+/#", "$ota/block/p/other/#", "$ota/block/p/other/+/+",
    "$ota/nothing", "$share/g/$ota/update/p/d", "$share/g/$ota/update/p/other",
    "$share/g/$ota/block/p/d/#", "$share/g/$ota/#", "$share/g/$ota/+/p/d",
    "$gateway/operation/p/d", "$gateway/operation/result/p/d", "$gateway/operation/#",
    "$gateway/#", "$gateway/+/p/d", "$share/g/$gateway/#",
]
NOBODYS_TOPICS = [
    "$ota", "$ota/update/p/d", "$ota/update/p/other", "$ota/block/p/d/1/0", "$ota/event/p/d",
    "$ota/event/p", "$ota/report", "$ota/report/p", "$ota/report/p/d/x", "$ota/report/p/other",
    "$ota/report//d", "$ota/nothing", "$gateway/operation/p/d", "$gateway/operation/result/p/d",
]


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


# -- subscribing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("v5", [False, True], ids=["v311", "v5"])
def test_a_device_subscribes_to_its_own_topics_alone(ota, scene, v5):
    one = ota.device("p", "d", subscribe=False, v5=v5)
    for topic in ROLE_FILTERS + NOBODYS_FILTERS:
        for qos in (0, 2):
            assert one.subscribe(topic, qos) >= 128, topic
    for topic in OWN_FILTERS:
        assert one.subscribe(topic, 1) == 1, topic
    one.report_version(OLD)
    scene.other.report_version("0.0.7")
    round_trip(one)
    assert {m.topic for m in ota_messages(one)} == {"$ota/update/p/d"}


def test_roles_listen_to_events_reports_and_control(ota, scene):
    for role in ("viewer", "op", "admin"):
        client = ota.client(role)
        for topic in ROLE_FILTERS:
            assert client.subscribe(topic) == 0, (role, topic)
        for topic in OWN_FILTERS + NOBODYS_FILTERS:
            assert client.subscribe(topic) >= 128, (role, topic)
        since = len(client.messages)
        scene.other.report_version(OLD)
        client.wait_message(lambda m: m.topic == "$ota/report/p/other", since=since)


@pytest.mark.parametrize("username", [None, "stranger", "p/nothing/else", "Admin", "q/d"])
def test_clients_without_role_or_device_get_nothing_and_no_answer(ota, scene, username):
    client = ota.client(username)
    for topic in OWN_FILTERS + ROLE_FILTERS + NOBODYS_FILTERS:
        assert client.subscribe(topic) >= 128, topic
    for topic in ("#", "+/#", "+/update/p/d", "+/+/+/+", "$share/g/#", "$share/g/+/event/p/d"):
        assert client.subscribe(topic) == 0, topic
    for qos in (0, 1, 2):
        client.publish(CONTROL, CREATE, qos)
    for topic in ("$ota/report/p/d", "$ota/report/p/other", *NOBODYS_TOPICS):
        client.publish(topic, VERSION)
    round_trip(client)
    assert not ota_messages(client)
    scene.assert_nothing_happened()
    scene.other.report_version("0.0.7")
    round_trip(client)
    assert not ota_messages(client)


# -- publishing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("v5", [False, True], ids=["v311", "v5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_device_publishes_its_own_report_alone(ota, scene, qos, v5):
    one = ota.device("p", "d", subscribe=False, v5=v5)
    for topic in [*NOBODYS_TOPICS, CONTROL, CONTROL_RESPONSE]:
        for retain in (False, True):
            one.publish(topic, CREATE if topic == CONTROL else VERSION, qos, retain)
    scene.assert_nothing_happened()
    one.publish(one.report_topic, VERSION, qos)
    scene.listener.wait_message(lambda m: m.topic == one.report_topic)


@pytest.mark.parametrize("user", ["admin", "viewer"])
def test_a_role_publishes_commands_and_nothing_else(ota, scene, user):
    client = ota.client(user)
    for topic in [*NOBODYS_TOPICS, "$ota/report/p/d"]:
        client.publish(topic, VERSION)
    client.publish(CONTROL, CREATE, retain=True)
    scene.assert_nothing_happened()


def test_a_role_that_is_too_low_is_told_and_stays_connected(ota, scene):
    for user in ("viewer", "op"):
        low = ota.admin(user)
        with pytest.raises(ControlError) as error:
            low.call("createProduct", product="evil")
        assert error.value.code == "forbidden"
        assert low.call("listProducts")
    scene.settle()
    scene.heard = scene._count()
    scene.assert_nothing_happened()


def test_an_answer_goes_to_the_asking_client_alone(ota, scene):
    second = ota.admin("admin")
    assert second.subscribe(CONTROL_RESPONSE) == 0
    scene.admin.call("getInfo")
    round_trip(second)
    assert not ota_messages(second)


def test_topic_aliases_open_nothing(ota, scene):
    one = ota.device("p", "d", v5=True)

    def publish(topic, alias, payload=VERSION):
        properties = Properties(PacketTypes.PUBLISH)
        properties.TopicAlias = alias
        mid = one.mqtt.publish(topic, json.dumps(payload), 1, properties=properties).mid
        one._wait_ack(mid)  # pylint: disable=protected-access

    publish("foreign/topic", 1)
    publish("$ota/report/p/other", 1)
    publish("", 1)
    publish("$ota/update/p/other", 2)
    publish("", 2)
    publish(CONTROL, 3, CREATE)
    publish("", 3, CREATE)
    scene.assert_nothing_happened()
    publish(one.report_topic, 1)
    publish("", 1)
    one.wait_for(lambda: len(one.updates("report_version_rsp")) == 2, what="two answers")


@pytest.mark.parametrize(
    "username, topic, payload",
    [
        ("p/d", "$ota/report/p/d", VERSION),
        ("p/d", "$ota/report/p/other", VERSION),
        ("p/d", "$ota/update/p/other", {"type": "update_firmware"}),
        ("p/d", "$ota/event/p/d", {"type": "task"}),
        ("admin", CONTROL, CREATE),
        ("admin", CONTROL_RESPONSE, {"responses": []}),
        ("stranger", CONTROL, CREATE),
        ("stranger", "$gateway/operation/p/d", {"type": "online"}),
    ],
)
def test_wills_are_refused(ota, scene, username, topic, payload):
    one = ota.client(username, client_id="testator", will=(topic, json.dumps(payload), 1))
    if username == "p/d":
        one.subscribe("$ota/update/p/d")
        round_trip(scene.listener)
        scene.heard = scene._count()
    mark = len(ota.log)
    one.drop()
    ota.wait_log("Client testator closed its connection", since=mark)
    scene.settle()
    said = [m for m in ota_messages(scene.listener)[scene.heard[0]:]
            if json.loads(m.payload).get("type") != "presence"]
    assert not said, said
    assert len(ota_messages(scene.other)) == scene.heard[1]
    assert [p["product"] for p in scene.admin.call("listProducts")["products"]] == ["p"]


@pytest.mark.parametrize("end", ["delay", "takeover"])
@pytest.mark.parametrize("username, topic", [("p/d", "$ota/report/p/d"), ("admin", CONTROL)])
def test_wills_that_come_without_a_disconnect_are_refused(ota, scene, username, topic, end):
    """A delayed one comes long after the end of its connection, that of a session which is taken
    over before it: only that no message follows tells them."""
    assert scene.listener.subscribe("$CONTROL/ota/#") == 0
    one = ota.client(username, client_id="testator", v5=True, connect=False)
    delay = Properties(PacketTypes.WILLMESSAGE)
    expiry = Properties(PacketTypes.CONNECT)
    expiry.SessionExpiryInterval = 60
    if end == "delay":
        delay.WillDelayInterval = 1
    one.mqtt.will_set(topic, json.dumps(VERSION), 1, properties=delay)
    one.mqtt.connect("127.0.0.1", ota.port, 60, clean_start=True, properties=expiry)
    one.mqtt.loop_start()
    one.wait_for(lambda: one.connected, what="connection")
    if end == "takeover":
        ota.client("stranger", client_id="testator", v5=True)
    one.drop()

    def counted():
        return scene.admin.call("getInfo")["refusedReports"].get("will")

    deadline = time.monotonic() + harness.TIMEOUT
    while not counted():
        assert time.monotonic() < deadline, "the will was not refused"
    scene.assert_nothing_happened()


def test_a_persistent_session_taken_over_gives_its_heir_nothing(ota, scene):
    first = ota.client("viewer", client_id="heirloom", clean=False)
    for topic in ("$ota/event/#", "$ota/report/#", CONTROL_RESPONSE):
        assert first.subscribe(topic, 1) == 1
    first.disconnect()
    scene.other.report_version("0.0.7")
    heir = ota.client("stranger", client_id="heirloom", clean=False)
    scene.other.report_version("0.0.8")
    round_trip(heir)
    assert not ota_messages(heir)
    heir.disconnect()
    again = ota.client("viewer", client_id="heirloom", clean=False)
    scene.other.report_version("0.0.9")
    again.wait_message(lambda m: m.topic == "$ota/report/p/other")


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
    somebodys = ("$ota/update/p/other", "$ota/block/p/other/#")
    for topic in ROLE_FILTERS + [f for f in NOBODYS_FILTERS if f not in somebodys]:
        assert anybody.subscribe(topic) >= 128, topic
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


@pytest.mark.parametrize("user", [None, "admin", "p/d"])
def test_an_outgoing_bridge_opens_nothing(broker, user):
    remote = broker(plugin=False)
    name = f"local_username {user}" if user else ""
    one = broker(config=f"""
connection bridge
address 127.0.0.1:{remote.port}
{name}
cleansession true
notifications false
restart_timeout 1
topic # in 1 $ota/ remote/ota/
topic # in 1 $CONTROL/ota/ remote/control/
topic # out 1 $ota/ remote/heard/
topic # out 1 $CONTROL/ota/ remote/answers/
topic done in 1
""")
    scene = Scene(one)
    sender = remote.client()
    done = one.client("viewer")
    assert done.subscribe("done") == 0
    remote.wait_log(r"remote/control/#")
    sender.publish("remote/control/v1", CREATE)
    for topic in ("update/p/d", "update/p/other", "event/p/d", "report/p/other", "report/p/x",
                  "block/p/other/1/0"):
        sender.publish(f"remote/ota/{topic}", VERSION)
    sender.publish("done", b"1")
    done.wait_message(lambda m: m.topic == "done")
    scene.assert_nothing_happened()
    sender.publish("remote/ota/report/p/d", VERSION)
    sender.publish("done", b"2")
    done.wait_message(lambda m: m.payload == b"2")
    assert ("d" in devices(scene.admin)) == (user == "p/d")
    assert not any("plugin line" in text for text in scene.admin.call("getInfo")["warnings"])


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


def test_an_acl_file_opens_none_of_our_topics(broker):
    one = broker(
        acl="pattern readwrite round-trip/#\n"
            "topic readwrite #\ntopic readwrite $ota/#\ntopic readwrite $CONTROL/#\n"
            "user alice\ntopic readwrite #\ntopic readwrite $ota/#\ntopic readwrite $CONTROL/#\n",
        options={"acl_fallback": None},
    )
    scene = Scene(one)
    for username in ("alice", None):
        client = one.client(username)
        for topic in OWN_FILTERS + ROLE_FILTERS + NOBODYS_FILTERS:
            assert client.subscribe(topic) >= 128, topic
        client.publish(CONTROL, CREATE)
        client.publish("$ota/report/p/other", {**VERSION, "report": {"version": "6"}})
    scene.assert_nothing_happened()


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
    assert not can_reach(defer, "alice", "alice", "any/thing")
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
    lines = "\n".join(
        [dynsec.config(tmp_path / "dynsec"), f"plugin {harness.PLUGIN}", "plugin_opt_admins admin",
         f"plugin_opt_db_path {tmp_path}/ota.db", "plugin_opt_download_listen off"]
    )
    one = broker(plugin=False, config=lines)
    rules = [("publishClientSend", "$ota/#"), ("publishClientSend", "$CONTROL/ota/#"),
             ("subscribePattern", "$CONTROL/ota/#"), ("publishClientReceive", "$CONTROL/ota/#")]
    dynsec.add(one, ["alice", "p/d", "admin"], rules + OPEN)
    admin = one.admin(password=dynsec.PASSWORD)
    admin.call("createProduct", product="p")
    alice = one.client("alice", password=dynsec.PASSWORD)
    alice.subscribe(CONTROL_RESPONSE)
    alice.publish(CONTROL, CREATE)
    for topic in NOBODYS_TOPICS + ["$ota/report/p/d"]:
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
