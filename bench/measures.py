# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: each function runs its sides in turn and gives rows for the report.

Sides of a comparison run one after the other in each round, in alternating order, on processes
that all live at the same time; ratios are taken within a round, and the median of those counts.
"""
import os
import re
import subprocess
import threading
import time
from contextlib import contextmanager, nullcontext
from statistics import median
from types import SimpleNamespace

import parts
from fill import BLOCK, CLIENTS, IMAGE_BYTES, download_path
from parts import Admin, Broker, ControlError, Failed, copy_database, drop_cached, fetch, load

WAL_FRAME = 4096 + 24
PROBE_RATE = 500
CHANGE_RATE = 1000
REPORT_RATE = 200
GIGABYTE = 1e9


class Row:
    """One target and what was seen. limit: (">=" or "<=", number); None: no target, for the eye."""

    def __init__(self, what, seen, limit=None, unit="", values=(), note=""):
        self.what, self.seen, self.limit, self.unit = what, seen, limit, unit
        self.values, self.note = list(values), note

    def is_met(self):
        sign, number = self.limit
        return self.seen >= number if sign == ">=" else self.seen <= number

    def verdict(self):
        if self.limit is None:
            return ""
        sign, number = self.limit
        share = self.seen / number - 1 if number else 0.0
        better = share if sign == ">=" else -share
        if number == 0:
            return "met" if self.is_met() else f"missed: {self.seen:g} times"
        return f"met, {better:.0%} to spare" if self.is_met() else f"missed by {-better:.0%}"


def in_turn(rounds, sides):
    """{name: function} -> {name: [result of each round]}"""
    results = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(sides[name]())
    return results


def ratios(results, one, other, key):
    return [a[key] / b[key] for a, b in zip(results[one], results[other])]


def middle(results, name, key):
    return median(result[key] for result in results[name])


def ratio_row(what, results, one, other, key, limit=None, note=""):
    values = ratios(results, one, other, key)
    return Row(what, median(values), limit, "x", values, note)


# --- reports flat out ----------------------------------------------------------------------------


class House:
    """All that lives while the sides take turns: two plain brokers, two with the plugin, and a
    plain one with the service behind it. The second of each is the A/A control."""

    def __init__(self, folder):
        self.folder, self.template = folder, folder / "template" / "ota.db"
        self.fleet = None
        self.running = []

    def start(self):
        for name in ("plugin", "plugin2", "front"):
            copy_database(self.template, self.folder / name / "ota.db")
        self.plain = self.keep(Broker(self.folder / "plain", "plain", watched=True))
        self.plain2 = self.keep(Broker(self.folder / "plain2", "plain", watched=True))
        self.plugin = self.keep(Broker(self.folder / "plugin", "plugin", watched=True))
        self.plugin2 = self.keep(Broker(self.folder / "plugin2", "plugin", watched=True))
        self.front = self.keep(Broker(self.folder / "front", "plain"))
        self.service = self.keep(parts.Service(self.folder / "front", self.front))

    def keep(self, process):
        self.running.append(process)
        return process

    def stop(self):
        for process in reversed(self.running):
            process.stop()
        self.running = []

    def settings(self, side, mode):
        """Of a load generator: the running tasks' devices for progress, others for versions."""
        broker = getattr(self, side)
        pids = [broker.pid]
        settings = {"port": broker.port, "mode": mode, "step": self.fleet.step}
        settings["first"] = 0 if mode in ("status", "percent") else 1
        if broker is self.front:
            pids.append(self.service.pid)
            if mode in ("status", "percent"):
                settings["gate"] = self.service.gate
        return {**settings, "pid": pids}

    def flat_out(self, side, mode, seconds, window):
        def run():
            result = load(
                **self.settings(side, mode), seconds=seconds, window=window, warmup=0.4
            ).result()
            result["us"] = sum(result["cpu"]) / max(result["done"], 1) * 1e6
            return result

        return run


def figures(results):
    """A row for the eye: each side's rate and cost."""
    return "; ".join(
        f"{name} {middle(results, name, 'rate'):,.0f}/s, {middle(results, name, 'us'):.1f} µs"
        for name in results
    )


def foreign_rate(house, plan):
    sides = {
        name: house.flat_out(name, "foreign", plan.seconds, 1)
        for name in ("plain", "plugin", "plain2")
    }
    results = in_turn(plan.rounds, sides)
    yield ratio_row("foreign publish: rate against the plain broker", results, "plugin", "plain",
                    "rate", note=figures(results))
    yield ratio_row("… processor time", results, "plugin", "plain", "us")
    yield from control(results, "plain2", "plain")


def control(results, one, other):
    title = f"… A/A control, {one} against {other}"
    yield ratio_row(f"{title}: rate", results, one, other, "rate")
    yield ratio_row(f"{title}: processor time", results, one, other, "us")


def version_reports(house, plan):
    sides = {
        "plugin": house.flat_out("plugin", "version", plan.seconds, 1),
        "plain echo": house.flat_out("plain", "echo", plan.seconds, 1),
        "service": house.flat_out("front", "version", plan.seconds, 1),
        "plain2 echo": house.flat_out("plain2", "echo", plan.seconds, 1),
        "plugin2": house.flat_out("plugin2", "version", plan.seconds, 1),
    }
    results = in_turn(plan.rounds, sides)
    what = "version unchanged, answered"
    yield ratio_row(f"{what}: rate against the plain broker's echo", results, "plugin",
                    "plain echo", "rate", (">=", 0.70), figures(results))
    yield ratio_row("… processor time", results, "plugin", "plain echo", "us", ("<=", 1.45))
    yield ratio_row(f"{what}: rate against the service", results, "plugin", "service", "rate",
                    (">=", 2.0))
    yield ratio_row("… processor time", results, "plugin", "service", "us", ("<=", 0.40))
    yield from control(results, "plain2 echo", "plain echo")
    yield from control(results, "plugin2", "plugin")


def against_service(house, plan, mode, what, rate, cpu):
    sides = {
        "plugin": house.flat_out("plugin", mode, plan.seconds, 1),
        "service": house.flat_out("front", mode, plan.seconds, 1),
        "plugin2": house.flat_out("plugin2", mode, plan.seconds, 1),
    }
    results = in_turn(plan.rounds, sides)
    yield ratio_row(f"{what}: rate against the service", results, "plugin", "service", "rate",
                    (">=", rate), figures(results))
    yield ratio_row("… processor time", results, "plugin", "service", "us", ("<=", cpu))
    yield from control(results, "plugin2", "plugin")


def percentages(house, plan):
    yield from against_service(house, plan, "percent", "percentage", 2.5, 0.42)


def status_changes(house, plan):
    paths = {"plugin": house.plugin.db_path, "service": house.service.db_path}
    before = {name: parts.last_event(path) for name, path in paths.items()}
    yield from against_service(house, plan, "status", "status change", 1.5, 0.50)
    written = {name: parts.last_event(path) - before[name] for name, path in paths.items()}
    yield Row("… history entries in the plugin's database afterwards", written["plugin"],
              note=f"in the service's: {written['service']:,}: changes, not repetitions")
    yield wal_of_changes(house, plan)


def wal_of_changes(house, plan):
    """Few enough changes at a time that the WAL doesn't start afresh in between."""
    broker, seen = house.plugin, []
    for phase in range(plan.rounds * 3):
        first, salt = parts.wal_frames(broker.db_path)
        entries = parts.last_event(broker.db_path)
        load(**house.settings("plugin", "status"), count=CLIENTS, phase=phase).result()
        last, salt_after = parts.wal_frames(broker.db_path)
        entries = parts.last_event(broker.db_path) - entries
        if salt == salt_after and last > first and entries > CLIENTS / 2:
            seen.append((last - first) * WAL_FRAME / entries)
    if not seen:
        raise Failed("the WAL started afresh in each measurement")
    return Row("… WAL a change", median(seen), ("<=", 9 * 1024), "bytes", seen)


# --- what others feel ----------------------------------------------------------------------------


def probe(broker, seconds):
    """A foreign client's round trips; it runs before others so that it measures the broker."""
    return load(port=broker.port, mode="foreign", conns=1, rate=PROBE_RATE, seconds=seconds,
                warmup=0.3, first=8_000_000, nice=-10)


def disturbed(house, side, mode, seconds, disturbance=None):
    def run():
        broker = getattr(house, side)
        with disturbance(broker) if disturbance else nullcontext():
            background = load(**house.settings(side, mode), rate=CHANGE_RATE, seconds=seconds + 1,
                              warmup=0.2)
            time.sleep(0.6)
            broker.loops.start()
            result = probe(broker, seconds).result()
            result.update(broker.loops.stop())
            result["background"] = background.result()
        return result

    return run


@contextmanager
def commanding(broker, work):
    """work(admin) again and again, on a thread, while the caller measures."""
    stop, failed = threading.Event(), []
    place = SimpleNamespace(port=broker.port, tls=None)

    def run():
        admin = Admin(place, "admin")
        try:
            while not stop.wait(0.005):
                work(admin)
                admin.messages.clear()
        except (AssertionError, ControlError) as problem:
            failed.append(problem)
        finally:
            admin.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failed:
        raise Failed(f"a command failed: {failed[0]}")


FILTERS = (
    {},
    {"version": "0.0.1"},
    {"tag": "wifi"},
    {"online": True},
    {"prefix": "dev03", "tag": "lab"},
    {"version": "9.9.9", "online": False},
)


def list_devices(admin):
    for fields in FILTERS:
        page = admin.call("listDevices", product="bench", limit=200, **fields)
        if "nextCursor" in page:
            admin.call("listDevices", product="bench", limit=200, cursor=page["nextCursor"],
                       **fields)


def upload(admin):
    version = f"u{time.monotonic_ns()}"
    admin.add_firmware("bench", version, os.urandom(20 * BLOCK))
    admin.call("deleteFirmware", product="bench", version=version)


def while_others_publish(house, plan):
    seconds = plan.probe_seconds
    sides = {
        "plain": disturbed(house, "plain", "foreign", seconds),
        "plugin": disturbed(house, "plugin", "status", seconds),
        "lists": disturbed(house, "plugin", "status", seconds,
                           lambda broker: commanding(broker, list_devices)),
        "uploads": disturbed(house, "plugin2", "status", seconds,
                             lambda broker: commanding(broker, upload)),
        "plain2": disturbed(house, "plain2", "foreign", seconds),
    }
    results = in_turn(plan.probe_rounds, sides)
    results["deletion"] = [deletion(house, plan)]
    yield from foreign_rows(results)


def deletion(house, plan):
    """100,000 devices go while the probe looks on, until the last of them is gone."""
    broker = house.plugin2
    admin = Admin(SimpleNamespace(port=broker.port, tls=None), "admin")
    started = time.monotonic()
    ended, over = [], threading.Event()

    def wait_gone():
        while parts.product_exists(broker.db_path, 2):
            if over.wait(0.25):
                return
        ended.append(time.monotonic() - started)

    admin.call("deleteProduct", product="doomed", force=True)
    watch = threading.Thread(target=wait_gone)
    watch.start()
    result = disturbed(house, "plugin2", "status", plan.deletion_seconds)()
    over.set()
    watch.join()
    admin.close()
    result["took"] = ended[0] if ended else None
    return result


def foreign_rows(results):
    titles = {
        "plugin": f"at {CHANGE_RATE:,} status changes a second: a foreign client's p99",
        "lists": "… and listDevices (limit 200, filters) all the time",
        "uploads": "… and uploads (1.25 MiB, 64 KiB blocks), commits, deletions all the time",
        "deletion": "… and a product with 100,000 devices being deleted",
    }
    plain = middle(results, "plain", "p99")
    for side, title in titles.items():
        own = [result["p99"] for result in results[side]]
        values = [p99 / plain for p99 in own]
        lost = sum(result["background"]["skipped"] for result in results[side])
        took = results[side][0].get("took")
        yield Row(title, median(values), ("<=", 2.0), "x plain", values,
                  f"p99 {median(own):,.0f} µs, plain {plain:,.0f} µs"
                  + (f"; {lost} reports came too late to be sent" if lost else "")
                  + (f"; all gone after {took:.1f} s" if took else ""))
        yield loop_row("… longest loop of the broker", results[side], ("<=", 10.0))
    yield ratio_row("… A/A control: p99 of two plain brokers", results, "plain2", "plain", "p99")
    yield loop_row("… longest loop of the plain brokers", results["plain"] + results["plain2"])


def loop_row(what, results, limit=None):
    """A busy machine takes the processor away in mid-loop: its own time tells what was ours."""
    longest = [result["longest"] for result in results]
    return Row(what, max(longest), limit, "ms", longest,
               f"its own processor time at most {max(r['longest_cpu'] for r in results):.1f} ms; "
               f"{sum(r['over'] for r in results)} of {sum(r['loops'] for r in results):,} loops "
               f"over 10 ms, {sum(r['over_cpu'] for r in results)} by processor time; the probe "
               f"heard nothing for {max(r['gap'] for r in results) / 1000:.1f} ms at most")


def answer_latency(house, plan):
    def side(name):
        settings = house.settings(name, "version")
        return lambda: load(**settings, rate=REPORT_RATE, seconds=plan.latency_seconds).result()

    names = {"plugin": "plugin", "service": "front", "plugin2": "plugin2"}
    results = in_turn(plan.rounds, {shown: side(name) for shown, name in names.items()})
    seen = "; ".join(f"{name} p50 {middle(results, name, 'p50'):,.0f} µs, "
                     f"p99 {middle(results, name, 'p99'):,.0f} µs" for name in results)
    what = f"answer at {REPORT_RATE} reports a second"
    yield ratio_row(f"{what}: p50 against the service", results, "plugin", "service", "p50",
                    ("<=", 0.5), seen)
    yield ratio_row("… p99", results, "plugin", "service", "p99", ("<=", 0.5))
    yield ratio_row("… A/A control, p50", results, "plugin2", "plugin", "p50")
    yield ratio_row("… A/A control, p99", results, "plugin2", "plugin", "p99")


# --- downloads -----------------------------------------------------------------------------------


def downloads(house, plan):
    image = parts.image_of(house.plugin.db_path)
    servers = [house.keep(parts.Nginx(house.folder / name, image)) for name in ("nginx", "nginx2")]
    path = download_path(house.plugin.db_path, house.fleet)
    for shape, extra in (
        ("10 MiB whole", {"conns": 8}),
        ("64 KiB ranges", {"conns": 16, "range": BLOCK, "size": IMAGE_BYTES}),
    ):
        yield from download(house.plugin, servers, path, plan, shape, extra)


def download(plugin, servers, path, plan, shape, extra):
    def side(port, pids, url):
        def run():
            result = fetch(port=port, pid=pids, path=url, seconds=plan.seconds, **extra).result()
            result["us"] = sum(result["cpu"]) / max(result["bytes"], 1) * GIGABYTE
            return result

        return run

    sides = {"plugin": side(plugin.http_port, [plugin.pid], path)}
    for name, server in zip(("nginx", "nginx2"), servers):
        sides[name] = side(server.port, server.pids(), "/image.bin")
    results = in_turn(plan.rounds, sides)
    seen = "; ".join(f"{name} {middle(results, name, 'rate') / 1e9:.2f} GB/s, "
                     f"{middle(results, name, 'us'):.3f} s a GB" for name in results)
    yield ratio_row(f"download, {shape}: rate against nginx", results, "plugin", "nginx", "rate",
                    (">=", 0.9), seen)
    yield ratio_row("… processor time a GB", results, "plugin", "nginx", "us", ("<=", 1.3))
    yield from control(results, "nginx2", "nginx")


# --- starting ------------------------------------------------------------------------------------


def starting(house, plan):
    """A broker of its own: from the start of the process to the first answered report."""
    folder = house.folder / "start"
    path = folder / "ota.db"
    copy_database(house.template, path)
    cold, warm, memory, cpu = [], [], [], []
    for number in range(plan.starts * 2):
        is_cold = number % 2 == 0
        if is_cold:
            drop_cached(path)
        began = time.monotonic()
        broker = Broker(folder, "plugin", db_path=path)
        try:
            load(port=broker.port, mode="version", conns=1, first=1, count=1).result()
            (cold if is_cold else warm).append(time.monotonic() - began)
            cpu.append(parts.processor_time(broker.pid))
            memory.append(broker.memory())
        finally:
            broker.stop()
    size = path.stat().st_size / 1e6
    rss = median(one["VmRSS"] for one in memory) / 1e6
    own = median(one["RssAnon"] for one in memory) / 1e6
    what = f"start with {plan.devices:,} devices, to the first answer"
    yield Row(f"{what}, cold", median(cold), ("<=", 2.0), "s", cold, f"database {size:,.0f} MB")
    yield Row("… warm", median(warm), None, "s", warm)
    yield Row("… the broker's processor time until then", median(cpu), None, "s", cpu)
    yield Row("memory (RSS) after that", rss, ("<=", 200.0), "MB", note=f"{own:.0f} MB its own")


def memory_after(house):
    after = house.plugin.memory()
    yield Row("memory (RSS) after all of the above", after["VmRSS"] / 1e6, ("<=", 200.0), "MB",
              note=f"{after['RssAnon'] / 1e6:.0f} MB its own; the rest are the file's and the "
                   "image's pages")


# --- instructions --------------------------------------------------------------------------------

CONFIGURATIONS = {
    "plain": "the plain broker",
    "stub": "a plugin that only registers our hooks",
    "thread": "the same with a sleeping thread",
    "quiet": "ours, download_listen off",
    "plugin": "ours",
}


def instructions(folder, plan, template):
    """Of a foreign QoS 1 publish: two lengths of run, so that start and connecting cancel out."""
    costs = {kind: [] for kind in CONFIGURATIONS}
    profiles = {}
    for number in range(plan.callgrind_rounds):
        for kind in CONFIGURATIONS:
            short, long = plan.callgrind_lengths
            one = callgrind(folder / f"{kind}{number}", kind, short, template)
            two = callgrind(folder / f"{kind}{number}", kind, long, template)
            costs[kind].append((two["all"] - one["all"]) / (long - short))
            profiles[kind] = {name: (two[name] - one.get(name, 0)) / (long - short)
                              for name in two}
    plain = median(costs["plain"])
    for kind, title in CONFIGURATIONS.items():
        more = median(costs[kind]) - plain
        limit = ("<=", 120.0) if kind == "plugin" else None
        note = where_it_goes(profiles["plain"], profiles[kind]) if kind != "plain" else ""
        yield Row(f"foreign publish, instructions: {title}",
                  median(costs[kind]) if kind == "plain" else more, limit,
                  "instructions" if kind == "plain" else "more", costs[kind], note)


def callgrind(folder, kind, count, template):
    out = folder / f"callgrind.{count}"
    if kind in ("plugin", "quiet"):
        copy_database(template, folder / "ota.db")
    wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    broker = Broker(folder, kind, wrapper)
    try:
        load(port=broker.port, mode="foreign", count=count).result()
        time.sleep(1)  # so that the clients' going is in the profile of both lengths
    finally:
        broker.stop()
    return read_profile(out)


def read_profile(path):
    """{function: instructions}, and "all"."""
    text = subprocess.run(["callgrind_annotate", "--threshold=100", str(path)], check=True,
                          capture_output=True, text=True, timeout=120).stdout
    profile = {}
    for line in text.splitlines():
        match = re.match(r"\s*([\d,]+) \(.*?\)\s+(\S+)(?: \[(.*)\])?", line)
        if match:
            number = int(match[1].replace(",", ""))
            name = match[2].split(":", 1)[-1]
            name = "all" if line.rstrip().endswith("PROGRAM TOTALS") else name
            profile[name] = profile.get(name, 0) + number
    return profile


def where_it_goes(plain, other):
    more = {name: other.get(name, 0) - plain.get(name, 0) for name in {*plain, *other} - {"all"}}
    largest = sorted(more.items(), key=lambda item: -abs(item[1]))[:7]
    return ", ".join(f"{name} {number:+.0f}" for name, number in largest if abs(number) >= 1)
