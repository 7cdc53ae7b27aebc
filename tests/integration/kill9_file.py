# SPDX-License-Identifier: BSD-3-Clause
"""What the file holds after test_kill9.py killed its broker, and what it must hold."""
import contextlib
import copy
import sqlite3

from kill9_actors import SENT, WAITING


class Found:
    """What the file holds, and that it is whole. devices: {name: what an actor's model of product p
    is compared with}; members: the same of product b, whose tasks batches make; batches: {id: row};
    clerks: {letter: {product: {device: text}}}; tokens: {name: number}."""

    def __init__(self, path):
        address = f"file:{path}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as db:
            db.execute("BEGIN")
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            entries = {number: row for number, *row in db.execute(
                "SELECT id, task_id, status, prev FROM event")}
            self.devices = read_devices(db, entries, "p", read_tasks)
            self.members = read_devices(db, entries, "b", read_batch_tasks)
            self.batches = read_batches(db)
            self.clerks = {letter: read_clerks(db, f"{letter}%-") for letter in "qw"}
            self.tokens = dict(db.execute("SELECT name, id FROM token WHERE name LIKE 'c%'"))
        everybody = (*self.devices.values(), *self.members.values())
        reached = sum(task.pop("entries") for device in everybody for task in device["tasks"])
        assert reached == len(entries), "entries that no history leads to"


def read_devices(db, entries, product, tasks):
    found = {}
    rows = db.execute(
        "SELECT d.id, d.name, d.version, g.name, s.sealed IS NOT NULL FROM device d "
        "JOIN product p ON p.id = d.product_id LEFT JOIN device g ON g.id = d.gateway_id "
        "LEFT JOIN device_secret s ON s.device_id = d.id WHERE p.name = ?", (product,)).fetchall()
    for number, name, version, gateway, secret in rows:
        seen = db.execute("SELECT version FROM device_version WHERE device_id = ? ORDER BY at",
                          (number,)).fetchall()
        found[name] = {"version": version, "versions": [row[0] for row in seen],
                       "tasks": tasks(db, entries, number),
                       "gateway": gateway, "secret": bool(secret)}
    return found


def each_task(db, entries, device):
    """What both kinds of devices are compared by, and the events of the task's history."""
    for number, batch, target, status, confirmation, attempt, head in db.execute(
        "SELECT id, batch_id, version, status, confirmation, attempt, last_event FROM task "
        "WHERE device_id = ? ORDER BY id", (device,)
    ).fetchall():
        events = read_history(entries, number, head, status)
        yield {"id": number, "entries": len(events), "attempt": attempt, "status": status,
               "confirmed": confirmation == 2}, batch, target, events


def read_tasks(db, entries, device):
    return [{**task, "target": target,
             "status": WAITING if task["status"] == SENT else task["status"],
             "events": [event for event in events if event != SENT]}
            for task, _, target, events in each_task(db, entries, device)]


def read_history(entries, task, head, status):
    events = []
    while head is not None:
        owner, status_then, head = entries[head]
        assert owner == task, "a history that leads into another task's"
        events.insert(0, status_then)
    assert (events[-1] if events else WAITING) == status, f"task {task}: {events}, {status}"
    return events


def read_batch_tasks(db, entries, device):
    return [{**task, "batch": batch, "sent": events.count(SENT)}
            for task, batch, _, events in each_task(db, entries, device)]


def read_batches(db):
    rows = db.execute("SELECT id, state, reason, prepared, retried_to, open_stages FROM batch")
    keys = ("state", "reason", "prepared", "retried_to", "open")
    return {number: dict(zip(keys, row)) for number, *row in rows}


def read_clerks(db, names):
    products = {name: {} for name, in db.execute(
        "SELECT name FROM product WHERE name LIKE ?", (names,))}
    for product, device, text in db.execute(
        "SELECT p.name, d.name, d.description FROM device d JOIN product p ON p.id = d.product_id "
        "WHERE p.name LIKE ?", (names,)
    ):
        products[product][device] = text
    return products


def same(actual, model):
    """A task that is under way has no number yet."""
    if "tasks" not in model or not model["tasks"] or model["tasks"][-1]["id"] is not None:
        return actual == model
    filled = copy.deepcopy(model)
    if len(actual["tasks"]) == len(filled["tasks"]):
        filled["tasks"][-1]["id"] = actual["tasks"][-1]["id"]
    return actual == filled


def check_actor(actor, actual):
    candidates = [actor.shown(model) for model in actor.candidates()]
    assert any(same(actual, candidate) for candidate in candidates), (
        f"{getattr(actor, 'name', 'clerk')}\nis       {actual}\nmust be  "
        + "\nor       ".join(map(str, candidates)) + f"\npending  {actor.pending}"
    )


async def check_memory(commands, found):
    """What the broker says is what the file holds."""
    cursor, counts = {}, {}
    while cursor is not None:
        page = await commands.call("listVersions", {"product": "p", "limit": 200, **cursor})
        counts |= {row["version"]: row["devices"] for row in page["versions"] if row["devices"]}
        cursor = {"cursor": page["nextCursor"]} if "nextCursor" in page else None
    expected = {}
    for device in found.values():
        if device["version"]:
            expected[device["version"]] = expected.get(device["version"], 0) + 1
    assert counts == expected
    cursor, shown = {}, {}
    while cursor is not None:
        page = await commands.call("listDevices", {"product": "p", "limit": 200, **cursor})
        shown.update({row["device"]: (row["version"], row["gateway"]) for row in page["devices"]})
        cursor = {"cursor": page["nextCursor"]} if page.get("nextCursor") else None
    assert shown == {
        name: (device["version"], device["gateway"]) for name, device in found.items()
    }
