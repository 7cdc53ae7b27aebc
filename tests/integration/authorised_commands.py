# SPDX-License-Identifier: BSD-3-Clause
"""Every command by every role through every door: plays matrix.DOORS on an authorisation.Stage.

Whatever is refused is asked for with fields with which it would work: the last step, in which the
lowest role that may asks for each of them, shows that.
"""
import base64
import itertools
import json
import urllib.error
import urllib.request

import matrix
from clients import CONTROL, CONTROL_RESPONSE
from common import TIMEOUT
from control_help import announce, read_all, send_blocks

DOORS = matrix.rows(matrix.DOORS)
ROLE_OF = {name: role for name, (role, _) in matrix.commands().items()}
CONTENT = b"firmware"


def prepare(admin, device):
    """A product with something for every command; gives [(command, fields)] in an order in which
    each of them works. `device` (p/other) fails a task."""
    admin.call("createProduct", product="c")
    admin.call("createProduct", product="empty")
    for version in ("1", "2", "9"):
        admin.add_firmware("c", version)
    for number in range(12):
        admin.call("createDevice", product="c", device=f"e{number}")
    one = {"product": "c", "device": "e0"}
    bond = {"product": "c", "device": "new", "gatewayProduct": "c", "gateway": "e0"}
    uploads = [
        admin.call("addFirmware", **announce("c", version, CONTENT))["upload"]
        for version in ("3", "4", "5")
    ]
    send_blocks(admin, uploads[1], CONTENT)

    def task(name, version="2"):
        made = admin.call("upgradeDevice", product="c", device=name, version=version)
        return made["task"]["task"]

    def batch(*names, **more):
        more["target"] = {"devices": names}
        return admin.call("createBatch", product="c", version="2", **more)["batch"]["batch"]

    token = admin.call("createToken", name="old", role="viewer")["token"]["token"]
    running, cancelled = task("e1"), task("e2")
    admin.call("cancelTask", task=cancelled)
    paused = batch("e5")
    admin.call("pauseBatch", batch=paused)
    staged = batch("e6", "e7", stages=[{"count": 1}, {"percent": 100}])
    rows = [
        ("listProducts", {}), ("listFirmware", {"product": "c"}),
        ("getFirmware", {"product": "c", "version": "1"}), ("getDevice", one),
        ("listDevices", {"product": "c"}), ("listDeviceHistory", one), ("explainDevice", one),
        ("listVersions", {"product": "c"}), ("listTasks", {}), ("getTask", {"task": running}),
        ("listBatches", {}), ("getBatch", {"batch": paused}), ("getStats", {"product": "c"}),
        ("getInfo", {}),
        ("updateDevice", {**one, "tags": ["t"]}),
        ("upgradeDevice", {**one, "version": "2"}),
        ("cancelTask", {"task": running}), ("retryTask", {"task": cancelled}),
        ("createBatch", {"product": "c", "version": "2", "target": {"devices": ["e9"]}}),
        ("addBatchDevices", {"batch": batch("e10", draft=True), "devices": ["e11"]}),
        ("startBatch", {"batch": batch("e10", draft=True)}),
        ("updateBatch", {"batch": batch("e3"), "name": "x"}),
        ("pauseBatch", {"batch": batch("e4")}), ("resumeBatch", {"batch": paused}),
        ("advanceBatch", {"batch": staged}), ("cancelBatch", {"batch": batch("e8")}),
        ("retryBatch", {"batch": failed_batch(admin, device)}),
        ("createProduct", {"product": "new"}),
        ("updateProduct", {"product": "empty", "description": "x"}),
        ("deleteProduct", {"product": "empty"}),
        ("addFirmware", announce("c", "6", CONTENT)),
        ("uploadFirmwareBlock", {
            "upload": uploads[0], "offset": 0, "data": base64.b64encode(CONTENT).decode()}),
        ("commitFirmware", {"upload": uploads[1]}), ("abortFirmware", {"upload": uploads[2]}),
        ("deleteFirmware", {"product": "c", "version": "9"}),
        ("createDevice", {"product": "c", "device": "new"}),
        ("setDeviceSecret", {"product": "c", "device": "new"}),
        ("deleteDeviceSecret", {"product": "c", "device": "new"}),
        ("bindDevice", bond), ("unbindDevice", bond),
        ("deleteDevice", {"product": "c", "device": "new"}),
        ("listAudit", {}), ("backup", {}), ("createToken", {"name": "new", "role": "viewer"}),
        ("listTokens", {}), ("revokeToken", {"token": token}),
    ]
    for _, fields in rows:  # a batch is ready for its command when it runs
        if "batch" in fields:
            wait_prepared(admin, fields["batch"])
    return rows


def wait_prepared(admin, batch):
    while admin.call("getBatch", batch=batch)["batch"]["state"] == "preparing":
        pass


def failed_batch(admin, device):
    admin.add_firmware("p", "bad")
    made = admin.call("createBatch", product="p", version="bad", target={"devices": ["other"]})
    number = made["batch"]["batch"]
    wait_prepared(admin, number)
    progress = {"state": "fail", "result_code": "-4", "result_msg": ""}
    report = {"type": "report_progress", "report": {"progress": progress, "version": "bad"}}
    device.wait_ack(device.publish("$ota/report/p/other", report))
    while not admin.call("getBatch", batch=number)["batch"]["counts"].get("failed"):
        pass
    return number


class Commands:
    def __init__(self, stage):
        self.stage = stage
        self.rows = prepare(stage.admin, stage.devices["other"])
        self._numbers = itertools.count(1)

    def play(self):
        if sorted(name for name, _ in self.rows) != sorted(ROLE_OF):
            self.stage.differ("commands that are not played, or unknown:",
                              set(ROLE_OF) ^ {name for name, _ in self.rows})
        before = read_all(self.stage.admin)
        for who in matrix.WHO:
            self._try_door("mqtt", who, self._ask_mqtt)
            self._shut_door("will", who, self._leave_will)
            if self.stage.remote:
                self._shut_door("bridge", who, self._send_over_bridge)
            self._try_door("http", who, self._ask_http)
        if self.stage.remote:
            self.stage.wait_bridges()
        self._settle()
        after = read_all(self.stage.admin)
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                self.stage.differ(f"changed by who may not: {key}: {after.get(key)}")
        self._check_that_they_work()

    def _settle(self):
        """What is in the queue of commands is done before this one."""
        self.stage.settle()
        self.stage.admin.call("getInfo")

    def _may(self, door, who, name):
        return who in DOORS[ROLE_OF[name]][door]

    def _try_door(self, door, who, ask):
        """Those that he may not run, and all of them with a field that none has: whether he may is
        said first."""
        low = [row for row in self.rows if not self._may(door, who, row[0])]
        every = [(name, {"bogus": 1}) for name, _ in self.rows]
        asked = low + every
        responses = ask(who, asked)
        if who not in DOORS["viewer"][door]:
            if responses:
                self.stage.differ(f"{who} by {door}: was answered {responses[:1]}")
            return
        for (name, _), response in itertools.zip_longest(asked, responses or []):
            code = (response or {}).get("code")
            wanted = "invalid_request" if self._may(door, who, name) else "forbidden"
            field = {"invalid_request": "bogus"}.get(wanted)  # forbidden names none
            if code != wanted or (response["command"], response.get("field")) != (name, field):
                self.stage.differ(f"{who} runs {name} by {door}: {response}, should be {wanted}")

    def _shut_door(self, door, who, push):
        """A door through which no command may come."""
        assert not any(who in DOORS[role][door] for role in DOORS)
        push(who, self._message(self.rows))

    @staticmethod
    def _message(rows):
        return {"commands": [{"command": name, **fields} for name, fields in rows]}

    def _ask_mqtt(self, who, asked):
        one = self.stage.join(who, f"asks-{who}-all-{next(self._numbers)}")
        for at in range(0, len(asked), 100):
            one.wait_ack(one.publish(CONTROL, self._message(asked[at : at + 100])))
            if who in DOORS["viewer"]["mqtt"]:
                one.wait_heard(CONTROL_RESPONSE, 1 + at // 100)
        self._settle()
        one.settle()
        messages = [json.loads(said) for topic, said in one.heard if topic == CONTROL_RESPONSE]
        one.close()
        return [response for message in messages for response in message["responses"]]

    def _leave_will(self, who, payload):
        will = {"topic": CONTROL, "payload": payload}
        self.stage.join(who, f"testament-{next(self._numbers)}", will=will).drop()

    def _send_over_bridge(self, who, payload):
        self.stage.send_over_bridge(who, CONTROL, payload)

    def _ask_http(self, who, asked):
        """By HTTP Basic; None where the door stays shut."""
        answers = []
        for at in range(0, len(asked), 100):
            headers = {"Content-Type": "application/json"}
            if matrix.WHO[who]:
                login = f"{matrix.WHO[who]}:{matrix.PASSWORD}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.stage.console_port}/api/v1/control",
                json.dumps(self._message(asked[at : at + 100])).encode(), headers)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    answers += json.load(answer)["responses"]
            except urllib.error.HTTPError as refusal:
                if refusal.code not in (401, 403):
                    self.stage.differ(f"{who} by http: {refusal.code}")
                return None
        return answers

    def _check_that_they_work(self):
        """Each by the lowest role that may: so the refusals weren't for another reason."""
        for role, who in (("viewer", "v"), ("operator", "o"), ("admin", "a")):
            asked = [row for row in self.rows if ROLE_OF[row[0]] == role]
            for (name, _), response in itertools.zip_longest(asked, self._ask_mqtt(who, asked)):
                if not response or "data" not in response:
                    self.stage.differ(f"{who} runs {name} by mqtt: {response}, should work")
