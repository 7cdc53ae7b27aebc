# SPDX-License-Identifier: BSD-3-Clause
"""Batches while test_kill9.py kills the broker: an operator who steers one after the other, and
their devices, which really download. All in product b."""
import asyncio
import hashlib
import socket
from urllib.parse import urlsplit

from kill9_actors import (
    CANCELLED,
    DOWNLOADING,
    FAILED,
    SENT,
    STATES,
    SUCCEEDED,
    WAITING,
    Actor,
    DeviceActor,
    unheard_of,
)
from wire import Lost

# One after the other, so many that a device that is slow meets none of them twice.
VERSIONS = tuple(f"b{number}" for number in range(1, 9))
SIZE = 600_000

# enum ota_batch_state, enum ota_batch_reason
PREPARING, RUNNING, PAUSED, CUT, FINISHED = range(2, 7)
BY_ADMIN = 1
ALL_PREPARED = 2


class Dead(Exception):
    """The URL gives nothing any more."""


async def fetch(url, start):
    """See Member.fetch."""
    place = urlsplit(url)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)  # or all of it is here at once
    narrow.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(narrow, (place.hostname, place.port))
    except OSError as error:
        narrow.close()
        raise Lost from error
    reader, writer = await asyncio.open_connection(sock=narrow)
    try:
        head = f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nRange: bytes={start}-\r\n\r\n"
        writer.write(head.encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = int(answer.split(" ", 2)[1])
        if status == 403:
            raise Dead
        assert status == 206 and f"Content-Range: bytes {start}-" in answer, answer
        while data := await reader.read(20_000):
            yield data
    except (OSError, asyncio.IncompleteReadError):
        await asyncio.sleep(0.02)  # cut by a cancel or by the broker's end: the next request tells
    finally:
        writer.close()


class Member(DeviceActor):
    """A device that does what batches want of it. model["tasks"]: {task: what it knows of it}."""

    def __init__(self, commands, rng, name):
        super().__init__(commands, rng, name, "b")
        self.model |= {"tasks": {}}
        self.notice = None  # of the task that it works on
        self.content = b""  # of the notice's firmware, as far as it came
        self.cut = False  # a download of it broke with the broker
        self.wrong = []
        self.downloads = {"whole": 0, "resumed": 0, "refused": 0}

    def heard(self, message):
        if message["type"] == "update_firmware":
            self.take_notice(message)
        elif message["type"] == "cancel_firmware" and self.notice and (
            message["task"] == self.notice["task"]
        ):
            self.notice = None

    def take_notice(self, message):
        task = self.model["tasks"].setdefault(
            message["task"], {"status": SENT, "attempt": 1, "confirmed": False}
        )
        if task["status"] == SUCCEEDED:
            self.wrong.append(f"{self.name}: notice of {message['task']}, which is done")
        if task["status"] == FAILED:
            task.update(status=SENT, attempt=task["attempt"] + 1)
        if not self.notice or self.notice["task"] != message["task"] or (
            self.notice["url"] != message["url"]
        ):
            self.content, self.cut = b"", False
        self.notice = message

    def apply(self, model, thing, answer):
        _, report, number = thing
        task = model["tasks"].get(number)
        if report["type"] == "report_progress":
            task["status"] = STATES[report["report"]["progress"]["state"]]
            return
        version = report["report"]["version"]
        if model["version"] != version:
            model["version"] = version
            model["versions"].append(version)
        if task:
            task["confirmed"] = True

    async def step(self):
        task = self.model["tasks"][self.notice["task"]] if self.notice else None
        if task and task["status"] == SUCCEEDED and not task["confirmed"]:
            await self.reports_version(self.notice["version"], self.notice["task"])
        elif self.fresh:
            if self.cut:
                await self.download()  # before anything else: its URL is as good as before
            await self.hello()
        elif task is None or task["status"] in (FAILED, SUCCEEDED):
            await self.wait_heard()
        elif task["status"] == SENT:
            await self.says("downloading")
        elif task["status"] == DOWNLOADING and len(self.content) < self.notice["file_size"]:
            await self.download()
        else:
            await self.says(self.rng.choice(["done", "done", "done", "burning", "fail"]))
        self.fresh = False

    def is_idle(self):
        task = self.model["tasks"][self.notice["task"]] if self.notice else None
        return not self.pending and (
            task is None or task["status"] == FAILED or task["confirmed"]
        )

    async def hello(self):
        await self.reports_version(self.model["version"] or "b0")
        self.fresh = False

    async def says(self, state):
        progress = {"state": state, "percent": self.rng.randrange(100), "result_code": -1}
        report = {"progress": progress, "version": self.notice["version"]}
        await self.send(
            ("report", {"type": "report_progress", "report": report}, self.notice["task"])
        )

    async def reports_version(self, version, confirms=None):
        report = {"type": "report_version", "report": {"version": version}}
        await self.send(("report", report, confirms))

    def fetch(self, notice):
        """Yields what comes behind what it has; Dead where it is refused, Lost with the broker."""
        return fetch(notice["url"], len(self.content))

    async def download(self):
        notice, resumes = self.notice, self.cut
        if notice is None:
            return
        try:
            async for data in self.fetch(notice):
                if self.notice is not notice:
                    return
                if resumes:
                    self.downloads["resumed"] += 1
                self.cut = resumes = False
                self.content += data
                await asyncio.sleep(self.rng.random() * 0.01)
        except Dead:
            self.downloads["refused"] += 1
            await self.expect_finished(notice["task"])
            self.notice = None
            return
        except Lost:
            self.cut = 0 < len(self.content) < notice["file_size"]
            raise
        if len(self.content) == notice["file_size"]:
            self.downloads["whole"] += 1
            if hashlib.sha256(self.content).hexdigest() != notice["sha256"]:
                self.wrong.append(f"{self.name}: other bytes than {notice}")

    async def expect_finished(self, number):
        """A URL is refused for a reason."""
        task = (await self.commands.call("getTask", {"task": number}))["task"]
        if task["status"] in ("message_sent", "downloading", "downloaded", "upgrading"):
            self.wrong.append(f"{self.name}: download refused, and yet {task}")

    def check(self, found, batches):
        """Against what the file holds of this device."""
        assert not self.wrong, self.wrong
        actual = found or unheard_of()
        newest = actual["tasks"][-1]["id"] if actual["tasks"] else None
        rows = {task["id"]: task for task in actual["tasks"]}
        for row in rows.values():
            assert row["sent"] <= row["attempt"], f"{self.name}: sent twice: {row}"
        assert any(
            (actual["version"], actual["versions"]) == (model["version"], model["versions"])
            and all(
                fits(task, rows.get(number), number == newest, batches)
                for number, task in model["tasks"].items()
            )
            for model in self.candidates()
        ), f"{self.name}\nis       {actual}\nmust be  {self.model}\npending  {self.pending}"


def fits(task, row, newest, batches):
    """Whether the file's row may be what the device knows of its task."""
    if row is None or row["attempt"] < task["attempt"]:
        return False
    if row["attempt"] > task["attempt"]:
        return task["status"] not in (SUCCEEDED,)  # tried again: the device doesn't know yet
    if row["status"] == CANCELLED and (
        not newest or (batches[row["batch"]]["state"] == CUT and task["status"] != SUCCEEDED)
    ):
        return True
    if task["confirmed"] and newest and not row["confirmed"]:
        return False
    return row["status"] == task["status"]


class Steerer(Actor):
    """An operator with one batch after the other. model: batches {id: state that it was brought
    to}, last, open (its stages), cut (how the last one was cancelled)."""

    refusals = ("conflict",)  # a batch goes on by itself

    def __init__(self, commands, rng, members):
        super().__init__(commands, rng)
        self.members = members
        self.model = {"batches": {}, "last": None, "open": 0}
        self.running = None  # cancelBatch's, of the last batch
        self.failed = {}  # {task: attempt} when retryBatch was asked for
        self.sent = None  # first notices of a batch that was found paused

    def apply(self, model, thing, answer):
        _, name, fields = thing
        if answer and "refused" in answer:
            self.failed = {} if name == "retryBatch" else self.failed
            return
        batch = answer["batch"] if answer else None
        if name == "createBatch":
            model["last"], model["open"] = batch["batch"] if batch else None, 0
        state = {"pauseBatch": PAUSED, "cancelBatch": CUT}.get(name, RUNNING)
        model["batches"][fields.get("batch", model["last"])] = state
        if batch:
            model["open"] = max(
                model["open"], sum(stage["state"] != "waiting" for stage in batch["stages"])
            )

    async def step(self):
        batch = None
        if self.model["last"]:
            batch = await self.commands.call("getBatch", {"batch": self.model["last"]})
            batch = batch["batch"]
        if batch is None or batch["state"] == "cancelled":
            await self.create()
        elif batch["state"] == "finished":
            await self.after(batch)
        elif batch["state"] == "paused":
            if self.rng.random() < 0.4:
                await self.steer(self.rng.choice(["resume", "resume", "advance", "cancel"]))
        else:
            await self.steer(self.rng.choice(["pause", "pause", "advance", "cancel", "retry"]))
        await asyncio.sleep(self.rng.random() * 0.15)

    async def create(self):
        self.failed = {}
        await self.command(
            "createBatch", product="b", version=VERSIONS[len(self.model["batches"]) % 8],
            target={"all": True}, override=True, allowDowngrade=True, gate="done",
            maxInFlight=self.rng.randrange(5, 40), ratePerMinute=self.rng.choice([600, 1200, 6000]),
            stages=[{"percent": 50, "minSuccessPercent": 30}, {"percent": 100}],
        )

    async def after(self, batch):
        if batch["counts"]["failed"] and self.rng.random() < 0.7:
            await self.steer("retry")
        else:
            await self.create()

    async def steer(self, verb):
        fields = {"batch": self.model["last"]}
        if verb == "cancel":
            fields["running"] = self.running = self.rng.choice(["finish", "cancel"])
        if verb == "retry":
            self.failed = {
                number: task["attempt"]
                for member in self.members
                for number, task in member.model["tasks"].items()
                if task["status"] == FAILED and not member.pending
            }
        await self.command(f"{verb}Batch", **fields)

    def check(self, found):
        candidates = list(self.candidates())
        assert any(self.same(found, model) for model in candidates), (
            f"batches\nis       {found}\nmust be  "
            + "\nor       ".join(map(str, candidates)) + f"\npending  {self.pending}"
        )

    @staticmethod
    def same(found, model):
        states = dict(model["batches"])
        if None in states:  # its number isn't known yet
            new = set(found) - set(states)
            if len(new) != 1:
                return False
            states[new.pop()] = states.pop(None)
        elif model["last"] and found[model["last"]]["open"] < model["open"]:
            return False
        return states.keys() == found.keys() and all(
            is_state(found[number], state) for number, state in states.items()
        )

    def is_settled(self, found):
        """Whether all that the commands were to do is done."""
        row = found.batches.get(self.model["last"])
        if row is None:
            return True
        if row["state"] in (RUNNING, PREPARING) and row["prepared"] != ALL_PREPARED:
            return False
        if row["retried_to"] is not None:
            return False
        left = {WAITING} if self.running == "finish" else {WAITING, SENT, DOWNLOADING}
        return row["state"] != CUT or not any(
            task["status"] in left
            for member in found.members.values()
            for task in member["tasks"]
            if task["batch"] == self.model["last"]
        )

    def check_retried(self, found):
        """retryBatch was acknowledged: what had failed waits again, or went on from there."""
        if self.pending or self.model["batches"].get(self.model["last"]) != RUNNING:
            return
        for member in found.members.values():
            for task in member["tasks"]:
                if task["batch"] == self.model["last"] and task["id"] in self.failed:
                    assert task["attempt"] > self.failed[task["id"]], f"not tried again: {task}"

    def note_paused(self, found):
        """Right after the start, before anything is sent again."""
        row = found.batches.get(self.model["last"])
        quiet = row and row["state"] == PAUSED and not self.pending
        self.sent = self.count_sent(found) if quiet else None

    async def check_paused(self, look):
        """A paused batch sends nothing because the broker started again, whoever is there."""
        if self.sent is not None:
            idle = [member.hello() for member in self.members if member.is_idle()]
            await asyncio.gather(*idle)
            await asyncio.sleep(0.05)  # nothing tells that nothing comes
            found = look()
            assert self.count_sent(found) == self.sent, f"batch {self.model['last']} is paused"

    def count_sent(self, found):
        return sum(
            task["sent"]
            for member in found.members.values()
            for task in member["tasks"]
            if task["batch"] == self.model["last"]
        )


def is_state(row, state):
    """Whether a batch that was brought to that state may be found like this."""
    if state == CUT or row["state"] == CUT:
        return state == row["state"]
    if row["state"] == FINISHED:
        return True
    by_admin = row["state"] == PAUSED and row["reason"] == BY_ADMIN
    return by_admin == (state == PAUSED)
