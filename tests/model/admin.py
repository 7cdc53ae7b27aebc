# SPDX-License-Identifier: BSD-3-Clause
"""The reference model's admin commands: who may, what is refused with which code, what it does."""
from collections import Counter

from model import CANCELLED, EVER, FAILED, Batch, Firmware, Model, Product, check

ROLES = {"viewer": 0, "operator": 1, "admin": 2}
NEEDS = {"createProduct": 2, "createDevice": 2, "deleteDevice": 2, "addFirmware": 2,
         "deleteFirmware": 2}
READS = ("getBatch", "listTasks", "listBatches", "getStats")


class Admin(Model):
    def do(self, user, fields):
        """What the command answers, as far as the model knows; Refused where it fails."""
        name = fields["command"]
        need = 0 if name in READS else NEEDS.get(name, 1)
        check(ROLES[user] >= need, "forbidden")
        return getattr(self, "do_" + name)(fields)

    def product(self, fields):
        check(fields["product"] in self.products, "not_found")
        return self.products[fields["product"]]

    def device(self, fields):
        product = self.product(fields)
        check(fields["device"] in product.devices, "not_found")
        return product.devices[fields["device"]]

    def task(self, fields):
        check(fields["task"] in self.by_id, "not_found")
        return self.by_id[fields["task"]]

    def batch(self, fields):
        check(fields["batch"] in self.batches, "not_found")
        return self.batches[fields["batch"]]

    # --- products, firmware, devices

    def do_createProduct(self, fields):
        check(fields["product"] not in self.products, "already_exists")
        self.products[fields["product"]] = Product()

    def add_firmware(self, product, version, order):
        """An upload that was committed."""
        self.products[product].firmware[version] = Firmware(version, order)

    def do_deleteFirmware(self, fields):
        product = self.product(fields)
        firmware = product.firmware.get(fields["version"])
        check(firmware, "not_found")
        check(not any(t.unfinished() and t.firmware is firmware for t in self.tasks), "conflict")
        check(not any(not b.over() and b.firmware is firmware for b in self.batches.values()),
              "conflict")
        del product.firmware[fields["version"]]

    def do_createDevice(self, fields):
        product = self.product(fields)
        check(fields["device"] not in product.devices, "already_exists")
        device = self.register(fields["product"], fields["device"])
        device.tags = frozenset(fields.get("tags", ()))

    def do_updateDevice(self, fields):
        device = self.device(fields)
        if "tags" in fields:
            device.tags = frozenset(fields["tags"])
        device.hold = fields.get("hold", device.hold)
        if "tags" in fields or "hold" in fields:
            self.looks.append(device)

    def do_deleteDevice(self, fields):
        device = self.device(fields)
        check(not device.task, "conflict")
        del device.product.devices[device.name]
        self.looks = [d for d in self.looks if d is not device]
        for task in [t for t in self.tasks if t.device is device]:
            self.tasks.remove(task)
            self.by_id.pop(task.id, None)
            if task.batch:
                task.batch.tasks.remove(task)
        for batch in self.batches.values():
            if batch.names is not None:
                batch.names.discard(device.name)

    # --- single tasks

    def do_upgradeDevice(self, fields):
        device = self.device(fields)
        firmware = device.product.firmware.get(fields["version"])
        check(firmware, "not_found")
        present = device.product.firmware.get(device.version)
        check(not device.hold, "conflict")
        check(device.version != firmware.version or fields.get("reinstall"), "conflict")
        check(present is None or firmware.order >= present.order or fields.get("allowDowngrade"),
              "conflict")
        check(not device.task or fields.get("override"), "conflict")
        return self.make(device, firmware, fields)

    def do_cancelTask(self, fields):
        task = self.task(fields)
        check(task.unfinished(), "conflict")
        self.cancel(task, "admin")

    def may_wait_again(self, task):
        device = task.device
        return (not device.task and not device.hold
                and device.product.firmware.get(task.version) is task.firmware)

    def do_retryTask(self, fields):
        task = self.task(fields)
        batch = task.batch
        check(task.status in (FAILED, CANCELLED) and self.may_wait_again(task), "conflict")
        if batch and batch.over():
            check(batch.state == "finished" and not batch.expired, "conflict")
            batch.state = "running"
        task.retry()
        self.moved(task)

    # --- batches

    def do_createBatch(self, fields):
        start, expire = fields.get("startAt", 0), fields.get("expireAt", EVER)
        check(expire > max(start, self.unix), "invalid_request")
        check("target" in fields or fields.get("draft"), "invalid_request")
        if fields.get("mode") == "continuous":
            check("stages" not in fields and not fields.get("reinstall"), "invalid_request")
        product = self.product(fields)
        check(fields["version"] in product.firmware, "not_found")
        batch = Batch(self.last_batch + 1, product, fields)
        check((batch.names or set()) <= set(product.devices), "not_found")
        if fields.get("dryRun"):
            return self.dry_run(batch)
        self.last_batch = batch.id
        self.batches[batch.id] = batch
        if not fields.get("draft"):
            self.begin(batch)
        return batch

    def begin(self, batch):
        if batch.fields.get("startAt", 0) > self.unix:
            batch.state = "scheduled"
        else:
            batch.begin()

    def dry_run(self, batch):
        matched = [d for d in batch.product.devices.values() if batch.takes(d)]
        for device in matched:
            reason = batch.excludes(device)
            if reason:
                batch.excluded[reason] = batch.excluded.get(reason, 0) + 1
        ends = batch.ends(len(matched) - sum(batch.excluded.values()))
        return {"matched": len(matched), "excluded": batch.excluded,
                "stages": [end - before for before, end in zip([0, *ends], ends)]}

    def do_addBatchDevices(self, fields):
        batch = self.batch(fields)
        check(set(fields["devices"]) <= set(batch.product.devices), "not_found")
        check(batch.state == "draft", "conflict")
        batch.names = (batch.names or set()) | set(fields["devices"])

    def do_startBatch(self, fields):
        batch = self.batch(fields)
        check(batch.state == "draft", "conflict")
        check(batch.names is not None or "target" in batch.fields, "conflict")
        self.begin(batch)

    def do_updateBatch(self, fields):
        batch = self.batch(fields)
        check(not batch.over() and not batch.expired, "conflict")
        least = max(self.unix, batch.fields.get("startAt", 0))
        check(fields.get("expireAt", EVER) > least, "invalid_request")
        batch.fill(self.service)
        changes = {k: v for k, v in fields.items() if k not in ("command", "batch", "requestId")}
        batch.fields = {**batch.fields, **changes}

    def do_pauseBatch(self, fields):
        batch = self.batch(fields)
        check(batch.state in ("scheduled", "preparing", "running"), "conflict")
        batch.pause("admin", self.service)

    def go_on(self, batch):
        batch.fill(self.service)
        batch.learn(self.service)
        batch.state = "running"
        batch.reason = "expired" if batch.expired else None

    def do_resumeBatch(self, fields):
        batch = self.batch(fields)
        check(batch.state == "paused", "conflict")
        gate = batch.reason == "stage_gate"
        if not batch.prepared:
            batch.state, batch.reason = "preparing" if batch.begun else "scheduled", None
            return
        self.go_on(batch)
        if gate:
            batch.open_next()

    def do_advanceBatch(self, fields):
        batch = self.batch(fields)
        check(batch.state in ("running", "paused") and batch.prepared and not batch.all_open(),
              "conflict")
        if batch.state == "paused":
            self.go_on(batch)
        batch.open_next()

    def do_cancelBatch(self, fields):
        batch = self.batch(fields)
        check(not batch.over(), "conflict")
        batch.state, batch.reason = "cancelled", "admin"
        batch.cancel_all = fields.get("running") == "cancel"

    def do_retryBatch(self, fields):
        batch = self.batch(fields)
        check(batch.state in ("running", "paused", "finished") and not batch.expired
              and batch.prepared, "conflict")
        check(batch.product.firmware.get(batch.firmware.version) is batch.firmware, "conflict")
        if batch.state == "paused":
            self.go_on(batch)
        for task in batch.tasks:
            if (task.status == FAILED and self.may_wait_again(task)
                    and not batch.excludes(task.device)):
                task.retry()
                self.moved(task)
        batch.state, batch.reason = "running", None

    # --- reading

    def do_getBatch(self, fields):
        return self.batch(fields).view(self.service)

    def stats(self, product):
        tasks = [t for t in self.tasks if t.device.product is product]
        failed = [t for t in tasks if t.status == FAILED or t.confirmation == "contradicted"]
        return {"statuses": Counter(t.shown() for t in tasks),
                "failures": Counter((t.code, t.from_version) for t in failed),
                "versions": Counter(d.version for d in product.devices.values())}

    def why_waiting(self, task):
        """The waitReasons that are right for a task that is shown as task_waiting; none: None."""
        reasons = set()
        if task.batch and task.notice_at is not None and task.notice_at > self.mono:
            reasons.add("paced")  # the time that a device gets to report has no name of its own
        if task.device.hold:
            reasons.add("held")
        if task.deadline > self.service:
            reasons.add("retry")
        if task.batch:
            reasons |= task.batch.holds_back(task, self.service)
        return reasons
