# SPDX-License-Identifier: BSD-3-Clause
"""Plays matrix.py against a running broker and tells what came out otherwise.

Each message that is tried carries a mark of its own, a version `i00042`; in the end it is looked
up who heard which mark and what the plugin kept of it. So nothing has to be waited for between two
tries, and a broker is started once for all of them.
"""
import itertools
import json
import re

from paho.mqtt.client import topic_matches_sub

import matrix
from clients import CONTROL, CONTROL_RESPONSE
from common import BROKER_VERSION
from packets import Packets
from steps import NEW, OLD, stock

PUBLISH, SUBSCRIBE = matrix.rows(matrix.PUBLISH), matrix.rows(matrix.SUBSCRIBE)
SPACES = {"ota": "$ota/", "control": "$CONTROL/ota/", "gateway": "$gateway/"}
FOR_ROLES = ("$ota/event", "$ota/report", "$CONTROL/ota")  # a listener with a role may hear these
GATEWAY, GATEWAY_RESULT = "$gateway/operation/", "$gateway/operation/result/"
ANSWER = b'{"type":"online","payload":'  # the plugin's, without a space
OWN = ("$ota/update/p/d", "$ota/update/p/other", GATEWAY_RESULT + "p/d")  # what d alone may hear
MARK = re.compile(rb"i\d{5}")
OLDER, QUEUED, LIVE = "retained-before", "while-away", "while-there"  # versions, too
SESSION = 600


def message(topic, mark):
    """What is published there. As a command it leaves something behind for every role: an answer,
    a batch, a product."""
    if topic == CONTROL:
        commands = [
            {"command": "getInfo", "correlationData": mark},
            {"command": "createBatch", "product": "p", "version": NEW, "draft": True, "name": mark},
            {"command": "createProduct", "product": mark},
        ]
        return {"commands": commands}
    if topic.startswith(GATEWAY):
        named = {"product_id": "p", "device_name": mark}
        return {"type": "online", "payload": {"devices": [named]}}
    return {"type": "report_version", "report": {"version": mark}}


def is_private(topic, payload):
    """What the plugin itself sends to one client id: its JSON has no spaces, ours has."""
    if topic == CONTROL_RESPONSE:
        return payload.startswith(b'{"responses"')
    return topic.startswith(("$ota/update/", GATEWAY_RESULT)) and b'"type": ' not in payload


def leave_retained(port):
    """Retained messages on all our topics, in a broker that hasn't our plugin yet."""
    for topic in PUBLISH:
        will = {"topic": topic, "payload": message(topic, OLDER), "retain": True}
        Packets(port, f"before-{topic}", will=will).drop()
    listener = Packets(port, "listener")
    for topic in PUBLISH:
        assert listener.subscribe(topic, 0) == 0
    listener.settle()
    # later ones than 2.0.11 let nobody in whose will is a command
    later = BROKER_VERSION > (2, 0, 11)
    left = {topic for topic in PUBLISH if not (later and topic.startswith("$CONTROL/"))}
    assert {topic for topic, _ in listener.heard} == left
    listener.close()


def bridges(remote, tag):
    """The lines of an outgoing bridge for everybody."""
    lines = []
    for who, name in matrix.WHO.items():
        lines += [
            f"connection {tag}-{who}", f"address 127.0.0.1:{remote.port}", "cleansession true",
            "notifications false", "restart_timeout 1", f"remote_clientid {tag}-{who}",
            f"topic done-{who} in 1 bridged/ {tag}/",
        ]
        lines += [f"local_username {name}"] if name else []
        for word, space in SPACES.items():
            lines += [
                f"topic # in 1 {space} {tag}/{who}/{word}/",
                f"topic # out 1 {space} {tag}/heard/{who}/{word}/",
            ]
    return "\n".join(lines) + "\n"


class Stage:
    """A broker in one of matrix.SETUPS, with a product, two devices, and people who listen."""

    def __init__(self, broker, others, with_password=False, remote=None, tag=None):
        """others: what another plugin decides before ours."""
        self.broker, self.others, self.with_password = broker, others.split(), with_password
        self.remote, self.tag = remote, tag
        self.tried = {}  # mark: (topic, way, who)
        self.wrong = []
        self._numbers = itertools.count(1)
        self._joined = []  # (who, connection)
        self._subscribers = []  # (filter, column, who, SUBACK's code, connection)
        self._heirs = []  # (filter, who, connection)
        self.admin = broker.admin(password=matrix.PASSWORD if with_password else None)
        stock(self.admin)
        self.devices = {"d": self.join("d", "device-d"), "other": self._join("p/other", "device-o"),
                        "third": self._join("p/third", "device-t")}
        for name, device in self.devices.items():
            for topic in (f"$ota/update/p/{name}", f"$ota/block/p/{name}/#"):
                assert device.subscribe(topic, 0) == 0
            self._report(name, OLD)
        self.admin.call("bindDevice", product="p", device="other", gatewayProduct="p", gateway="d")
        self.listener = self.join("v", "listener")
        self.ears = [*self.devices.values(), self.listener]
        for topic in ("$ota/event/#", "$ota/report/#", "$CONTROL/ota/#"):
            assert self.listener.subscribe(topic, 0) == 0
        if "subscribe" in self.others:
            self.ears.append(self.join("n", "spy"))
            for topic in ("$ota/#", "$CONTROL/#", "$gateway/#"):
                assert self.ears[-1].subscribe(topic, 0) == 0
        self.heard_bridges = self._listen_to_bridges() if remote else None
        self.settle()

    def _join(self, name, client_id, **settings):
        password = matrix.PASSWORD if self.with_password and name else None
        return self._keep(Packets(self.broker.port, client_id, name, password, **settings))

    def _keep(self, one):
        self._joined.append(("-", one))
        return one

    def join(self, who, client_id, **settings):
        one = self._join(matrix.WHO[who], client_id, **settings)
        self._joined[-1] = (who, one)
        return one

    def close(self):
        for _, one in self._joined:
            one.drop()

    def settle(self):
        for ear in self.ears:
            ear.settle()

    def _report(self, device, version):
        topic = f"$ota/report/p/{device}"
        one = self.devices[device]
        assert one.wait_ack(one.publish(topic, message(topic, version))) < 128

    def differ(self, *what):
        self.wrong.append(" ".join(str(word) for word in what))

    # -- subscribing

    def play_subscriptions(self):
        """All rows of SUBSCRIBE."""
        for topic, who in itertools.product(SUBSCRIBE, matrix.WHO):
            self._leave_session(topic, who)
        self._sharers = {who: self.join(who, f"sharer-{who}") for who in matrix.WHO}
        for topic, who in itertools.product(SUBSCRIBE, matrix.WHO):
            for v5 in (True, False):
                one = self.join(who, f"subscriber-{next(self._numbers)}", v5=v5)
                self._note(topic, "exact", who, one.subscribe(topic, 0), one)
            shared = f"$share/g{next(self._numbers)}/{topic}"
            one = self._sharers[who]
            self._note(topic, "shared", who, one.subscribe(shared, 0), one)
        self._cause_messages(QUEUED)
        for topic, who in itertools.product(SUBSCRIBE, matrix.WHO):
            heir = self.join(who, f"session {topic} {who}", clean=False, expiry=SESSION)
            self._heirs.append((topic, who, heir))
        self._cause_messages(LIVE)
        for *_, connection in self._subscribers + self._heirs:
            connection.settle()
        for *_, connection in self._subscribers + self._heirs:
            connection.drop()  # hundreds of them would hear each will, too

    def _note(self, *row):
        self._subscribers.append(row)

    @staticmethod
    def _owner(topic):
        return (matrix.expected(SUBSCRIBE[topic]["exact"], False).strip(".") or "v")[0]

    def _leave_session(self, topic, who):
        """Somebody who may subscribes, and leaves a session behind; who may nobody: he tries."""
        owner = self.join(self._owner(topic), f"session {topic} {who}", expiry=SESSION)
        owner.subscribe(topic)
        owner.close()

    def _cause_messages(self, version):
        """A firmware event, a notice, answers, reports, version events; all name the version."""
        self.admin.add_firmware("p", version)
        answer = self.admin.call("upgradeDevice", product="p", device="d", version=version)
        self.admin.call("cancelTask", task=answer["task"]["task"])
        for name in self.devices:
            self._report(name, version)
        self.settle()
        self.admin.call("getInfo")

    def judge_subscriptions(self):
        for topic, column, who, code, one in self._subscribers:
            let_in = self._let_in(topic, column, who)
            if (code < 128) != let_in:
                self.differ(f"{who} subscribes to {topic} ({column}): SUBACK {code}")
            if column == "exact":
                self._check_heard(topic, column, who, one, LIVE, self._public(who) * let_in)
                kept = self._cell(SUBSCRIBE[topic]["retained"], "receive") == "!" and let_in
                self._check_heard(topic, "retained", who, one, OLDER, list(PUBLISH) * kept)
        for topic, who, one in self._heirs:
            cell = matrix.expected(SUBSCRIBE[topic]["heir"], bool(self.others))
            hears = who in cell or cell == "!" and self._let_in(topic, "exact", self._owner(topic))
            for version in (QUEUED, LIVE):
                self._check_heard(topic, "heir", who, one, version, self._public(who) * hears)
        for who, one in self._sharers.items():  # Mosquitto 2.0 shares no topic that begins with $
            heard = [topic for topic, _ in one.heard if topic[0] == "$"]
            if heard and not self._public(who):
                self.differ(f"{who} heard by shared subscriptions: {heard}")

    def _cell(self, cell, kind):
        return matrix.expected(cell, kind in self.others)

    def _let_in(self, topic, column, who):
        cell = self._cell(SUBSCRIBE[topic][column], "subscribe")
        return who in cell or cell in "=!"

    def _public(self, who):
        """What he hears who is let in everywhere."""
        if who not in "voa" and "receive" not in self.others:
            return []
        topics = [f"$ota/{kind}/p/{name}" for kind in ("event", "report") for name in self.devices]
        return ["$ota/event/p", *topics]

    def _check_heard(self, topic, column, who, one, version, topics):
        heard = {
            at for at, payload in one.heard
            if version.encode() in payload and not is_private(at, payload)
        }
        wanted = {at for at in topics if topic_matches_sub(topic, at)}
        if heard != wanted:
            self.differ(f"{who} at {topic} ({column}), {version}: heard {sorted(heard)}, "
                        f"should {sorted(wanted)}")

    def _check_private(self, who, client_id, heard):
        """What is for one client id is heard by no other."""
        for topic, payload in heard:
            own = who == "d" and topic in OWN or (
                who in "voa" and client_id.startswith("asks-") and topic == CONTROL_RESPONSE)
            if is_private(topic, payload) and not own:
                self.differ(f"{who} ({client_id}) heard {topic} {payload[:80]}")

    def play_thefts(self):
        """While a device's notice is due somebody connects with its client id."""
        for who in matrix.WHO.keys() - {"d"}:
            victim = self.join("d", "victim", expiry=SESSION)
            assert victim.subscribe("$ota/update/p/d", 0) == 0
            assert victim.wait_ack(victim.publish("$ota/report/p/d", message("", "stolen"))) < 128
            thief = self.join(who, "victim", clean=False, expiry=SESSION)
            self.admin.add_firmware("p", f"for-{who}")
            answer = self.admin.call("upgradeDevice", product="p", device="d", version=f"for-{who}")
            thief.settle()
            task = self.admin.call("cancelTask", task=answer["task"]["task"])
            if task["task"]["sentAt"]:
                self.differ(f"a notice was sent to {who} who took over the client id of p/d")
            thief.settle()
            self._check_private(who, "thief", thief.heard)
            thief.close()
            victim.drop()

    # -- publishing

    def try_it(self, topic, way, who):
        """(topic, message): a new try."""
        mark = f"i{next(self._numbers):05d}"
        self.tried[mark] = topic, way, who
        return topic, message(topic, mark)

    def play_late_wills(self):
        """To be judged after wait_late_wills."""
        self._drop_with_wills("late", delay=1, expiry=SESSION)
        last = self.join("v", "last", expiry=SESSION,
                         will={"topic": "late/wills/went", "payload": b"", "delay": 1})
        self.after_late = self.join("v", "after-late", keepalive=0)
        assert self.after_late.subscribe("late/wills/went", 0) == 0
        last.drop()

    def wait_late_wills(self):
        self.after_late.wait_heard("late/wills/went")

    def _drop_with_wills(self, way, v5=True, retain=False, delay=0, expiry=0):
        for topic, who in itertools.product(PUBLISH, matrix.WHO):
            at, payload = self.try_it(topic, way, who)
            will = {"topic": at, "payload": payload, "retain": retain, "delay": delay}
            client_id = f"testator-{next(self._numbers)}"
            self.join(who, client_id, v5=v5, expiry=expiry, will=will).drop()

    def play_wills(self):
        self._drop_with_wills("will")
        self._drop_with_wills("will", v5=False)
        self._drop_with_wills("kept", retain=True)
        for topic, who in itertools.product(PUBLISH, matrix.WHO):
            at, payload = self.try_it(topic, "lost", who)
            lost = self.join(who, "lost", expiry=SESSION, will={"topic": at, "payload": payload})
            self.join("n", "lost").close()  # takes the session over
            lost.drop()

    def play_publishes(self):
        self._askers = []
        for who in matrix.WHO:
            for v5 in (True, False):
                one = self._asker(who, v5=v5)
                for topic, qos in itertools.product(PUBLISH, (0, 1, 2)):
                    one.wait_ack(one.publish(*self.try_it(topic, "publish", who), qos))
                    one.wait_ack(one.publish(*self.try_it(topic, "retained", who), qos, True))
                self._publish_again(one, who)
            self._publish_by_alias(self._asker(who), who)
            for owner in ("d", "a"):
                self._publish_as_heir(owner, who)
        for one in self._askers:
            one.settle()

    def _asker(self, who, **settings):
        one = self.join(who, f"asks-{who}-{next(self._numbers)}", **settings)
        self._askers.append(one)
        return one

    def _publish_again(self, one, who):
        """DUP: before the first one's PUBREL, and after its PUBACK."""
        for topic, qos in itertools.product(PUBLISH, (1, 2)):
            at, payload = self.try_it(topic, "dup", who)
            mid = one.publish(at, payload, qos)
            if qos == 1:
                one.wait_ack(mid)
            one.wait_ack(one.publish(at, payload, qos, dup=True, mid=mid))
            one.settle()

    def _publish_by_alias(self, one, who):
        """The alias stood for a foreign topic before."""
        for topic in PUBLISH:
            at, payload = self.try_it(topic, "alias", who)
            one.wait_ack(one.publish("foreign/topic", b"", alias=1))
            one.wait_ack(one.publish(at, payload, alias=1))
            one.wait_ack(one.publish("", payload, alias=1))

    def _publish_as_heir(self, owner, who):
        """With the client id, and the session, of one who may."""
        client_id = f"asks-heir-{owner}-{who}"
        first = self.join(owner, client_id, expiry=SESSION)
        heir = self.join(who, client_id, clean=False, expiry=SESSION)
        self._askers.append(heir)
        for topic in PUBLISH:
            heir.wait_ack(heir.publish(*self.try_it(topic, "heir", who)))
        first.drop()

    # -- over bridges

    def _listen_to_bridges(self):
        """Both ends are there when this returns."""
        heard = self._keep(Packets(self.remote.port, f"{self.tag}-heard"))
        assert heard.subscribe(f"{self.tag}/heard/#", 0) == 0
        self.bridged = self.join("v", "bridged")
        assert self.bridged.subscribe("bridged/#", 0) == 0
        self.sender = self._keep(Packets(self.remote.port, f"{self.tag}-sender"))
        for who in matrix.WHO:
            self.remote.wait_log(rf"^\s*{self.tag}/{who}/gateway/#")
        self.wait_bridges()
        return heard

    def wait_bridges(self):
        """Returns when all that was sent over them has arrived."""
        self.bridged.heard.clear()
        for who in matrix.WHO:
            self.sender.publish(f"{self.tag}/done-{who}", b"")
            self.bridged.wait_heard(f"bridged/done-{who}")

    def send_over_bridge(self, who, topic, payload):
        for word, space in SPACES.items():
            if topic.startswith(space):
                remote = f"{self.tag}/{who}/{word}/{topic[len(space):]}"
                self.sender.wait_ack(self.sender.publish(remote, payload))

    def play_bridges(self):
        for topic, who in itertools.product(PUBLISH, matrix.WHO):
            if topic.startswith(tuple(SPACES.values())):
                self.send_over_bridge(who, *self.try_it(topic, "bridge", who))
        self.wait_bridges()

    def judge_bridges(self):
        """What the bridges carried out: what isn't private, to all of them."""
        self.heard_bridges.settle()
        for who in matrix.WHO:
            start = f"{self.tag}/heard/{who}/"
            told = [
                (SPACES[word] + rest, payload) for word, rest, payload in (
                    (*topic[len(start):].split("/", 1), payload)
                    for topic, payload in self.heard_bridges.heard if topic.startswith(start))
            ]
            kinds = {topic.split("/")[1] for topic, payload in told if LIVE.encode() in payload}
            wanted = {"event", "report"} if who in SUBSCRIBE["$ota/#"]["bridge"] else set()
            if kinds != wanted:
                self.differ(f"the bridge of {who} carried {sorted(kinds)}")
            self._check_private(who, start, told)

    # -- what came of it

    def judge_privacy(self):
        for who, one in self._joined:
            if who != "-":
                self._check_private(who, one.client_id, one.heard)

    def judge_publishes(self):
        self.settle()
        reported = {
            name: {row["version"] for row in self.admin.list_all(
                "listDeviceHistory", "versions", product="p", device=name)}
            for name in self.devices
        }
        made = {row["product"] for row in self.admin.list_all("listProducts", "products")}
        made |= {row["name"] for row in self.admin.list_all("listBatches", "batches")}
        told = [told for one in self._askers for told in one.heard]
        told += self.heard_bridges.heard if self.remote else []
        answered = {
            mark.decode() for topic, payload in told
            if topic == CONTROL_RESPONSE or ANSWER in payload
            for mark in MARK.findall(payload)
        }
        heard = {}
        for topic, payload in (told for ear in self.ears for told in ear.heard):
            if not is_private(topic, payload):
                for mark in MARK.findall(payload):
                    heard.setdefault(mark.decode(), set()).add(topic)
        rows = self.admin.list_all("listDevices", "devices", product="p")
        known = [row["device"] for row in rows]
        if sorted(known) != sorted(self.devices):
            self.differ("devices:", known)
        for mark, (topic, way, who) in self.tried.items():
            kept = any(mark in versions for versions in reported.values())
            acted = mark in made or mark in answered or kept
            came = self._outcome(topic, acted, topic in heard.get(mark, ()))
            should = self._should(topic, way, who)
            if came != should:
                self.differ(f"{who} publishes {topic} ({way}): {came}, should be {should}")

    def _should(self, topic, way, who):
        cell = self._cell(PUBLISH[topic][way], "publish")
        if who in cell:
            return "done"
        if "receive" in self.others:
            # That no message follows tells late wills from reports only where we are asked again.
            unknown = (way in ("late", "lost") and who in PUBLISH[topic]["publish"]
                       and (topic.startswith(FOR_ROLES) or "subscribe" in self.others))
            return "heard" if cell == "~" or unknown else "nothing"
        reaches = topic.startswith(FOR_ROLES) and way != "kept"
        return "heard" if cell == "~" and reaches else "nothing"

    @staticmethod
    def _outcome(topic, acted, heard):
        if not acted:
            return "heard" if heard else "nothing"
        if topic.startswith("$ota/report/") and not heard:
            return "done unheard"
        return "done"

    def judge_warnings(self):
        """That another plugin decides before ours is said, by the log and by getInfo."""
        info = self.admin.call("getInfo")
        warnings, counted = info["warnings"], info["refusedReports"]
        if not self.others and not {"identity", "retained", "will"} <= counted.keys():
            self.differ("what was refused isn't counted:", counted)
        said = any("plugin line first" in text for text in warnings)
        logged = any("put the plugin line of mosquitto_ota.so first" in line
                     for line in self.broker.log)
        if {said, logged} != {bool(self.others)}:
            self.differ("warnings:", json.dumps(warnings), "logged:", logged)
