# SPDX-License-Identifier: BSD-3-Clause
"""Fills a database that the plugin has created: a large fleet with a past, and running upgrades.

What the generators count on:
    product bench    devices dev0000000 ... , version 0.0.1; every TASK_EVERY-th has had an upgrade
    product doomed   DOOMED devices, for deleting
    running tasks    of CLIENTS devices, spread evenly: number i * step; their neighbours have none
"""
import hashlib
import hmac
import os
import sqlite3
import time

CLIENTS = 200
DOOMED_SHARE = 10  # one device of so many is in product doomed
TASK_EVERY = 10
TIMEOUT_MS = 604_800_000
IMAGE_BYTES = 10 * 1024 * 1024
BLOCK = 65536
SUCCEEDED, DOWNLOADING = 6, 2
CONFIRMED = 2
NOTICED_AND_SENT = 2 | 16  # OTA_UPGRADE_… of upgrade.h


class Fleet:
    """What was filled in, for those who use it."""

    def __init__(self, devices):
        self.doomed = devices // DOOMED_SHARE
        self.devices = devices - self.doomed
        # A multiple of TASK_EVERY: device i * step has a task, device i * step + 1 none.
        self.step = self.devices // CLIENTS // TASK_EVERY * TASK_EVERY


def fill(path, devices):
    fleet = Fleet(devices)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=DELETE")
    db.execute("PRAGMA synchronous=OFF")
    db.execute("BEGIN")
    now = int(time.time() * 1000)
    for product, name in ((1, "bench"), (2, "doomed")):
        db.execute("INSERT INTO product VALUES (?, ?, '', ?)", (product, name, now))
    _fill_firmware(db, now)
    _fill_devices(db, 1, 1, fleet.devices, now)
    _fill_devices(db, 2, fleet.devices + 1, fleet.doomed, now)
    _fill_tasks(db, fleet, now)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode=WAL")
    db.close()
    return fleet


def fill_idle(path, devices):
    """A fleet without a past: product bench, its firmware, devices that no task has seen."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=DELETE")
    db.execute("PRAGMA synchronous=OFF")
    db.execute("BEGIN")
    now = int(time.time() * 1000)
    db.execute("INSERT INTO product VALUES (1, 'bench', '', ?)", (now,))
    _fill_firmware(db, now)
    _fill_devices(db, 1, 1, devices, now)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode=WAL")
    db.close()


def _fill_firmware(db, now):
    block = os.urandom(BLOCK)  # the same again and again: only its size matters
    image = block * (IMAGE_BYTES // BLOCK)
    db.execute("INSERT INTO image (id) VALUES (1)")
    db.executemany(
        "INSERT INTO image_block VALUES (1, ?, ?)",
        ((seq, block) for seq in range(IMAGE_BYTES // BLOCK)),
    )
    db.execute(
        "INSERT INTO firmware (id, product_id, version, ord, filename, size, md5, sha256, "
        "description, signature, image, created_at) "
        "VALUES (1, 1, '0.0.2', 1, 'bench.bin', ?, ?, ?, '', '', 1, ?)",
        (len(image), hashlib.md5(image).hexdigest(), hashlib.sha256(image).hexdigest(), now),
    )


def _fill_devices(db, product, first_id, count, now):
    tags = ("", "", "", "north", "north wifi", "lab")
    db.executemany(
        "INSERT INTO device (id, product_id, name, tags, version, version_at, last_seen_at, "
        "created_at) VALUES (?, ?, ?, ?, '0.0.1', ?, ?, ?)",
        (
            (first_id + i, product, f"dev{i:07d}", tags[i % len(tags)], now, now, now)
            for i in range(count)
        ),
    )
    db.execute(
        "INSERT INTO device_version SELECT id, version_at, version FROM device "
        "WHERE product_id = ?", (product,)
    )


def _fill_tasks(db, fleet, now):
    """Device number n has id n + 1; a finished task has five entries of history behind it."""
    numbers = range(0, fleet.devices, TASK_EVERY)
    running = {i * fleet.step for i in range(CLIENTS)}
    db.executemany(
        "INSERT INTO task (id, product_id, device_id, firmware_id, version, from_version, status, "
        "confirmation, percent, flags, timeout_ms, created_at, sent_at, updated_at, finished_at, "
        "deadline_ms, last_event) VALUES (?, 1, ?, 1, ?, '0.0.0', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_task(task, number, number in running, now) for task, number in enumerate(numbers, 1)),
    )
    db.executemany(
        "INSERT INTO event (id, task_id, prev, at, status, percent) VALUES (?, ?, ?, ?, ?, ?)",
        _events(len(numbers), now),
    )


def _task(task, number, is_running, now):
    head = (task, number + 1, "0.0.2" if is_running else "0.0.1")
    if is_running:
        state = (DOWNLOADING, 0, 0, NOTICED_AND_SENT, TIMEOUT_MS, now, now, now, None, TIMEOUT_MS)
    else:
        state = (SUCCEEDED, CONFIRMED, 100, NOTICED_AND_SENT, 900_000, now, now, now, now, None)
    return (*head, *state, task * 5)


def _events(tasks, now):
    for task in range(1, tasks + 1):
        for i, status in enumerate((1, 2, 3, 4, SUCCEEDED)):
            event = (task - 1) * 5 + i + 1
            yield event, task, event - 1 if i else None, now, status, 0


def download_path(path, fleet):
    """A URL's path that the plugin takes: see ota_download_mac and ota_download_path."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    key = db.execute("SELECT url_key FROM meta").fetchone()[0]
    sha256 = db.execute("SELECT sha256 FROM firmware WHERE id = 1").fetchone()[0]
    device = fleet.step + 1
    task = db.execute("SELECT max(id) FROM task WHERE device_id = ?", (device,)).fetchone()[0]
    db.close()
    text = f"mosquitto-ota-url/1\n1\n{sha256}\n{device}\n{task}\n1\n"
    mac = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"/f/1/{device}/{task}/1/{mac}"
