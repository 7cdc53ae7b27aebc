# SPDX-License-Identifier: BSD-3-Clause
"""Batches over large fleets: what making one costs, what others feel, how fast a fleet is upgraded."""
import json
import subprocess
import sys
import time
from statistics import median
from types import SimpleNamespace

import fill
import measures
import parts
from measures import Row, loop_row
from parts import Admin, Broker, Failed, copy_database

ANSWER_MS = 100
NOTICES_A_SECOND = 1000
FLEET = 10_000
SEED_FLEET = 7

# The same rows as a batch makes, in one statement: the least that they can cost.
INSERT_SELECT = """
INSERT INTO task (product_id, device_id, firmware_id, batch_id, version, from_version, status,
                  timeout_ms, created_at, updated_at)
SELECT product_id, id, 1, 1, '0.0.2', version, 0, 900000, 1, 1 FROM device WHERE product_id = 1
"""


def insert_select(path):
    """Processor seconds of one INSERT … SELECT, in a process of its own."""
    code = (
        "import resource, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA synchronous=NORMAL')\n"
        "db.execute('PRAGMA foreign_keys=ON')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF)\n"
        f"db.execute('''{INSERT_SELECT}''')\n"
        "after = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True,
                         check=True)
    return float(run.stdout)


def wait_for(admin, batch, test, timeout=parts.LONG):
    """Looks until the batch is so; gives it."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        shown = admin.call("getBatch", batch=batch)["batch"]
        if test(shown):
            return shown
        time.sleep(0.02)
    raise Failed(f"batch {batch} stays {shown['state']}: {shown['counts']}")


def timed(admin, command, **fields):
    """The answer, and how long it took in ms."""
    began = time.monotonic()
    answer = admin.call(command, **fields)
    return answer, (time.monotonic() - began) * 1000


def admin_of(broker):
    return Admin(SimpleNamespace(port=broker.port, tls=None), "admin")


class Making:
    """One batch over a fleet that is off: made, paused, resumed, cancelled, while others publish."""

    def __init__(self, folder, devices):
        self.folder, self.devices = folder, devices
        self.answers = {}

    def run(self):
        self.broker = Broker(self.folder, "plugin", db_path=self.folder / "ota.db", watched=True)
        self.admin = admin_of(self.broker)
        try:
            self.make()
            self.memory = self.broker.memory()
            self.steer()
        finally:
            self.admin.close()
            self.broker.stop()

    def ask(self, command, **fields):
        answer, self.answers[command] = timed(self.admin, command, **fields)
        return answer

    def make(self):
        began, cpu = time.monotonic(), parts.processor_time(self.broker.pid)
        self.broker.loops.start()
        probe = self.probe(max(2, self.devices / 100_000))
        stages = [{"percent": 1}, {"percent": 10}, {"percent": 100}]
        self.batch = self.ask("createBatch", product="bench", version="0.0.2", stages=stages,
                              target={"fromVersions": ["0.0.1"]})["batch"]["batch"]
        wait_for(self.admin, self.batch, lambda shown: shown["state"] == "running")
        self.took = time.monotonic() - began
        self.cpu = parts.processor_time(self.broker.pid) - cpu
        self.loops = self.broker.loops.stop()
        self.loops["gap"] = probe.result()["gap"]
        after, waited = parts.processor_time(self.broker.pid), time.monotonic()
        probe = self.probe(self.took)
        probe.result()  # the same without a batch in the making: what the probe costs
        idle = parts.processor_time(self.broker.pid) - after
        self.cpu -= idle * self.took / (time.monotonic() - waited)

    def probe(self, seconds):
        return parts.load(port=self.broker.port, mode="foreign", conns=1, rate=measures.PROBE_RATE,
                          seconds=seconds, warmup=0.3, first=8_000_000, nice=-10)

    def steer(self):
        self.ask("pauseBatch", batch=self.batch)
        self.ask("resumeBatch", batch=self.batch)
        self.broker.loops.start()
        began, cpu = time.monotonic(), parts.processor_time(self.broker.pid)
        self.ask("cancelBatch", batch=self.batch)
        wait_for(self.admin, self.batch,
                 lambda shown: shown["counts"]["cancelled"] == shown["total"])
        self.cancel_took = time.monotonic() - began
        self.cancel_cpu = parts.processor_time(self.broker.pid) - cpu
        self.cancel_loops = {**self.broker.loops.stop(), "gap": 0}


def making(folder, plan, empty):
    for devices in plan.batches:
        template = folder / f"idle-{devices}" / "ota.db"
        copy_database(empty, template)
        fill.fill_idle(template, devices)
        yield from making_one(folder, plan, template, devices)


def making_one(folder, plan, template, devices):
    ratios, runs = [], []
    for number in range(plan.batch_rounds):
        plain = folder / f"insert-{devices}-{number}" / "ota.db"
        copy_database(template, plain)
        least = insert_select(plain)
        place = folder / f"batch-{devices}-{number}"
        copy_database(template, place / "ota.db")
        run = Making(place, devices)
        run.run()
        ratios.append(run.cpu / least)
        runs.append(run)
        print(f"   … {devices:,}: {run.cpu:.2f} s, INSERT … SELECT {least:.2f} s", flush=True)
    yield Row(f"batch over {devices:,} devices: processor time against one INSERT … SELECT",
              median(ratios), ("<=", 1.5), "x", ratios,
              f"{median(run.cpu for run in runs):.2f} s; ready after "
              f"{median(run.took for run in runs):.1f} s")
    yield loop_row("… longest loop of the broker while it is made", [run.loops for run in runs],
                   ("<=", 10.0))
    worst = {name: max(run.answers[name] for run in runs) for name in runs[0].answers}
    yield Row("… slowest answer: create, pause, resume, cancel", max(worst.values()),
              ("<=", ANSWER_MS), "ms", note=json.dumps({k: round(v, 1) for k, v in worst.items()}))
    yield Row("… memory (RSS) with its tasks unfinished",
              median(run.memory["VmRSS"] for run in runs) / 1e6,
              ("<=", 500.0) if devices >= 1_000_000 else None, "MB")
    yield Row("… cancelled to the last task after", median(run.cancel_took for run in runs), None,
              "s", note=f"{median(run.cancel_cpu for run in runs):.1f} s of processor time")
    yield loop_row("… longest loop meanwhile", [run.cancel_loops for run in runs], ("<=", 10.0))


# --- a connected fleet ---------------------------------------------------------------------------

SIMULATOR = parts.BUILD / "sim" / "otasim"


class Fleet:
    """10,000 simulated devices in one process, on a broker of their own."""

    def __init__(self, folder, empty, *words):
        copy_database(empty, folder / "ota.db")
        self.broker = Broker(folder, "plugin", db_path=folder / "ota.db", watched=True)
        self.admin = admin_of(self.broker)
        self.admin.call("createProduct", product="p")
        self.admin.add_firmware("p", "0.0.2", b"x" * 4096)
        self.simulator = parts.Process(folder, "otasim", [
            SIMULATOR, "-h", "127.0.0.1", "-p", self.broker.port, "--product", "p", "--count",
            FLEET, "--version", "0.0.1", "--quiet", "--seed", SEED_FLEET, "--connect-rate", 2500,
            "--burn-ms", 100, "--reboot-ms", 100, *words,
        ])
        self.simulator.wait_until(lambda: self.online() == FLEET, "fleet")

    def online(self):
        products = self.admin.call("listProducts")["products"]
        time.sleep(0.1)
        return products[0]["online"]

    def start(self, **fields):
        return self.admin.call("createBatch", product="p", version="0.0.2",
                               target={"fromVersions": ["0.0.1"]}, **fields)["batch"]["batch"]

    def stop(self):
        self.simulator.stop()
        self.admin.close()
        self.broker.stop()


def notices(folder, plan, empty):
    """As fast as may be, and at the pace that is asked for."""
    yield from told(folder, plan, empty, "as fast as may be", (">=", NOTICES_A_SECOND))
    yield from told(folder, plan, empty, f"{NOTICES_A_SECOND:,} a second asked for", None,
                    ratePerMinute=NOTICES_A_SECOND * 60)


def told(folder, plan, empty, how, target, **pace):
    """All are told, and say nothing; a foreign client's round trips beside."""
    quiet, busy, rates, loops = [], [], [], []
    for number in range(plan.fleet_rounds):
        fleet = Fleet(folder / f"notices-{len(pace)}-{number}", empty, "--fault", "silent")
        try:
            quiet.append(measures.probe(fleet.broker, 3).result())
            batch = fleet.start(maxInFlight=FLEET, timeoutSeconds=3600, **pace)
            fleet.broker.loops.start()
            began = time.monotonic()
            probe = measures.probe(fleet.broker, 3)
            wait_for(fleet.admin, batch, lambda shown: shown["counts"]["message_sent"] == FLEET)
            rates.append(FLEET / (time.monotonic() - began))
            busy.append(probe.result())
            loops.append({**fleet.broker.loops.stop(), "gap": busy[-1]["gap"]})
        finally:
            fleet.stop()
    yield Row(f"first notices a second, {FLEET:,} devices connected, {how}", median(rates), target,
              "/s", rates)
    slower = [one["p99"] / other["p99"] for one, other in zip(busy, quiet)]
    yield Row("… a foreign client's p99 against the quiet broker's", median(slower), ("<=", 1.5),
              "x", slower, f"p99 {median(one['p99'] for one in busy):,.0f} µs, quiet "
              f"{median(one['p99'] for one in quiet):,.0f} µs")
    yield loop_row("… longest loop of the broker", loops, ("<=", 10.0))


def upgrades(folder, plan, empty):
    """From the notice to the last confirmed device."""
    rates, costs, wal, memory = [], [], [], []
    for number in range(plan.fleet_rounds):
        fleet = Fleet(folder / f"upgrades-{number}", empty)
        try:
            cpu, began = parts.processor_time(fleet.broker.pid), time.monotonic()
            written = written_bytes(fleet.broker.pid)
            batch = fleet.start(maxInFlight=2000)
            wait_for(fleet.admin, batch, lambda shown: shown["confirmed"] == FLEET)
            rates.append(FLEET / (time.monotonic() - began))
            costs.append((parts.processor_time(fleet.broker.pid) - cpu) / FLEET * 1e6)
            wal.append((written_bytes(fleet.broker.pid) - written) / FLEET)
            memory.append(fleet.broker.memory()["VmRSS"] / 1e6)
        finally:
            fleet.stop()
    yield Row(f"a whole upgrade of {FLEET:,} connected devices, notice to confirmed", median(rates),
              None, "devices/s", rates, "4 KB a device over HTTP, otasim on the same two cores")
    yield Row("… the broker's processor time a device", median(costs), None, "µs", costs)
    yield Row("… written a device: WAL and checkpoints", median(wal), None, "bytes", wal)
    yield Row("… memory (RSS) at the end", median(memory), None, "MB", memory)


def written_bytes(pid):
    """What the process has given to write(2) and its kin: mostly WAL, and its checkpoints."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        fields = dict(line.split(": ") for line in file.read().splitlines())
    return int(fields["write_bytes"])
