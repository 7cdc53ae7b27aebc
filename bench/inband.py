# SPDX-License-Identifier: BSD-3-Clause
"""Downloads over MQTT: how fast one device gets its image, and what a thousand at once do to the
broker's loop."""
import json
import subprocess
import time
from statistics import median

import parts
from measures import Row, loop_row, probe
from parts import Broker, copy_database
from rollouts import SIMULATOR, admin_of

IMAGE = 10 * 1024 * 1024
CROWD = 1000
CROWD_IMAGE = 256 * 1024
MB_A_SECOND = 5.0
LOOP_MS = 10.0


class House:
    """A broker with product p and an image, and simulated devices that take it in-band."""

    def __init__(self, folder, empty, size):
        copy_database(empty, folder / "ota.db")
        self.folder = folder
        self.broker = Broker(folder, "plugin", db_path=folder / "ota.db", watched=True)
        self.admin = admin_of(self.broker)
        self.admin.call("createProduct", product="p")
        self.admin.add_firmware("p", "0.0.2", bytes(range(256)) * (size // 256))
        self.simulator = None

    def command(self, *words):
        return [str(word) for word in (
            SIMULATOR, "-h", "127.0.0.1", "-p", self.broker.port, "--product", "p", "--version",
            "0.0.1", "--inband", "--burn-ms", 20, "--reboot-ms", 20, *words)]

    def blocks(self):
        return self.admin.call("getInfo")["blocks"]

    def stop(self):
        if self.simulator is not None:
            self.simulator.stop()
        self.admin.close()
        self.broker.stop()


def one_download(house, *words):
    """MB a second from the first request to the last byte, as the device sees it."""
    device = subprocess.Popen(
        house.command("--device", "d", "--json", "--exit-when-done", *words),
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    began = took = None
    try:
        house.admin.call("createDevice", product="p", device="d")
        house.admin.call("upgradeDevice", product="p", device="d", version="0.0.2")
        for line in device.stdout:
            event = json.loads(line)["event"]
            if event == "download_start":
                began = time.monotonic()
            elif event == "downloaded":
                took = time.monotonic() - began
    finally:
        device.kill()
        device.communicate()
    house.admin.call("deleteDevice", product="p", device="d")
    if took is None:
        raise parts.Failed("a download over MQTT didn't end well")
    return IMAGE / took / 1e6


def one_device(folder, plan, empty):
    for what, words, limit in (
        ("QoS 0, 32 blocks of 64 KiB", ("--block-length", 65536, "--block-count", 32),
         (">=", MB_A_SECOND)),
        ("QoS 1, 32 blocks of 64 KiB", ("--block-length", 65536, "--block-count", 32,
                                        "--block-qos", 1), (">=", MB_A_SECOND)),
        ("QoS 0, 8 blocks of 16 KiB", (), None),
        ("QoS 0, 8 blocks of 4 KiB", ("--block-length", 4096), None),
    ):
        house = House(folder / f"one-{len(words)}-{words[-1] if words else 0}", empty, IMAGE)
        try:
            house.broker.loops.start()
            rates = [one_download(house, *words) for _ in range(plan.fleet_rounds)]
            loops = house.broker.loops.stop()
        finally:
            house.stop()
        yield Row(f"10 MiB over MQTT to one device, {what}", median(rates), limit, "MB/s", rates,
                  f"longest loop {loops['longest']:.1f} ms, its own processor time at most "
                  f"{loops['longest_cpu']:.1f} ms")


def crowd(folder, plan, empty):
    """All ask at once; a foreign client's round trips beside."""
    rates, loops, cpu, busy = [], [], [], []
    for number in range(plan.fleet_rounds):
        house = House(folder / f"crowd-{number}", empty, CROWD_IMAGE)
        try:
            house.simulator = parts.Process(folder / f"crowd-{number}", "otasim", house.command(
                "--count", CROWD, "--quiet", "--connect-rate", 2500, "--seed", 7,
                "--block-length", 65536, "--block-count", 4))
            house.simulator.wait_until(
                lambda h=house: h.admin.call("listProducts")["products"][0]["online"] == CROWD,
                "fleet")
            house.admin.call("createBatch", product="p", version="0.0.2", maxInFlight=CROWD,
                             target={"fromVersions": ["0.0.1"]})
            house.simulator.wait_until(lambda h=house: h.blocks()["requests"] >= CROWD, "requests")
            began, spent = time.monotonic(), parts.processor_time(house.broker.pid)
            had = house.blocks()["bytes"]
            house.broker.loops.start()
            beside = probe(house.broker, 4)
            house.simulator.wait_until(
                lambda h=house: h.blocks()["bytes"] >= CROWD * CROWD_IMAGE, "last block")
            took, sent = time.monotonic() - began, (CROWD * CROWD_IMAGE - had) / 1e6
            cpu.append((parts.processor_time(house.broker.pid) - spent) / sent * 1000)
            busy.append(beside.result())
            loops.append({**house.broker.loops.stop(), "gap": busy[-1]["gap"]})
            rates.append(sent / took)
        finally:
            house.stop()
    yield Row(f"{CROWD:,} devices at once, 256 KiB each: together", median(rates), None, "MB/s",
              rates, "block_rate_total is 33.6 MB/s; from when all have asked to the last block")
    yield loop_row("… longest loop of the broker", loops, ("<=", LOOP_MS))
    yield Row("… the broker's processor time", median(cpu), None, "ms/MB", cpu,
              f"a foreign client's p99 meanwhile "
              f"{median(one['p99'] for one in busy):,.0f} µs")


def rows(folder, plan, empty):
    yield from one_device(folder, plan, empty)
    yield from crowd(folder, plan, empty)
