# SPDX-License-Identifier: BSD-3-Clause
"""Plays the same events to the service (play.c) and to the reference model, and compares.

An event is a small dict that can be printed and played again:

    {"do": "command", "user": "admin", "commands": [{…}, …]}
    {"do": "again"}                    the last changing message once more, as MQTT may
    {"do": "connect" | "disconnect", "p": product, "d": device}
    {"do": "version", "p", "d", "version"}
    {"do": "progress", "p", "d", "version", "state", "code"}
    {"do": "bad", "p", "d", "payload"} a report that has to change nothing
    {"do": "advance", "ms"}            {"do": "freeze", "ms"}: the process stood still
    {"do": "wall", "ms"}               the system's clock was set
    {"do": "restart" | "kill", "down": ms}
    {"do": "check"}                    compares; so does every event with "check": true
"""
import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path

from admin import READS, Admin
from model import NOT_OVER, Difference, Refused

ROOT = Path(__file__).resolve().parents[2]
PLAY = Path(os.environ.get("OTA_BUILD", ROOT / "build")) / "tests" / "model" / "ota_model_play"
RESPONSE = "$CONTROL/ota/v1/response"
STEP = 50
LISTS_EVERY = 10  # comparisons
VERSIONS = {"1.0": 1, "2.0": 2, "3.0": 3}
TAGS = ("a", "b", "c")


class Play:
    """The service, as a process."""

    def __init__(self, path, mono=1_000_000, unix=1_700_000_000_000):
        self.path, self.mono, self.unix, self.service = path, mono, unix, 0
        self.process = None
        self.start(0)

    def start(self, down):
        command = [PLAY, self.path, str(self.mono + down), str(self.unix + down)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Difference(f"the service is gone, with {self.process.wait()}")
        answer = json.loads(line)
        if answer["errors"]:
            raise Difference(f"the service complains: {answer['errors']}")
        self.mono, self.unix, self.service = answer["mono"], answer["unix"], answer["service"]
        return answer

    def op(self, name, **fields):
        self.process.stdin.write(json.dumps({"op": name, **fields}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def stop(self):
        self.op("stop")
        self.close()

    def kill(self):
        self.process.kill()
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.wait() not in (0, -9):
            raise Difference(f"the service ended with {self.process.returncode}")


class Game:
    def __init__(self, folder, devices=20):
        self.play = Play(Path(folder) / "ota.db")
        self.model = Admin(self.play.mono, self.play.unix)
        self.answers = []  # to versions that were reported
        self.heard = {}    # what events said last of tasks and batches
        self.requests = 0
        self.last = None   # changing message, its response
        self.wake = 0
        self.compared = 0
        self.set_up(devices)

    def close(self):
        self.play.kill()

    def set_up(self, devices):
        for product, count in (("p", devices), ("q", 3)):
            self.command("admin", [{"command": "createProduct", "product": product}])
            for version, order in VERSIONS.items():
                self.upload(product, version, order)
            for i in range(count):
                tags = [tag for n, tag in enumerate(TAGS) if i % (n + 2) == 0]
                self.command("admin", [{"command": "createDevice", "product": product,
                                        "device": f"d{i}", "tags": tags}])

    def upload(self, product, version, order):
        image = f"{product} {version}".encode()
        digest = hashlib.sha256(image).hexdigest()
        response, = self.send("admin", [{
            "command": "addFirmware", "product": product, "version": version, "order": order,
            "filename": "a.bin", "size": len(image), "sha256": digest}])
        if "error" in response:
            return
        upload = response["data"]["upload"]
        data = base64.b64encode(image).decode()
        for response in self.send("admin", [
                {"command": "uploadFirmwareBlock", "upload": upload, "offset": 0, "data": data},
                {"command": "commitFirmware", "upload": upload}]):
            if "error" in response:
                raise Difference(f"an upload failed: {response}")
        self.model.add_firmware(product, version, order)

    # --- both at once

    def do(self, event):
        kind = event["do"]
        getattr(self, "do_" + kind)(event)
        self.wake = 0
        if kind in ("command", "again", "advance", "freeze", "restart", "kill"):
            self.settle()
        if event.get("check") or kind == "check":
            self.compare()

    def do_check(self, event):
        """Every event may be followed by this."""

    def do_connect(self, event):
        self.model.connect(event["p"], event["d"])
        self.take(self.play.op("connect", product=event["p"], device=event["d"]), event)

    def do_disconnect(self, event):
        self.model.disconnect(event["p"], event["d"])
        self.take(self.play.op("disconnect", product=event["p"], device=event["d"]), event)

    def report(self, event, payload):
        self.take(self.play.op("report", product=event["p"], device=event["d"], payload=payload),
                  event)

    def do_version(self, event):
        self.model.report_version(event["p"], event["d"], event["version"])
        self.answers.append((event["d"], event["version"]))
        self.report(event, {"type": "report_version", "report": {"version": event["version"]}})

    def do_progress(self, event):
        progress = {"state": event["state"], "result_code": str(event.get("code", 0)),
                    "result_msg": ""}
        if event["state"] == "downloading":
            progress["percent"] = event.get("percent", 10)
        state = "downloaded" if progress.get("percent") == 100 else event["state"]
        self.model.report_progress(event["p"], event["d"], event["version"], state,
                                   event.get("code", 0))
        self.report(event, {"type": "report_progress",
                            "report": {"progress": progress, "version": event["version"]}})

    def do_bad(self, event):
        self.report(event, event["payload"])

    def do_wall(self, event):
        self.model.unix += event["ms"]
        self.play.op("wall", ms=event["ms"])

    def do_advance(self, event, step=STEP):
        answer = self.play.op("advance", ms=event["ms"], step=step)
        messages = self.sort(answer)
        left = event["ms"]
        while left > 0:
            self.model.advance(self.model.mono + min(left, step))
            left -= step
            due = [m for m in messages if m["at"] == self.model.mono]
            if due or self.model.mono >= self.wake or left <= 0:
                self.model.tick(due)
                self.wake = self.model.wake()
        self.clocks(event)

    def do_freeze(self, event):
        self.do_advance(event, event["ms"])

    def do_restart(self, event):
        self.play.stop()
        self.begin_again(event, 0)

    def do_kill(self, event):
        self.play.kill()
        busy = any(t.unfinished() for t in self.model.tasks)
        self.begin_again(event, 1000 if busy else 60000)

    def begin_again(self, event, may_lack):
        model = self.model
        self.play.start(event["down"])
        model.start_again()
        model.mono, model.unix = self.play.mono, self.play.unix
        if not model.service - may_lack <= self.play.service <= model.service:
            raise Difference(f"service time {model.service} became {self.play.service}")
        model.service = self.play.service
        self.do_advance({"ms": STEP})  # whatever the service does takes some time

    def do_command(self, event):
        if any(c["command"] in ("createBatch", "startBatch") for c in event["commands"]):
            self.settle()  # in which order batches do their work in a tick nobody says
        self.command(event["user"], event["commands"])

    def do_again(self, event):
        del event
        if self.last:
            user, commands, responses = self.last
            again = self.send(user, commands)
            if again != responses:
                raise Difference(f"the same request, answered {responses} and then {again}")

    def command(self, user, commands):
        expected = []
        for fields in commands:
            if fields["command"] not in READS:
                self.requests += 1
                fields = {**fields, "requestId": f"request {self.requests}"}
            try:
                made = self.model.do(user, fields)
                expected.append((fields, None, made))
            except Refused as refused:
                expected.append((fields, str(refused), None))
        responses = self.send(user, [fields for fields, _, _ in expected])
        for (fields, code, made), response in zip(expected, responses):
            if response.get("code") != code:
                raise Difference(f"{fields} should have got {code or 'an answer'}: {response}")
            if code is None:
                self.learn(fields, made, response["data"])
        if all(f["command"] not in READS and not code for f, code, _ in expected):
            self.last = user, [fields for fields, _, _ in expected], responses

    def learn(self, fields, made, data):
        name = fields["command"]
        if name == "upgradeDevice":
            self.model.learn(made, data["task"]["task"])
        elif name == "createBatch" and fields.get("dryRun"):
            self.same("dryRun", made, {"matched": data["matched"], "stages": data["stages"],
                                       "excluded": nonzero(data["excluded"])})
        elif name == "createBatch" and data["batch"]["batch"] != made.id:
            raise Difference(f"batch {made.id} is called {data['batch']['batch']}")

    def send(self, user, commands):
        """The responses; the model takes what the tick brought."""
        answer = self.play.op("control", user=user, payload={"commands": commands})
        messages = self.sort(answer)
        self.model.tick([m for m in messages if m["type"] != "response"])
        for message in messages:
            if message["type"] == "response":
                return message["responses"]
        raise Difference(f"no response to {commands}")

    # --- what was sent

    def sort(self, answer):
        """Messages that the model wants to see; events are kept for the next comparison."""
        messages = []
        for message in answer["messages"]:
            topic, payload = message["topic"].split("/"), message["payload"]
            if message["topic"] == RESPONSE:
                messages.append({"type": "response", "at": message["at"], **payload})
            elif topic[1] == "event" and payload["type"] in ("task", "batch"):
                self.heard[payload["type"], payload[payload["type"]]] = payload
            elif topic[1] == "update":
                if message["to"] != f"client of {topic[2]}/{topic[3]}":
                    raise Difference(f"sent to another client: {message}")
                if payload["type"] == "report_version_rsp":
                    self.answered(topic[3], payload)
                else:
                    shown = {k: payload[k] for k in ("type", "version", "task")}
                    messages.append({"at": message["at"], "product": topic[2],
                                     "device": topic[3], **shown})
        return messages

    def answered(self, device, payload):
        if (device, payload["version"]) not in self.answers or payload["result_code"] != 0:
            raise Difference(f"an answer to nothing: {device} {payload}")
        self.answers.remove((device, payload["version"]))

    def take(self, answer, event):
        """Of an op without a tick: nothing but answers may be sent."""
        device = self.model.find(event["p"], event["d"])
        if device and answer.get("id", device.id) != device.id:
            raise Difference(f"{device.name} has the id {answer['id']}, not {device.id}")
        messages = self.sort(answer)
        for message in messages:
            self.model.sent(message)
        if self.answers:
            raise Difference(f"no answer to {self.answers}")

    # --- comparing

    @staticmethod
    def same(what, wanted, found):
        if wanted != found:
            keys = [k for k in wanted if wanted[k] != found.get(k)]
            raise Difference(f"{what}:" + "".join(
                f"\n    {k}\n        wanted {wanted[k]}\n        found  {found.get(k)}"
                for k in keys))

    def clocks(self, event):
        self.same(f"clocks after {event}",
                  {"mono": self.model.mono, "unix": self.model.unix,
                   "service": self.model.service},
                  {"mono": self.play.mono, "unix": self.play.unix, "service": self.play.service})

    def settle(self):
        """Ticks without time, for what follows from what the last one did."""
        for _ in range(5):
            self.model.tick(self.sort(self.play.op("tick")))
            if not self.model.restless:
                break

    def compare(self):
        """What lags behind by a tick or two gets the time to."""
        first = None
        for _ in range(3):
            try:
                if first:
                    self.do_advance({"ms": 2 * STEP})
                self.settle()
                self.compare_batches()
                self.compare_tasks()
                self.compare_heard()
                self.compared += 1
                if self.compared % LISTS_EVERY == 0:
                    self.compare_lists()
                return
            except Difference as difference:
                first = first or difference
        raise first

    def compare_batches(self):
        numbers = list(self.model.batches)
        for at in range(0, len(numbers), 100):
            part = numbers[at:at + 100]
            responses = self.send("viewer", [{"command": "getBatch", "batch": n} for n in part])
            for number, response in zip(part, responses):
                if "error" in response:
                    raise Difference(f"batch {number}: {response}")
                wanted = self.model.batches[number].view(self.model.service)
                self.same(f"batch {number}", wanted,
                          batch_view(response["data"]["batch"], wanted))

    def list_tasks(self, product):
        """Oldest first."""
        rows, more = [], {}
        while True:
            response, = self.send("viewer", [{"command": "listTasks", "product": product,
                                              "limit": 200, **more}])
            rows += response["data"]["tasks"]
            if "nextCursor" not in response["data"]:
                return sorted(rows, key=lambda row: row["task"])
            more = {"cursor": response["data"]["nextCursor"]}

    def compare_tasks(self):
        for name, product in self.model.products.items():
            rows = {}
            for row in self.list_tasks(name):
                rows.setdefault(row["device"], []).append(row)
            wanted = {}
            for task in self.model.tasks:
                if task.device.product is product:
                    wanted.setdefault(task.device.name, []).append(task)
            self.same(f"tasks of {name}, by device", {d: len(t) for d, t in wanted.items()},
                      {d: len(r) for d, r in rows.items()})
            for device, tasks in wanted.items():
                for task, row in zip(tasks, rows[device]):
                    self.model.learn(task, row["task"])
                    self.compare_task(task, row)

    def compare_task(self, task, row):
        wanted = task.view()
        self.same(f"task {task.id} of {task.device.name}", wanted, {k: row[k] for k in wanted})
        reasons = self.model.why_waiting(task)
        good = row["waitReason"] in reasons if reasons else row["waitReason"] is None
        if row["status"] == "task_waiting" and not good:
            raise Difference(f"task {task.id} of {task.device.name} waits for "
                             f"{row['waitReason']}, and not {reasons}")

    def compare_lists(self):
        for name, product in self.model.products.items():
            response, = self.send("viewer", [{"command": "getStats", "product": name}])
            data = response["data"]
            self.same(f"the statistics of {name}", self.model.stats(product), {
                "statuses": nonzero(data["statuses"]),
                "failures": {(f["resultCode"], f["fromVersion"]): f["count"]
                             for f in data["failures"]},
                "versions": {v["version"]: v["devices"] for v in data["versions"]}})
        for state in NOT_OVER + ("cancelled", "finished"):
            numbers, more = [], {}
            while more is not None:
                response, = self.send("viewer", [{"command": "listBatches", "state": state,
                                                  "product": "p", **more}])
                numbers += [b["batch"] for b in response["data"]["batches"]]
                cursor = response["data"].get("nextCursor")
                more = {"cursor": cursor} if cursor else None
            self.same("lists of batches", {state: [
                n for n, b in reversed(self.model.batches.items()) if b.state == state]},
                {state: numbers})

    def compare_heard(self):
        for (kind, number), event in self.heard.items():
            if kind == "batch" and number in self.model.batches:
                batch = self.model.batches[number]
                self.same(f"the last event of batch {number}",
                          {"state": batch.state, "reason": batch.reason},
                          {"state": event["state"], "reason": event.get("reason")})
            task = self.model.by_id.get(number)
            if kind == "task" and task and not task.status == "waiting":
                self.same(f"the last event of task {number}",
                          {"status": task.status, "confirmation": task.confirmation},
                          {"status": event["status"], "confirmation": event.get("confirmation")})


def nonzero(counts):
    return {key: count for key, count in counts.items() if count}


def batch_view(batch, wanted):
    """What the service shows, as far as the model knows it."""
    stages = [{"state": s["state"], "opened": s["openedAt"] is not None, "total": s["total"],
               "counts": nonzero(s["counts"]), "confirmed": s["confirmed"]}
              for s in batch["stages"]]
    view = {**batch, "excluded": nonzero(batch["excluded"]), "counts": nonzero(batch["counts"]),
            "stages": stages if wanted["stages"] is not None else None}
    return {key: view[key] for key in wanted}
