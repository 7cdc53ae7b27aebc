# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the admin commands share: refusals, bulk requests, everything read at once."""
import base64
import gzip
import hashlib
import io
import itertools
import json
import subprocess
import tarfile
import zipfile

import pytest

import harness

LISTS = {  # command: key of its rows
    "listProducts": "products",
    "listFirmware": "firmware",
    "listDevices": "devices",
    "listDeviceHistory": "versions",
    "listVersions": "versions",
    "listTasks": "tasks",
    "listBatches": "batches",
    "listTokens": "tokens",
}

# What the clock, the connection and the length of a pause decide: not part of what is stored.
VOLATILE = ("deadlineAt", "lastSeenAt", "online", "sentence")

_ids = itertools.count(1)


def request_id():
    return f"request-{next(_ids)}"


def command_rows():
    """The command table, as otactl knows it: [{command, role, writes, params: […]}]."""
    run = subprocess.run(
        [harness.OTACTL, "--list-commands", "--json"], capture_output=True, timeout=30, check=True
    )
    return [row for row in json.loads(run.stdout) if row.get("command")]


def refuse(admin, name, code, /, field=None, **fields):
    """The command is refused with that code, that field and a sentence; gives the sentence."""
    with pytest.raises(harness.ControlError) as refusal:
        admin.call(name, **fields)
    got = refusal.value
    assert (got.code, got.field) == (code, field), got
    assert len(got.text) > 10 and got.text.isprintable()
    return got.text


def bulk(admin, commands, size=100):
    """Runs any number of commands, 100 a message; gives their data. None may be refused."""
    data = []
    for at in range(0, len(commands), size):
        answer = admin.call_raw({"commands": commands[at : at + size]})
        for response in answer["responses"]:
            assert "error" not in response, response
            data.append(response["data"])
    assert len(data) == len(commands)
    return data


def walk(admin, name, limit, **fields):
    """All rows, page by page; each page within the limit, no row twice, the order of one list."""
    rows, cursor, pages = [], None, 0
    while True:
        page = admin.call(name, limit=limit, cursor=cursor, **fields)
        assert len(page[LISTS[name]]) <= limit
        rows += page[LISTS[name]]
        pages += 1
        cursor = page.get("nextCursor")
        if cursor is None:
            return rows, pages


def stored(value):
    """The value without what isn't stored."""
    if isinstance(value, dict):
        kept = {k: stored(v) for k, v in value.items() if k not in VOLATILE}
        if {"device_offline", "task_waiting"} <= kept.keys():  # counts: who is connected is no news
            kept["waiting"] = kept.pop("device_offline") + kept.pop("task_waiting")
        return kept
    if isinstance(value, list):
        return [stored(item) for item in value]
    return value


def read_all(admin):
    """Every list and every single thing, by every command that reads."""
    seen = {}

    def note(name, **fields):
        if name in LISTS:
            seen[name, *fields.values()] = rows = admin.list_all(name, LISTS[name], **fields)
            return rows
        seen[name, *fields.values()] = admin.call(name, **fields)
        return None

    def note_stats(**fields):
        seen["getStats", *fields.values()] = stats = admin.call("getStats", **fields)
        stats["versions"].sort(key=lambda row: row["version"] or "")  # they come in any order

    for product in note("listProducts"):
        at = {"product": product["product"]}
        note("listVersions", **at)
        for firmware in note("listFirmware", **at):
            note("getFirmware", **at, version=firmware["version"])
        for device in note("listDevices", **at):
            for name in ("getDevice", "listDeviceHistory", "explainDevice"):
                note(name, **at, device=device["device"])
        note_stats(**at)
    for task in note("listTasks"):
        note("getTask", task=task["task"])
    for batch in note("listBatches"):
        note("getBatch", batch=batch["batch"])
        note_stats(batch=batch["batch"])
    note("listTokens")
    info = admin.call("getInfo")
    seen["getInfo"] = {key: info[key] for key in ("devices", "activeTasks", "schemaVersion")}
    return stored(seen)


def announce(product, version, content, filename="fw.bin", **more):
    return {
        "product": product,
        "version": version,
        "filename": filename,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **more,
    }


def base64_of(content):
    return base64.b64encode(content).decode()


def send_blocks(admin, upload, content, offset=0, size=65536):
    while offset < len(content):
        block = base64_of(content[offset : offset + size])
        offset = admin.call("uploadFirmwareBlock", upload=upload, offset=offset, data=block)[
            "offset"
        ]
    return offset


def archive(kind):
    """A small real archive."""
    out = io.BytesIO()
    if kind == "gz":
        return gzip.compress(b"firmware")
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as made:
            made.writestr("firmware", b"bytes")
    else:
        with tarfile.open(fileobj=out, mode="w") as made:
            made.addfile(tarfile.TarInfo("firmware"), io.BytesIO(b""))
    return out.getvalue()


def statuses(answer):
    """The statuses of a history, in order, of what getTask gave."""
    return [event["status"] for event in answer["events"]]
