#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""How quick the console is with a million devices and ten thousand live tasks (docs/adr/0017):
milliseconds of its lists over HTTP, on one connection, where the broker has nothing else to do
(wanted: 200 a page), and of its pages in a real Chromium, from nothing to content (wanted: 1,000).

    OTA_BUILD=build bench/pages.py [DEVICES]

The browser's part needs what scripts/test console installs.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "integration"), str(ROOT / "bench")]

import console_help  # noqa: E402  pylint: disable=wrong-import-position
import fill  # noqa: E402  pylint: disable=wrong-import-position
import harness  # noqa: E402  pylint: disable=wrong-import-position

TIMES = 7
LIVE = 10_000
NAMES_A_CALL = 1000
DEVICE = {"product": "bench", "device": "dev0000100"}
PAGES = [
    "/products",
    "/products/bench/firmware",
    "/products/bench/devices",
    "/products/bench/devices/dev0000100",
    "/products/bench/versions",
    "/upgrade/bench/devices?version=0.0.1",
    "/upgrade/bench/tasks",
    "/upgrade/bench/batches",
    "/batches/1",
    "/audit",
]
ASKED = [
    ("getInfo", {}),
    ("listProducts", {}),
    ("listDevices", {"product": "bench", "limit": 50}),
    ("listDevices", {"product": "bench", "limit": 200}),
    ("listDevices", {"product": "bench", "prefix": "dev0412"}),
    ("listDevices", {"product": "bench", "tag": "nobody-has-it"}),
    ("listDevices", {"product": "bench", "version": "9.9"}),
    ("listDevices", {"product": "bench", "online": True}),
    ("listTasks", {"product": "bench"}),
    ("listTasks", {"status": "failed"}),
    ("listVersions", {"product": "bench"}),
    ("getDevice", DEVICE),
    ("listDeviceHistory", DEVICE),
    ("listAudit", {}),
    ("getStats", {"product": "bench"}),
]


class Desk:
    def __init__(self, folder, devices):
        self.console = console_help.Console(folder)
        self.broker = harness.Broker(folder / "broker", options=self.console.options)
        self.broker.start()
        self.broker.stop()
        fill.fill(self.broker.db_path, devices)
        self.broker.start()
        self.on = self.console.connection()

    def ask(self, name, fields, times=1):
        """How long it took, in milliseconds, and the first command's data."""
        command = {"command": name, **fields}
        begin = time.monotonic()
        answer = self.console.control(*[command] * times, user="admin", on=self.on)
        took = (time.monotonic() - begin) * 1000
        return took, answer.json["responses"][0]["data"]

    def walk(self, fields):
        """A list to its end: how many calls it took."""
        cursor, calls = {}, 0
        while cursor is not None:
            _, data = self.ask("listDevices", {**fields, **cursor})
            cursor = {"cursor": data["nextCursor"]} if "nextCursor" in data else None
            calls += 1
        return calls

    def go_live(self):
        """A batch whose devices are offline: its tasks wait."""
        version = self.console.call("listFirmware", product="bench")["firmware"][0]["version"]
        batch = self.console.call(
            "createBatch", product="bench", version=version, draft=True
        )["batch"]["batch"]
        for first in range(1, LIVE * 2, NAMES_A_CALL * 2):
            names = [f"dev{i:07}" for i in range(first, first + NAMES_A_CALL * 2, 2)]
            self.console.call("addBatchDevices", batch=batch, devices=names)
        self.console.call("startBatch", batch=batch)
        while self.console.call("getBatch", batch=batch)["batch"]["state"] != "running":
            time.sleep(0.1)
        return self.console.call("getBatch", batch=batch)["batch"]["total"]

    def browse(self):
        self.console.login()
        subprocess.run(
            ["node", ROOT / "bench" / "first_content.mjs", self.console.origin() + "/", *PAGES],
            env={**os.environ, "OTA_COOKIE": self.console.cookie},
            check=True,
        )

    def close(self):
        self.on.close()
        self.broker.close()
        self.console.release()


def main(devices=1_000_000):
    with tempfile.TemporaryDirectory(prefix="ota-pages-", dir="/var/tmp") as folder:
        desk = Desk(Path(folder), devices)
        try:
            desk.ask("getInfo", {})  # the password is checked
            print(f"{desk.go_live():9}  live tasks")
            for name, fields in ASKED:
                took = [desk.ask(name, fields)[0] for _ in range(TIMES)]
                print(f"{median(took):9.1f} {max(took):9.1f}  {name} {fields}")
            begin = time.monotonic()
            calls = desk.walk({"product": "bench", "tag": "nobody-has-it", "limit": 200})
            print(f"{(time.monotonic() - begin) * 1000:9.1f}  in {calls} calls: nobody, to the end")
            took, _ = desk.ask("listDevices", {"product": "bench", "limit": 200}, times=100)
            print(f"{took:9.1f}  a hundred lists of 200 in one message", flush=True)
            desk.browse()
        finally:
            desk.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
