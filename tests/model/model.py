# SPDX-License-Identifier: BSD-3-Clause
"""What control-api.md, device-protocol.md and adr/0010 say, once more, small and slow: products,
devices, tasks, batches, without storage, slices or queues.

The model is told what an admin, a device or the clock does, and what the service sent meanwhile.
It raises a Difference where something was sent that must not be, or wasn't that had to be, and
shows (`view`, `tasks`) what the service has to show. Times are milliseconds of three clocks: mono,
service (stands still while the broker is down), unix (jumps).
"""
import math

WAITING = "waiting"  # shown as device_offline or task_waiting
SENT, DOWNLOADING, DOWNLOADED, UPGRADING = "message_sent", "downloading", "downloaded", "upgrading"
FAILED, SUCCEEDED, CANCELLED = "failed", "succeeded", "cancelled"
TIMED = (SENT, DOWNLOADING, DOWNLOADED, UPGRADING)
STEPS = {"downloading": DOWNLOADING, "downloaded": DOWNLOADED, "burning": UPGRADING}
RETRY_ON = ("timeout", -1, -3, -5)

GRACE, INTERVAL = 3000, 10000  # a notice after SUBSCRIBE, and between two notices
SLACK = 100  # what is possible happens within two ticks
ALMOST = 1e-6
NOT_OVER = ("draft", "scheduled", "preparing", "running", "paused")
TASKS_A_DEVICE = 3  # in a continuous batch
EVER = 2 ** 64


class Difference(AssertionError):
    """The service did what it must not, or not what it must."""


class Refused(Exception):
    """A command that fails, with its code."""


def check(condition, code):
    if not condition:
        raise Refused(code)


def mix(value):
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9 % EVER
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb % EVER
    return value ^ (value >> 31)


def key_of(batch, device):
    return mix((mix(batch) + device) % EVER)


# --- a task ---------------------------------------------------------------------------------------

class Task:
    """The state machine of one upgrade."""

    def __init__(self, device, firmware, fields, batch, reinstall):
        retry = fields.get("retry", {})
        self.id, self.device, self.batch, self.firmware = None, device, batch, firmware
        self.version, self.reinstall = firmware.version, reinstall
        self.from_version = device.version
        self.key = key_of(batch.id, device.id) if batch else 0
        self.timeout = fields.get("timeoutSeconds", 60) * 1000
        self.retry_max, self.retry_delay = retry.get("max", 0), retry.get("delaySeconds", 30) * 1000
        self.retry_on = retry.get("on", RETRY_ON)
        self._status = WAITING
        self.confirmation, self.ending, self.code = None, None, None
        self.attempt, self.retries = 1, 0
        self.noticed = self.told = self.evidence = False  # told: in some attempt
        self.deadline = 0  # service: of the attempt, or when a waiting one's turn is
        self.settles = 0   # service: until then the latest version report decides
        self.notice_at = None  # mono: of the next notice, if the device is there
        self.progress = False  # seen on this connection, in this attempt
        self.ready_since = None

    @property
    def status(self):
        return self._status

    @status.setter
    def status(self, after):
        if after in TIMED:
            self.device.echoes = False
        elif self._status in TIMED:
            self.device.echoes = True
        self._status = after

    def unfinished(self):
        return self.status == WAITING or self.status in TIMED

    def may_be_late(self):
        return self.ending == "timeout" or (self.ending == "admin" and self.told)

    def overdue(self, service):
        return (self.status, self.confirmation) == (SUCCEEDED, "pending") and service >= self.settles

    def begin(self, service):
        if not self.noticed:
            self.noticed = self.told = True
            self.deadline = service + self.timeout

    def succeed(self, confirmation, service):
        self.status, self.confirmation, self.ending, self.code = SUCCEEDED, confirmation, None, None
        self.settles = service + self.timeout
        return True

    def start_over(self, turn):
        self.status, self.confirmation, self.deadline = WAITING, None, turn
        self.attempt += 1
        self.noticed = self.evidence = False
        return True

    def fail(self, ending, code, service):
        self.ending, self.code = ending, code
        if self.retries < self.retry_max and (code or ending) in self.retry_on:
            self.retries += 1
            return self.start_over(service + self.retry_delay)
        self.status = FAILED
        return True

    def cancel(self, ending):
        self.status, self.ending, self.code = CANCELLED, ending, None
        return True

    def retry(self):
        self.retries, self.ending, self.code = 0, None, None
        return self.start_over(0)

    def hear(self, event, code, service):
        """The device's word; whether it changed anything."""
        late = self.status in (FAILED, CANCELLED) and self.may_be_late()
        if event == "downloading" and self.status == WAITING and self.device.echoes:
            return False
        if event in STEPS and self.unfinished():
            self.evidence = self.evidence or event != "downloading"
            if self.status == STEPS[event]:
                return False
            self.begin(service)
            self.status = STEPS[event]
            return True
        if event == "done" and (self.unfinished() or late):
            self.evidence = True
            return self.succeed("pending", service)
        if event == "fail" and self.status in TIMED:
            return self.fail("device", code, service)
        if event == "target" and (self.unfinished() or late):
            proof = not self.reinstall or self.evidence
            return proof and self.succeed("confirmed", service)
        if event in ("target", "other") and self.status == SUCCEEDED:
            return self.settle("confirmed" if event == "target" else "contradicted", service)
        return False

    def settle(self, confirmation, service):
        open_ = service <= self.settles
        late_proof = confirmation == "confirmed" and self.confirmation == "pending"
        if confirmation == self.confirmation or not (open_ or late_proof):
            return False
        self.confirmation = confirmation
        return True

    def shown(self):
        if self.status != WAITING:
            return self.status
        return "task_waiting" if self.device.online else "device_offline"

    def view(self):
        return {"status": self.shown(), "confirmation": self.confirmation,
                "version": self.version, "fromVersion": self.from_version, "attempt": self.attempt,
                "batch": self.batch.id if self.batch else None,
                "resultCode": self.code if self.ending == "device" else None}


class Firmware:
    def __init__(self, version, order):
        self.version, self.order = version, order


class Device:
    def __init__(self, number, product, name):
        self.id, self.product, self.name = number, product, name
        self.version, self.tags, self.hold, self.online = None, frozenset(), False, False
        self.echoes = False  # an attempt ended on this connection: it may still speak of that one
        self.task = self.last = None  # the unfinished task; the newest one


class Product:
    def __init__(self):
        self.firmware, self.devices = {}, {}


# --- a batch --------------------------------------------------------------------------------------

class Stage:
    def __init__(self, batch, fields):
        self.batch, self.fields = batch, fields
        self.opened, self.passed_at, self.first, self.last = False, None, 0, EVER
        self.state = "waiting"

    def tasks(self):
        return [t for t in self.batch.tasks if self.has(t)]

    def has(self, task):
        return self.first <= task.key <= self.last


class Batch:
    def __init__(self, number, product, fields):
        self.id, self.product, self.fields = number, product, fields
        self.firmware = product.firmware[fields["version"]]
        target = fields.get("target") or {}
        self.target = {k: v for k, v in target.items() if k != "devices"}
        self.names = set(target["devices"]) if "devices" in target else None
        self.stages = [Stage(self, s) for s in fields.get("stages", [{"percent": 100}])]
        self.tasks, self.excluded = [], {}
        self.state, self.reason = "draft", None
        self.begun = self.prepared = self.expired = self.cancel_all = False
        self.known = [0, 0]  # failures, successes
        self.tokens, self.tokens_at = 1.0, None
        self.idle_since = None  # somebody could be told, and nobody was

    def continuous(self):
        return self.fields.get("mode") == "continuous"

    def over(self):
        return self.state not in NOT_OVER

    def begin(self):
        self.state, self.begun = "preparing", True

    def takes(self, device):
        version, target = device.version, self.target
        return ((self.names is None or device.name in self.names)
                and ("fromVersions" not in target or version in target["fromVersions"])
                and ("notVersions" not in target or
                     version not in (None, *target["notVersions"]))
                and set(target.get("tags", ())) <= device.tags
                and device.online in (target.get("online", device.online),))

    def excludes(self, device):
        """Why a device that matches gets no task, or None."""
        target = self.firmware
        present = self.product.firmware.get(device.version)
        if device.version == target.version and not self.fields.get("reinstall"):
            return "on_version"
        if device.task and not self.fields.get("override"):
            return "busy"
        if device.hold:
            return "held"
        older = present is not None and target.order < present.order
        return "downgrade" if older and not self.fields.get("allowDowngrade") else None

    def ends(self, total):
        """The rank of the last device of each stage."""
        ends = []
        for stage in self.stages:
            want = stage.fields.get("count") or math.ceil(
                total * stage.fields["percent"] / 100 - ALMOST)
            ends.append(min(max(want, (ends or [0])[-1] + 1), total))
        return ends

    def place(self):
        """Who is in which stage, by the order of the devices' keys."""
        keys = sorted(t.key for t in self.tasks)
        first = 0
        for stage, end in zip(self.stages, self.ends(len(keys))):
            stage.first, stage.last = first, keys[end - 1] if keys else -1
            first = stage.last + 1
        self.stages[-1].last = EVER

    def gate_failed(self, task, service):
        if self.fields.get("gate", "confirmed") == "done":
            return task.status == FAILED
        return (task.status == FAILED or task.confirmation == "contradicted"
                or task.overdue(service))

    def gate_passed(self, task):
        done = self.fields.get("gate", "confirmed") == "done"
        return task.status == SUCCEEDED if done else task.confirmation == "confirmed"

    def outcomes(self, service, tasks=None):
        if tasks is None:
            tasks = [t for s in self.stages if s.opened for t in s.tasks()]
        return [sum(self.gate_failed(t, service) for t in tasks),
                sum(self.gate_passed(t) for t in tasks)]

    def note(self, service):
        """An outcome that has gone away by the next tick is no longer known."""
        self.known = [min(old, new) for old, new in zip(self.known, self.outcomes(service))]

    def learn(self, service):
        self.known = self.outcomes(service)

    def in_flight(self, service):
        waits = self.fields.get("gate", "confirmed") == "confirmed"
        return sum(t.status in TIMED or (waits and t.confirmation == "pending"
                                         and not t.overdue(service)) for t in self.tasks)

    def have(self, service):
        """Tokens in the bucket; time in which the batch is paused doesn't count."""
        a_second = self.fields.get("ratePerMinute", 0) / 60
        if self.state == "paused" or self.tokens_at is None:
            return self.tokens
        filled = self.tokens + (service - self.tokens_at) * a_second / 1000
        return min(filled, max(1.0, a_second))

    def fill(self, service, take=0):
        """Before what changes how it is filled, or takes from it."""
        self.tokens, self.tokens_at = self.have(service) - take, service

    def holds_back(self, task, service, early=0):
        """Why the batch lets a task that is ready wait: all reasons. A token that came between two
        ticks was taken when it came: the next one may be so much earlier after the later tick."""
        reasons = set()
        if self.state == "paused":
            reasons.add("paused")
        elif self.state != "running":
            reasons.add(self.state)
        if not any(s.opened and s.has(task) for s in self.stages):
            reasons.add("stage")
        if self.in_flight(service) >= self.fields.get("maxInFlight", 500):
            reasons.add("in_flight")
        rate = self.fields.get("ratePerMinute")
        if rate and self.have(service) + rate / 60000 * early < 1 - ALMOST:
            reasons.add("paced")
        return reasons

    def ending_of(self, task):
        """How the batch ends the task now, or None."""
        if self.state == "cancelled" and (task.status == WAITING or
                                          (self.cancel_all and task.status in TIMED)):
            return "admin"
        return "expired" if self.expired and task.status == WAITING and not task.told else None

    def open_next(self):
        stage = next(s for s in self.stages if not s.opened)
        for before in self.stages[:self.stages.index(stage)]:
            before.state = "passed"
        stage.opened, stage.state = True, "open"

    def all_open(self):
        return all(s.opened for s in self.stages)

    def pause(self, reason, service):
        self.fill(service)
        self.state, self.reason = "paused", "expired" if self.expired else reason
        return True

    def act(self, service):
        """One step of the rules; whether anything changed."""
        ended = not any(t.unfinished() for t in self.tasks)
        if self.prepared and ended and (self.expired or not self.continuous()):
            self.state = "finished"
            self.reason = "expired" if self.expired else None
            return True
        if self.state != "running":
            return False
        failures, successes = self.outcomes(service)
        failures, successes = max(0, failures - self.known[0]), max(0, successes - self.known[1])
        limit = self.fields.get("failureThreshold")
        if (limit and failures + successes >= limit["minFinished"]
                and failures * 100 >= (failures + successes) * limit["percent"]):
            return self.pause("failure_threshold", service)
        return not self.all_open() and self.act_on_gate(service)

    def act_on_gate(self, service):
        stage = [s for s in self.stages if s.opened][-1]
        tasks = stage.tasks()
        percent = stage.fields.get("minSuccessPercent", 90)
        if percent and not tasks and any(s.tasks() for s in self.stages if not s.opened):
            return False  # its devices were deleted: nobody has proved anything
        needed = -(-len(tasks) * percent // 100)
        failures, successes = self.outcomes(service, tasks)
        if len(tasks) - failures < needed:
            return self.pause("stage_gate", service)
        if successes < needed:
            stage.passed_at = None
            return False
        if stage.passed_at is None:
            stage.passed_at = service
        soaked = service - stage.passed_at >= stage.fields.get("soakSeconds", 0) * 1000
        if not soaked or stage.fields.get("advance") == "manual":
            return False
        self.open_next()
        return True

    # --- how it looks

    @staticmethod
    def tally(tasks):
        counts = {}
        for task in tasks:
            counts[task.shown()] = counts.get(task.shown(), 0) + 1
        return {"total": len(tasks), "counts": counts,
                "confirmed": sum(t.confirmation == "confirmed" for t in tasks)}

    def view(self, service):
        stages = [{"state": s.state, "opened": s.opened, **self.tally(s.tasks())}
                  for s in self.stages]
        view = {"state": self.state, "stateReason": self.reason, "excluded": dict(self.excluded),
                "contradicted": sum(t.confirmation == "contradicted" for t in self.tasks),
                "stages": stages if self.prepared else None, **self.tally(self.tasks)}
        if not self.over():
            view["inFlight"] = self.in_flight(service)
            view["failures"], view["successes"] = self.outcomes(service, self.tasks)
        return view


# --- the whole ------------------------------------------------------------------------------------

class Model:
    def __init__(self, mono, unix):
        self.mono, self.unix, self.service = mono, unix, 0
        self.products, self.tasks, self.batches = {}, [], {}
        self.by_id = {}
        self.looks = []     # devices that a continuous batch may want
        self.cancels = []   # tasks whose device has to hear of it
        self.last_batch = 0
        self.restless = False  # the next tick has something to do

    # --- devices

    def find(self, product, device):
        return self.products[product].devices.get(device)

    def register(self, product, name):
        used = [d.id for p in self.products.values() for d in p.devices.values()]
        device = Device(max(used, default=0) + 1, self.products[product], name)
        self.products[product].devices[name] = device
        self.looks.append(device)
        return device

    def online(self, device):
        if not device.online:
            device.online = True
            device.echoes = False
            if device.task:
                device.task.progress = False
                late = device.task.status == UPGRADING
                device.task.notice_at = None if late else self.mono + GRACE

    def connect(self, product, name):
        device = self.find(product, name)
        if device:
            self.online(device)

    def disconnect(self, product, name):
        device = self.find(product, name)
        if device:
            device.online = False

    def start_again(self):
        """Nobody is connected; who was to be looked at is forgotten, so all are."""
        for product in self.products.values():
            for device in product.devices.values():
                device.online = False
                self.looks.append(device)

    def report_version(self, product, name, version):
        device = self.find(product, name) or self.register(product, name)
        self.online(device)
        device.version = version
        task = device.task or device.last
        if task and version == task.version:
            self.hear(task, "target")
        elif task and not device.task:
            self.hear(task, "other")
        if device.task and not device.task.progress:
            device.task.notice_at = self.mono
        self.looks.append(device)

    def report_progress(self, product, name, version, state, code=0):
        device = self.find(product, name) or self.register(product, name)
        self.online(device)
        task = device.task or device.last
        if not task or task.version != version:
            return
        changed = self.hear(task, state, code)
        if task.status in TIMED and (changed or state in STEPS):
            task.progress, task.notice_at = True, None

    def hear(self, task, event, code=0):
        changed = task.hear(event, code, self.service)
        if changed:
            self.moved(task)
        return changed

    def moved(self, task):
        """A task's status changed."""
        self.restless = True
        device = task.device
        if task.status == WAITING:
            device.task = device.last = task
            task.progress, task.notice_at = False, self.mono
        elif not task.unfinished() and device.task is task:
            device.task = None
            self.looks.append(device)

    def make(self, device, firmware, fields, batch=None):
        self.restless = True
        if device.task:
            self.cancel(device.task, "admin")
        reinstall = device.version == firmware.version
        task = Task(device, firmware, fields, batch, reinstall)
        task.notice_at = self.mono
        device.task = device.last = task
        self.tasks.append(task)
        if batch:
            batch.tasks.append(task)
        return task

    def cancel(self, task, ending):
        if task.status in TIMED and task.device.online:
            self.cancels.append(task)
        task.cancel(ending)
        self.moved(task)

    # --- what happens by itself

    def advance(self, mono):
        """Service and wall clock go with it, but a tick counts for a second at most."""
        passed = mono - self.mono
        self.mono += passed
        self.unix += passed
        self.service += min(passed, 1000)

    def tick(self, messages=()):
        """Batches first, then deadlines, then notices; what follows from them is the next one's."""
        self.restless = False
        for batch in self.batches.values():
            self.run(batch)
        looks, self.looks = self.looks, []
        for device in looks:
            self.look(device)
        for task in self.tasks:
            ending = task.batch and task.batch.ending_of(task)
            if ending:
                self.cancel(task, ending)
            elif task.status in TIMED and task.deadline <= self.service:
                task.fail("timeout", None, self.service)
                self.moved(task)
        for message in messages:
            self.sent(message)
        self.demand()

    def run(self, batch):
        if not batch.over() and self.unix >= batch.fields.get("expireAt", EVER):
            batch.expired, batch.reason = True, "expired"
            if not batch.begun:
                batch.state = "finished"
        if batch.state == "scheduled" and batch.fields.get("startAt", 0) <= self.unix:
            batch.begin()
        if batch.begun and not batch.prepared and not batch.over():
            self.prepare(batch)
        batch.note(self.service)
        while not batch.over() and batch.act(self.service):
            pass

    def prepare(self, batch):
        batch.prepared = True
        if batch.state == "preparing":
            batch.state = "running"
        for device in sorted(batch.product.devices.values(), key=lambda d: d.id):
            taken = batch.continuous() and self.newest_taker(device) is not batch
            if batch.takes(device) and not taken:
                self.offer(batch, device, True)
        batch.place()
        batch.open_next()
        batch.tokens, batch.tokens_at = 1.0, self.service

    def offer(self, batch, device, count):
        reason = batch.excludes(device)
        if reason is None:
            self.make(device, batch.firmware, batch.fields, batch)
        elif count:
            batch.excluded[reason] = batch.excluded.get(reason, 0) + 1

    def newest_taker(self, device):
        """The newest continuous batch that the device matches has it, the others don't."""
        return max((b for b in self.batches.values()
                    if b.product is device.product and b.continuous() and b.begun
                    and not b.over() and not b.expired and b.takes(device)),
                   key=lambda b: b.id, default=None)

    def look(self, device):
        """It may have come to match."""
        batch = self.newest_taker(device)
        boots = (device.last and device.last.confirmation == "pending"
                 and batch and device.last.version == batch.firmware.version)
        if (batch and not boots and not (device.task and device.task.batch is batch)
                and sum(t.device is device for t in batch.tasks) < TASKS_A_DEVICE):
            self.offer(batch, device, False)

    # --- what was sent

    def ready(self, task):
        device = task.device
        return (task.status == WAITING and device.online and not device.hold
                and task.deadline <= self.service
                and task.notice_at is not None and task.notice_at <= self.mono)

    def sent(self, message):
        """A notice or a cancel went to a device."""
        device = self.find(message["product"], message["device"])
        if message["type"] == "cancel_firmware":
            task = next((t for t in self.cancels if t.device is device), None)
            if not task or (task.id or message["task"]) != message["task"]:
                raise Difference(f"a cancel that nobody asked for: {message}")
            self.cancels.remove(task)
            return
        task = device.task
        if not task or not device.online or task.version != message["version"]:
            raise Difference(f"a notice without a task, or to nobody: {message}")
        self.learn(task, message["task"])
        if task.status != WAITING:
            if task.notice_at is None or task.notice_at > self.mono:
                raise Difference(f"a notice again, too early: {message}")
        else:
            self.first_notice(task, message)
        task.notice_at = self.mono + INTERVAL

    def learn(self, task, number):
        if task.id is None:
            task.id = number
            self.by_id[number] = task
        if task.id != number:
            raise Difference(f"task {task.id} is called {number}")

    def first_notice(self, task, message):
        batch = task.batch
        if not self.ready(task):
            raise Difference(f"a notice to a device that isn't ready: {message}")
        if batch:
            reasons = batch.holds_back(task, self.service, SLACK)
            if reasons:
                raise Difference(f"a notice in spite of {reasons}: {message}")
            for other in batch.tasks:
                if (self.ready(other) and other.ready_since is not None
                        and other.ready_since < self.mono - SLACK
                        and other.key < task.key):
                    raise Difference(f"{other.device.name} comes before {message}")
            batch.fill(self.service, "ratePerMinute" in batch.fields)
            batch.idle_since = None
        task.begin(self.service)
        task.status = SENT
        self.moved(task)

    def demand(self):
        """What could have been sent for a while has been."""
        for task in self.tasks:
            if not self.ready(task):
                task.ready_since = None
            elif task.ready_since is None:
                task.ready_since = self.mono
            late = self.mono - SLACK
            if (task.status in TIMED and task.device.online and task.notice_at is not None
                    and task.notice_at < late):
                raise Difference(f"no notice again for {task.device.name}")
            if not task.batch and task.ready_since is not None and task.ready_since < late:
                raise Difference(f"no notice for {task.device.name}")
        for batch in self.batches.values():
            free = [t for t in batch.tasks if self.ready(t)
                    and not batch.holds_back(t, self.service)]
            if not free:
                batch.idle_since = None
            elif batch.idle_since is None:
                batch.idle_since = self.mono
            elif batch.idle_since < self.mono - SLACK:
                raise Difference(f"batch {batch.id} tells nobody: {[t.device.name for t in free]}")

    def wake(self):
        """mono: until then nothing happens by itself."""
        if self.restless:
            return self.mono
        service, unix = [], []
        mono = [b.idle_since + SLACK for b in self.batches.values() if b.idle_since is not None]
        for task in self.tasks:
            if task.status in TIMED:
                service.append(task.deadline)
            if task.unfinished() and task.device.online:
                mono += [task.notice_at or 0, (task.ready_since or 0) + SLACK]
                service.append(task.deadline)
            if task.confirmation == "pending":
                service.append(task.settles)
        for batch in self.batches.values():
            unix += [batch.fields.get("startAt", 0), batch.fields.get("expireAt", 0)]
            if batch.state == "running":
                service += [s.passed_at + s.fields.get("soakSeconds", 0) * 1000
                            for s in batch.stages if s.passed_at is not None]
                lacks = 1 - batch.have(self.service)
                if "ratePerMinute" in batch.fields and lacks > 0:
                    service.append(self.service +
                                   int(lacks * 60000 / batch.fields["ratePerMinute"]))
        waits = [t - self.mono for t in mono] + [t - self.service for t in service] + [
            t - self.unix for t in unix]
        return self.mono + min((w for w in waits if w > 0), default=EVER)
