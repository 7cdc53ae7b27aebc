# SPDX-License-Identifier: BSD-3-Clause
"""One story that goes through every command of the control API. What is said there is the examples
of docs/api.md: OTA_RECORD=1 writes them to docs/api-examples.json, and without it each answer is
compared with the one that stands there, by its keys and the types of its values.

    OTA_RECORD=1 python3 -m pytest tests/integration/test_api_examples.py && scripts/api-docs
"""
import base64
import hashlib
import json
import os
import re
import subprocess

from console_help import wait_until
from common import LET_IN
from control_help import command_rows
from harness import OTACTL, ROOT

EXAMPLES = ROOT / "docs" / "api-examples.json"
IMAGE = b"firmware of a lamp, " * 40


class Recorder:
    """Sends commands as they would be written by hand, and keeps the first of each, and the first
    refusal of each code."""

    def __init__(self, broker):
        self.broker = broker
        self.examples = {}
        self.errors = {}
        self.sent = 0
        self.writes = {row["command"]: row["writes"] for row in command_rows()}

    def exchange(self, admin, name, fields):
        """The request, and the response to it."""
        command = {"command": name, **fields}
        if self.writes[name] and name != "uploadFirmwareBlock":
            self.sent += 1
            command["requestId"] = hashlib.sha256(f"{name} {self.sent}".encode()).hexdigest()[:16]
        request = {"commands": [{**command, "correlationData": "1"}]}
        text = json.dumps(admin.call_raw(request))
        url = self.broker.options["download_url"]
        text = re.sub("ota_[0-9a-f]{64}", f"ota_{'0123456789abcdef' * 4}", text)
        return request, json.loads(text.replace(url, "http://fw.example.com"))

    def call(self, admin, name, /, **fields):
        request, answer = self.exchange(admin, name, fields)
        (response,) = answer["responses"]
        assert "error" not in response, response
        self.examples.setdefault(name, {"request": request, "response": answer})
        return response["data"]

    def refuse(self, admin, name, code, /, **fields):
        _, answer = self.exchange(admin, name, fields)
        (response,) = answer["responses"]
        assert response.get("code") == code, response
        known = self.errors.setdefault(name, {})
        known.setdefault(code, {"field": response.get("field"), "error": response["error"]})


def upload(say, admin, version):
    announced = say.call(
        admin, "addFirmware", product="lamp", version=version, filename=f"lamp-{version}.bin",
        size=len(IMAGE), sha256=hashlib.sha256(IMAGE).hexdigest(), description="fixes Wi-Fi")
    data = base64.b64encode(IMAGE).decode()
    say.call(admin, "uploadFirmwareBlock", upload=announced["upload"], offset=0, data=data)
    return announced["upload"]


def tell_firmware(say, admin):
    say.call(admin, "createProduct", product="lamp", description="Air quality sensor")
    say.refuse(admin, "createProduct", "already_exists", product="lamp")
    say.call(admin, "updateProduct", product="lamp", description="Lamp with a motion sensor")
    say.refuse(admin, "addFirmware", "invalid_request", product="lamp", version="0.0.2",
               filename="lamp.exe", size=1, sha256="0" * 64)
    say.refuse(admin, "addFirmware", "too_large", product="lamp", version="0.0.2",
               filename="lamp.bin", size=1 << 40, sha256="0" * 64)
    number = upload(say, admin, "0.0.2")
    say.refuse(admin, "uploadFirmwareBlock", "conflict", upload=number, offset=3, data="AAAA")
    say.call(admin, "commitFirmware", upload=number)
    say.refuse(admin, "commitFirmware", "not_found", upload=number)
    say.refuse(admin, "addFirmware", "already_exists", product="lamp", version="0.0.2",
               filename="lamp.bin", size=1, sha256="0" * 64)
    say.call(admin, "commitFirmware", upload=upload(say, admin, "0.0.3"))
    wrong = say.call(admin, "addFirmware", product="lamp", version="0.0.9", filename="lamp.bin",
                     size=3, sha256="0" * 64)["upload"]
    say.call(admin, "uploadFirmwareBlock", upload=wrong, offset=0, data="AAAA")
    say.refuse(admin, "commitFirmware", "checksum_mismatch", upload=wrong)
    say.call(admin, "abortFirmware", upload=upload(say, admin, "0.0.8"))
    say.call(admin, "getFirmware", product="lamp", version="0.0.2")


def tell_devices(say, admin):
    say.call(admin, "createDevice", product="lamp", device="lamp-17", tags=["site=berlin"])
    say.refuse(admin, "createDevice", "already_exists", product="lamp", device="lamp-17")
    say.refuse(admin, "createDevice", "invalid_request", product="lamp", device="lamp 18")
    say.call(admin, "updateDevice", product="lamp", device="lamp-17", hold=False,
             tags=["site=berlin", "canary"])
    for number in (18, 19):
        say.call(admin, "createDevice", product="lamp", device=f"lamp-{number}")
    tell_gateway(say, admin)
    device = say.broker.device("lamp", "lamp-17")
    device.report_version("0.0.1")
    return device


def tell_gateway(say, admin):
    admin.call("createProduct", product="hub")
    admin.call("createDevice", product="hub", device="hall")
    at = {"product": "lamp", "device": "lamp-18", "gatewayProduct": "hub", "gateway": "hall"}
    say.call(admin, "bindDevice", **at)
    say.refuse(admin, "bindDevice", "conflict", **{**at, "gatewayProduct": "lamp",
                                                   "gateway": "lamp-19"})
    say.refuse(admin, "bindDevice", "invalid_request", **{**at, "gatewayProduct": "lamp",
                                                          "gateway": "lamp-18"})
    say.call(admin, "unbindDevice", **at)
    say.refuse(admin, "unbindDevice", "conflict", **at)
    admin.call("deleteProduct", product="hub", force=True)


def tell_task(say, admin, device):
    at = {"product": "lamp", "device": "lamp-17"}
    say.refuse(admin, "upgradeDevice", "not_found", **at, version="9.9.9")
    task = say.call(admin, "upgradeDevice", **at, version="0.0.2",
                    retry={"max": 3, "delaySeconds": 60})["task"]["task"]
    say.refuse(admin, "upgradeDevice", "conflict", **at, version="0.0.2")
    say.refuse(admin, "deleteFirmware", "conflict", product="lamp", version="0.0.2")
    say.refuse(admin, "deleteDevice", "conflict", **at)
    say.refuse(admin, "retryTask", "conflict", task=task)
    say.call(admin, "cancelTask", task=task)
    say.refuse(admin, "cancelTask", "conflict", task=task)
    since = len(device.messages)
    say.call(admin, "retryTask", task=task)
    device.run_upgrade(device.wait_notice("0.0.2", since=since))
    admin.wait_status(task, "succeeded")
    for name in ("getDevice", "listDeviceHistory", "explainDevice"):
        say.call(admin, name, **at)
    say.call(admin, "getTask", task=task)
    say.call(admin, "listTasks", product="lamp", status="succeeded", limit=1)


def tell_batch(say, admin, device):
    say.refuse(admin, "createBatch", "invalid_request", product="lamp", version="0.0.3",
               target={"all": True}, stages=[{"percent": 50}, {"percent": 20}])
    batch = say.call(
        admin, "createBatch", product="lamp", version="0.0.3", name="October", draft=True,
        stages=[{"count": 1, "soakSeconds": 3600}, {"percent": 100}], gate="done",
        failureThreshold={"percent": 10, "minFinished": 50})["batch"]["batch"]
    say.refuse(admin, "pauseBatch", "conflict", batch=batch)
    say.call(admin, "addBatchDevices", batch=batch, devices=["lamp-17", "lamp-18", "lamp-19"])
    say.call(admin, "startBatch", batch=batch)
    say.refuse(admin, "startBatch", "conflict", batch=batch)
    say.refuse(admin, "addBatchDevices", "conflict", batch=batch, devices=["lamp-18"])
    wait_running(admin, batch)
    say.call(admin, "updateBatch", batch=batch, ratePerMinute=600)
    say.call(admin, "pauseBatch", batch=batch)
    say.call(admin, "resumeBatch", batch=batch)
    say.refuse(admin, "resumeBatch", "conflict", batch=batch)
    say.call(admin, "advanceBatch", batch=batch)
    say.refuse(admin, "advanceBatch", "conflict", batch=batch)
    device.wait_notice("0.0.3")
    device.report_progress("fail", code=-4)
    wait_failed(admin, batch)
    for name in ("getBatch", "listBatches", "getStats"):
        say.call(admin, name, **({} if name == "listBatches" else {"batch": batch}))
    say.call(admin, "retryBatch", batch=batch)
    say.call(admin, "cancelBatch", batch=batch, running="cancel")
    say.refuse(admin, "cancelBatch", "conflict", batch=batch)
    say.refuse(admin, "updateBatch", "conflict", batch=batch, ratePerMinute=1)


def wait_running(admin, batch):
    wait_until(lambda: admin.call("getBatch", batch=batch)["batch"]["state"] != "preparing",
               "its start")


def wait_failed(admin, batch):
    wait_until(lambda: admin.call("getBatch", batch=batch)["batch"]["counts"]["failed"],
               "a failure")


def tell_the_end(say, admin):
    for name in ("listProducts", "listAudit", "getInfo"):
        say.call(admin, name, **({"limit": 2} if name == "listAudit" else {}))
    for name in ("listFirmware", "listDevices", "listVersions"):
        say.call(admin, name, product="lamp")
    say.call(admin, "createToken", name="build-server", role="admin", expireAt=4102444800000)
    say.refuse(admin, "createToken", "already_exists", name="build-server", role="admin")
    say.call(admin, "listTokens")
    say.call(admin, "revokeToken", token=1)
    say.call(admin, "backup", name="before-october.db")
    say.refuse(admin, "backup", "already_exists", name="before-october.db")
    say.call(admin, "setDeviceSecret", product="lamp", device="lamp-19")
    say.call(admin, "deleteDeviceSecret", product="lamp", device="lamp-19")
    say.call(admin, "deleteDevice", product="lamp", device="lamp-19")
    say.refuse(admin, "deleteProduct", "conflict", product="lamp")
    say.call(admin, "deleteFirmware", product="lamp", version="0.0.3")
    say.call(admin, "deleteProduct", product="lamp", force=True)


NOWHERE = {"product": "nowhere", "device": "nothing", "version": "9", "task": 9999, "batch": 9999,
           "upload": 9999, "gatewayProduct": "nowhere", "gateway": "nothing", "token": 9999,
           "name": "nobody", "role": "viewer", "description": "x", "filename": "a.bin", "size": 1,
           "sha256": "0" * 64,
           "offset": 0, "data": "AAAA", "devices": ["nothing"]}


def tell_refusals(say, admin, viewer):
    """What every command refuses: who may not, and what isn't there."""
    for row in command_rows():
        required = [p["key"] for p in row["params"] if p["required"] and not p["local"]]
        fields = {key: NOWHERE[key] for key in required if key in NOWHERE}
        if row["command"] == "addFirmware":
            fields.update({k: NOWHERE[k] for k in ("filename", "size", "sha256")})
        if row["command"] == "createBatch":
            fields["target"] = {"all": True}
        if row["role"] != "viewer":
            say.refuse(viewer, row["command"], "forbidden", **fields)
        about = set(fields) & {"product", "task", "batch", "upload", "token"}
        if about and row["command"] != "createProduct":
            say.refuse(admin, row["command"], "not_found", **fields)


def tell_everything(broker, tmp_path):
    (tmp_path / "backups").mkdir()
    options = {"backup_dir": tmp_path / "backups", "device_auth": "vendor",
               "secret_keyfile": tmp_path / "secret.key"}
    one = broker(options=options, config=f"plugin {LET_IN}")
    say = Recorder(one)
    admin = one.admin()
    tell_firmware(say, admin)
    device = tell_devices(say, admin)
    tell_task(say, admin, device)
    tell_batch(say, admin, device)
    tell_refusals(say, admin, one.admin("viewer"))
    tell_the_end(say, admin)
    return {name: {**said, "errors": dict(sorted(say.errors.get(name, {}).items()))}
            for name, said in say.examples.items()}


def shape(value):
    """Keys, and types of values; null is any type, and a list is what its members are."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None if value is None else type(value).__name__


def differs(told, known):
    """Whether the one shape can't be the other's."""
    if told is None or known is None or told == [] or known == []:
        return False
    if isinstance(told, dict) and isinstance(known, dict):
        return told.keys() != known.keys() or any(differs(told[k], known[k]) for k in told)
    if isinstance(told, list) and isinstance(known, list):
        return differs(told[0], known[0])
    return told != known


def test_every_command_has_an_example_that_is_true(broker, tmp_path):
    told = tell_everything(broker, tmp_path)
    text = json.dumps(told, ensure_ascii=False, indent=1).replace(
        str(tmp_path / "backups"), "/var/backups/mosquitto-ota")
    assert {row["command"] for row in command_rows()} == set(told)
    if os.environ.get("OTA_RECORD"):
        EXAMPLES.write_text(text + "\n")
    known = json.loads(EXAMPLES.read_text())
    assert set(known) == set(told)
    for name, said in told.items():
        for part in ("request", "response"):
            assert not differs(shape(said[part]), shape(known[name][part])), (name, part)
        assert set(said["errors"]) == set(known[name]["errors"]), name


def test_api_md_is_what_the_table_and_the_examples_say():
    run = subprocess.run([ROOT / "scripts" / "api-docs", "--print"], text=True, check=True,
                         capture_output=True, env={**os.environ, "OTACTL": str(OTACTL)})
    assert run.stdout == (ROOT / "docs" / "api.md").read_text(), "scripts/api-docs writes it anew"
