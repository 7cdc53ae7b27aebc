# SPDX-License-Identifier: BSD-3-Clause
"""otactl --output: tables for people, JSON and CSV for programs; colours only where they are seen."""
import csv
import io
import json

import pytest

from common import ROOT
from test_otactl import (  # pylint: disable=unused-import
    NOW, ROWS, bare, environment, otactl, paged, server,
)

pytestmark = pytest.mark.slow_asan  # the plugin does nothing here that others leave out

WHEN = "2025-11-24T17:03:12.000Z"
DEVICE = {
    "product": "p", "device": "d,1", "description": 'a "b"\nc', "tags": ["canary", "site=x"],
    "hold": False, "version": None, "lastSeenAt": NOW, "task": {"task": 7},
}


def rows_of(run):
    assert not run.stderr
    return list(csv.reader(io.StringIO(run.stdout, newline="")))


TASK_COLUMNS = [f"task.{key}" for key in (
    "task", "batch", "fromVersion", "version", "status", "confirmation", "waitReason", "percent",
    "resultCode", "resultMessage", "deviceMessage", "attempt", "createdAt", "sentAt", "updatedAt",
    "deadlineAt", "finishedAt")]


def test_json_has_a_long_name(otactl, server):
    server.answer = lambda command: {"device": DEVICE}
    words = ("device", "show", "p", "d")
    assert otactl(*words, "--output", "json").stdout == otactl(*words, "--json").stdout
    assert otactl(*words, "--output=table").stdout == otactl(*words).stdout
    assert otactl(*words, "--json", "--output", "table").stdout == otactl(*words).stdout


def test_csv_of_a_list_has_one_header_for_all_its_pages(otactl, server):
    server.answer = paged(ROWS, [3, 0, 0, 2, 2])
    got = rows_of(otactl("device", "list", "p", "--output", "csv"))
    assert got[0] == ["device", "version", "online", "lastSeenAt"]
    assert got[1:3] == [["d0", "0.0.1", "true", WHEN], ["d1", "", "false", WHEN]]
    assert [row[0] for row in got[1:]] == [row["device"] for row in ROWS]


def test_csv_of_an_empty_list_is_empty(otactl, server):
    server.answer = paged([], [0, 0])
    assert otactl("device", "list", "p", "--output", "csv").stdout == ""


def test_csv_quotes_what_needs_it(otactl, server):
    server.answer = lambda command: {"device": DEVICE}
    run = otactl("device", "show", "p", "d", "--output", "csv")
    header, row = rows_of(run)
    assert header[:-17] == list(DEVICE)[:-1] and header[-17:] == TASK_COLUMNS
    assert row[:-17] == ["p", "d,1", 'a "b"\nc', "canary,site=x", "false", "", WHEN]
    assert row[-17:] == ["7"] + [""] * 16


def test_csv_of_devices_has_the_last_task_in_columns(otactl, server):
    task = {"task": 7, "product": "p", "device": "b", "status": "failed", "resultCode": -4,
            "deviceMessage": "=1", "updatedAt": NOW}
    rows = [{"device": "a", "task": None}, {"device": "b", "task": task}]
    server.answer = lambda command: {"devices": rows}
    header, first, second = rows_of(otactl("device", "list", "p", "--output", "csv"))
    assert header == ["device", *TASK_COLUMNS] and first == ["a"] + [""] * 17
    told = dict(zip(header, second))
    assert {key: value for key, value in told.items() if value} == {
        "device": "b", "task.task": "7", "task.status": "failed", "task.resultCode": "-4",
        "task.deviceMessage": "'=1", "task.updatedAt": WHEN}


def test_the_columns_of_a_last_task_are_a_tasks(otactl):
    examples = json.loads((ROOT / "docs" / "api-examples.json").read_text())
    (said,) = examples["getDevice"]["response"]["responses"]
    known = set(said["data"]["device"]["task"]) - {"product", "device", "online"}
    assert {f"task.{key}" for key in known} == set(TASK_COLUMNS)


@pytest.mark.parametrize("text, cell", [
    ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"), ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
    ("@SUM(A1)", "'@SUM(A1)"), ("-1+2", "'-1+2"), ("-d", "-d"), ("a=b", "a=b"), ("", ""),
])
def test_csv_is_no_place_for_a_devices_formulas(otactl, server, text, cell):
    server.answer = lambda command: {"tasks": [{"task": 1, "deviceMessage": text}]}
    got = rows_of(otactl("task", "list", "--output", "csv"))
    assert got == [["task", "deviceMessage"], ["1", cell]]


def test_csv_of_several_lists_puts_an_empty_line_between(otactl, server):
    server.answer = lambda command: {"task": {"task": 7}, "events": [{"at": NOW, "status": "failed"}]}
    got = rows_of(otactl("task", "show", 7, "--output", "csv"))
    assert got == [["task"], ["7"], [], ["at", "status"], [WHEN, "failed"]]


def test_csv_is_for_what_lists_or_shows(bare):
    for words in (("product", "create", "p"), ("task", "watch", "7"), ("batch", "pause", "7")):
        run = bare(*words, "--output", "csv", code=2)
        assert "csv is for what lists or shows" in run.stderr
    assert "must be table, json or csv" in bare("info", "--output", "xml", code=2).stderr


def test_colours_are_for_terminals(otactl, server):
    server.answer = lambda command: {"devices": ROWS}
    words = ("device", "list", "p")
    assert "\033[" not in otactl(*words).stdout
    assert "\033[" in otactl.on_terminal(*words)[1]
    assert "\033[" not in otactl.on_terminal(*words, NO_COLOR="1")[1]
    assert "\033[" not in otactl.on_terminal(*words, TERM="dumb")[1]
    for output in ("json", "csv"):
        assert "\033[" not in otactl.on_terminal(*words, "--output", output)[1]


def test_csv_does_not_steer_a_terminal(otactl, server):
    server.answer = lambda command: {"tasks": [{"deviceMessage": "\033]0;owned\007"}]}
    assert "\033" not in otactl.on_terminal("task", "list", "--output", "csv")[1]
    assert "\033]0;owned\007" in otactl("task", "list", "--output", "csv").stdout
