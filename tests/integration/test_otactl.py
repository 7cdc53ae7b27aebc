# SPDX-License-Identifier: BSD-3-Clause
"""otactl against a scripted server: $CONTROL is not routed by a broker, so the server listens on
an ordinary topic, and otactl is told so by its hidden --control-topic."""
import base64
import hashlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from common import OTACTL, TIMEOUT, free_port, read_terminal

pytestmark = pytest.mark.slow_asan  # the plugin does nothing here that others leave out

TOPIC = "test/ota/v1"
NOW = 1_764_003_792_000  # 2025-11-24 17:03:12 UTC


class Refusal(Exception):
    def __init__(self, code, text, field=None):
        super().__init__(text)
        self.answer = {"error": text, "code": code, **({"field": field} if field else {})}


class Server:
    """Answers commands by a function: command → data; Refusal refuses, None answers nothing."""

    def __init__(self, port, answer=lambda command: {}):
        self.answer = answer
        self.commands = []
        self._changed = threading.Condition()
        self._subscribed = False
        self.mqtt = mqtt.Client(f"server-{port}", protocol=mqtt.MQTTv311)
        self.mqtt.on_connect = lambda c, u, f, rc: c.subscribe(TOPIC, 1)
        self.mqtt.on_subscribe = self._on_subscribe
        self.mqtt.on_message = self._on_message
        self.mqtt.on_socket_open = lambda c, u, s: s.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()
        self.wait(lambda: self._subscribed)

    def _on_subscribe(self, *_):
        with self._changed:
            self._subscribed = True
            self._changed.notify_all()

    def _on_message(self, client, userdata, message):
        for command in json.loads(message.payload)["commands"]:
            response = {"command": command["command"]}
            try:
                data = self.answer(command)
                response["data"] = data
            except Refusal as refusal:
                data = response.update(refusal.answer) or {}
            response["correlationData"] = command["correlationData"]
            if data is not None:
                client.publish(f"{TOPIC}/response", json.dumps({"responses": [response]}), 1)
            with self._changed:
                self.commands.append(command)
                self._changed.notify_all()

    def wait(self, predicate):
        with self._changed:
            assert self._changed.wait_for(predicate, TIMEOUT)

    def named(self, name):
        return [c for c in self.commands if c["command"] == name]

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@pytest.fixture
def environment(tmp_path):
    """No settings of whoever runs the tests."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("OTACTL", "NO_COLOR"))}
    return {**keep, "XDG_CONFIG_HOME": str(tmp_path), "TZ": "UTC", "LC_ALL": "C.UTF-8",
            "TERM": "xterm"}


class Tool:
    def __init__(self, environment, port=1):
        self.environment = environment
        self.place = ["-h", "127.0.0.1", "-p", str(port), "--control-topic", TOPIC]

    def command(self, *words, place=True):
        return [str(OTACTL), *(self.place if place else []), *map(str, words)]

    def __call__(self, *words, code=0, place=True, **more):
        run = subprocess.run(
            self.command(*words, place=place), text=True, capture_output=True, check=False,
            timeout=3 * TIMEOUT, env={**self.environment, **more}, stdin=subprocess.DEVNULL,
        )
        assert run.returncode == code, f"{words}: {run.returncode}\n{run.stdout}{run.stderr}"
        return run

    def json(self, *words, **more):
        return json.loads(self(*words, "--json", **more).stdout)

    def start(self, *words):
        return subprocess.Popen(
            self.command(*words), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.environment, stdin=subprocess.DEVNULL,
        )

    def on_terminal(self, *words, **more):
        """Its exit status and all that a terminal was sent."""
        main, side = pty.openpty()
        process = subprocess.Popen(
            self.command(*words), stdout=side, stderr=side, stdin=side,
            env={**self.environment, **more},
        )
        os.close(side)
        heard = read_terminal(main)
        os.close(main)
        return process.wait(TIMEOUT), heard.decode()


@pytest.fixture
def bare(environment):
    """otactl where there is no broker."""
    return Tool(environment, free_port())


@pytest.fixture
def server(broker):
    made = Server(broker(plugin=False).port)
    yield made
    made.close()


@pytest.fixture
def otactl(environment, request, server):
    return Tool(environment, request.node.ota_brokers[0].port)


# -- arguments

# What a person types for a value of each kind, and what is sent.
SAMPLES = {
    "PRODUCT": ("testProduct", "testProduct"),
    "DEVICE": ("testDevice0", "testDevice0"),
    "VERSION": ("0.0.2", "0.0.2"),
    "NAME": ("app.bin", "app.bin"),
    "TEXT": ("Straße ☂", "Straße ☂"),
    "TAG": ("site=berlin", "site=berlin"),
    "TAG,TAG": ("canary,site=berlin", ["canary", "site=berlin"]),
    "yes|no": ("no", False),
    "HEX": ("ab" * 32, "ab" * 32),
    "STATUS": ("message_sent", "message_sent"),
    "CURSOR": ("c/1", "c/1"),
    "max=N,delaySeconds=N[,on=timeout:CODE]": (
        "max=3,delaySeconds=60,on=timeout:-1",
        {"max": 3, "delaySeconds": 60, "on": ["timeout", -1]},
    ),
    "JSON": ('{"all":true}', {"all": True}),
    "NAME,NAME": ("testDevice0,testDevice1", ["testDevice0", "testDevice1"]),
    "STAGE,STAGE": (
        "1%,50:min=60:soak=1h:manual,100%",
        [{"percent": 1}, {"count": 50, "minSuccessPercent": 60, "soakSeconds": 3600,
                          "advance": "manual"}, {"percent": 100}],
    ),
    "PERCENT/MIN": ("10%/50", {"percent": 10, "minFinished": 50}),
    "TIME": (str(NOW), NOW),
    "STATE": ("running", "running"),
    "confirmed|done": ("done", "done"),
    "viewer|operator|admin": ("operator", "operator"),
    "snapshot|continuous": ("continuous", "continuous"),
    "finish|cancel": ("cancel", "cancel"),
}

# What a verb wants besides what its command does.
NEEDED = {"batch create": (["--all"], {"target": {"all": True}})}


def sample(param):
    if param["value"] == "N":
        number = max(param["min"], min(param["max"], 7))
        return str(number), number
    if param["value"] == "BASE64":
        return "A" * param["min"], "A" * param["min"]
    return SAMPLES[param["value"]]


def arguments(verb, optional):
    words, fields = verb["words"].split(), {"command": verb["command"]}
    for param in verb["params"]:
        if param["local"] or not (param["required"] or optional):
            continue
        text, fields[param["key"]] = sample(param)
        words += [text] if param["required"] else [f"--{param['option']}", text]
    if not optional and verb["words"] in NEEDED:
        words += NEEDED[verb["words"]][0]
        fields.update(NEEDED[verb["words"]][1])
    return words, fields


@pytest.mark.parametrize("optional", [False, True])
def test_every_command_sends_what_the_table_says(otactl, server, optional):
    verbs = [v for v in otactl.json("--list-commands", place=False)
             if v["command"] and v["words"] not in ("firmware add", "task watch", "batch watch")]
    assert len(verbs) >= 25
    for verb in verbs:
        words, expected = arguments(verb, optional)
        otactl(*words)
        sent = server.commands[-1]
        request_id = sent.pop("requestId", None)
        sent.pop("correlationData")
        if any(p["key"] == "cursor" for p in verb["params"]):
            expected["limit"] = 200
        assert sent == expected, words
        wants_id = verb["writes"] and verb["command"] != "uploadFirmwareBlock"
        assert bool(re.fullmatch("[0-9a-f]{32}", request_id or "")) == wants_id, words


@pytest.mark.parametrize("words, fields", [
    ("device list p --online", {"product": "p", "online": True, "limit": 200}),
    ("device list --online p", {"product": "p", "online": True, "limit": 200}),
    ("--online no device list p", {"product": "p", "online": False, "limit": 200}),
    ("device --version=1.0 list p", {"product": "p", "version": "1.0", "limit": 200}),
    ("--version 1.0 device list p", {"product": "p", "version": "1.0", "limit": 200}),
    ("device update p d --no-hold", {"product": "p", "device": "d", "hold": False}),
    ("device update p d --hold=yes", {"product": "p", "device": "d", "hold": True}),
    ("device update p d --tags=", {"product": "p", "device": "d", "tags": []}),
    ("device show p -- -d", {"product": "p", "device": "-d"}),
    ("firmware announce p 1 a.ZIP 9 " + "0" * 64 + " --order -5",
     {"product": "p", "version": "1", "filename": "a.ZIP", "size": 9, "sha256": "0" * 64,
      "order": -5}),
    ("upgrade p d 1 --retry max=2,delay-seconds=30 --allow-downgrade",
     {"product": "p", "device": "d", "version": "1", "allowDowngrade": True,
      "retry": {"max": 2, "delaySeconds": 30}}),
    ("task list --page-size 5", {"limit": 5}),
    ("task list --limit 3", {"limit": 3}),
])
def test_ways_to_write_arguments(otactl, server, words, fields):
    otactl(*words.split())
    sent = server.commands[-1]
    assert {k: v for k, v in sent.items()
            if k not in ("command", "correlationData", "requestId")} == fields


def test_a_status_can_be_given_in_words(otactl, server):
    otactl("task", "list", "--status", "upgrade failed")
    assert server.commands[-1]["status"] == "failed"


@pytest.mark.parametrize("words, said", [
    ("", "no command was given"),
    ("prodct list", 'do you mean "product list"?'),
    ("upgrad a b 1", 'do you mean "upgrade"?'),
    ("xyzzy", "otactl --help"),
    ("task", "task list, task show"),
    ("task show", "the task is missing"),
    ("task show 0", 'task must be a whole number of at least 1, not "0"'),
    ("task show 7x", 'not "7x"'),
    ("task show 1 2", '"2" is one too many'),
    ("task show 1 --force", "does not take --force"),
    ("upgrade p d 1 --timeout-seconds 9",
     '--timeout-seconds must be a whole number from 10 to 604800, not "9"'),
    ("upgrade p d 1 --timeout-second 60", "do you mean --timeout-seconds?"),
    ("upgrade p d 1 --retry max=11", "--retry must be max=0-10"),
    ("upgrade p d 1 --retry max", "--retry must be max=0-10"),
    ("upgrade p d 1 --retry on=sometimes", "--retry must be"),
    ("upgrade p d 1 --until lunch", "succeeded or confirmed"),
    ("upgrade p d 1 --override --override", "given twice"),
    ("upgrade p d 1 --override=perhaps", "must be yes or no"),
    ("upgrade p d 1 --no-override=yes", "--no-override takes no value"),
    ("upgrade p d 1 --no-retry", "--no-retry is not an option"),
    ("product create a/b", "product must be 1-32 of A-Z a-z 0-9 _ -"),
    ("product create --product p", "given without --product"),
    ("device create p d --tags a,,b", "--tags must be at most 16 tags"),
    ("device list p --version", "--version needs a value"),
    ("task list --status done", "--status must be one of device_offline, task_waiting"),
    ("firmware add p 1 /nowhere/a.bin", "No such file"),
    ("firmware add p 1 /tmp", "is not a file"),
    ("firmware add p 1 /etc/passwd", "firmware is a .bin file"),
    ("firmware announce p 1 a.exe 1 " + "0" * 64, "filename must be"),
    ("info -h", "--help"),
    ("info -x", "-x is not an option"),
    ("info --json=yes", "takes no value"),
    ("info --timeout 0", "--timeout must be a whole number from 1 to 3600"),
    ("info --cert a", "--cert and --key go together"),
    ("info -L http://a", "mqtt://"),
    ("info -o /nowhere", "cannot read /nowhere"),
    ("info --cafile /nowhere", "cannot read the files of --cafile"),
])
def test_wrong_usage_is_told_before_anything_is_sent(bare, words, said):
    run = bare(*words.split(), code=2)
    assert said in run.stderr and not run.stdout


def test_text_that_is_not_utf8_is_refused(bare):
    command = bare.command("product", "update", "p")
    run = subprocess.run([*command, b"\xff\xfe"], capture_output=True, env=bare.environment,
                         timeout=TIMEOUT, check=False)
    assert run.returncode == 2 and b"UTF-8" in run.stderr


def test_usage_errors_in_json(bare):
    run = bare("task", "show", "x", "--json", code=2)
    told = json.loads(run.stderr)
    assert told["code"] == "usage" and told["field"] == "task" and "whole number" in told["error"]
    assert set(told) == {"error", "code", "field"}


# -- help

def test_help_of_everything(bare):
    overview = bare("--help").stdout
    for verb in bare.json("--list-commands"):
        assert f"  {verb['words']}" in overview
        told = bare("help", *verb["words"].split()).stdout
        assert told == bare(*verb["words"].split(), "--help").stdout
        assert (f"Role: {verb['role']}." if verb["command"] else "Needs no server.") in told
        assert "Example" in told
        for param in verb["params"]:
            named = param["option"].upper() if param["required"] else f"--{param['option']}"
            assert named in told
    assert max(map(len, overview.splitlines())) <= 100
    assert all(f"\n  {code}  " in overview for code in (0, 1, 2, 3, 4))
    group = bare("help", "task").stdout
    assert group == bare("task", "--help").stdout
    assert group.startswith("Usage: otactl [CONNECTION] task ") and "task show" in group
    assert "otactl help task" in group.splitlines()[-1]
    assert bare("help", "key").stdout.startswith("Usage: otactl key ")  # needs no server
    assert "otactl 0." in bare("--version").stdout
    bare("help", "nonsense", code=2)


def test_examples_of_the_help_are_right(otactl, server, tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "app.bin").write_bytes(b"firmware")
    uploads = Uploads(block_size=64)
    tasks = {"task": {"task": 7, "status": "succeeded", "confirmation": "confirmed"}, "events": []}
    batch = {"batch": {"batch": 7, "state": "finished", "total": 0}}
    (tmp_path / "names.txt").write_text("testDevice0\n")
    otactl("key", "create", str(tmp_path / "release"))

    def answer(command):
        name = command["command"]
        return tasks if "Task" in name else batch if "Batch" in name else uploads(command)

    server.answer = answer
    for verb in otactl.json("--list-commands", place=False):
        if verb["command"] in ("uploadFirmwareBlock", "commitFirmware"):
            continue
        told = otactl("help", *verb["words"].split()).stdout.splitlines()
        heading = max(told.index(h) for h in ("Example", "Examples") if h in told)
        for example in told[heading + 1:]:
            line = example.strip().replace("otactl", " ".join(otactl.command()), 1)
            line = line.replace("$", "\\$")
            run = subprocess.run(["sh", "-c", line], env=otactl.environment, cwd=tmp_path,
                                 text=True, capture_output=True, timeout=TIMEOUT, check=False)
            # what it finds in /etc is this machine's
            codes = (0, 5) if verb["words"] in ("check-config", "doctor") else (0,)
            assert run.returncode in codes, f"{example}\n{run.stderr}"


# -- answers

def test_a_refusal_is_told_with_field_and_code(otactl, server):
    def refuse(command):
        raise Refusal("not_found", 'there is no product "p"; create it first', "product")

    server.answer = refuse
    run = otactl("firmware", "list", "p", code=1)
    assert run.stderr == (
        'otactl: there is no product "p"; create it first (not_found: product)\n')
    assert not run.stdout
    run = otactl("firmware", "list", "p", "--json", code=1)
    assert json.loads(run.stderr) == {
        "error": 'there is no product "p"; create it first', "code": "not_found",
        "field": "product"}
    assert not run.stdout


def test_json_is_the_answers_data(otactl, server):
    data = {"device": {"device": "d", "online": True, "tags": ["a"], "task": None}}
    server.answer = lambda command: data
    assert otactl.json("device", "show", "p", "d") == data


def test_an_answer_without_data_says_done(otactl):
    assert otactl("product", "delete", "p").stdout == "done\n"
    assert otactl("product", "delete", "p", "--json").stdout == "{}\n"


def paged(rows, sizes, key="devices"):
    """Pages of these sizes, some short or empty, all but the last with nextCursor."""
    def answer(command):
        page = int(command.get("cursor", "0"))
        start = sum(sizes[:page])
        data = {key: rows[start:start + min(sizes[page], command["limit"])]}
        if page + 1 < len(sizes):
            data["nextCursor"] = str(page + 1)
        return data

    return answer


ROWS = [{"device": f"d{i}", "version": None if i % 2 else "0.0.1", "online": i == 0,
         "lastSeenAt": NOW} for i in range(7)]


def test_lists_follow_the_cursor_over_short_and_empty_pages(otactl, server):
    server.answer = paged(ROWS, [3, 0, 0, 2, 2])
    assert otactl.json("device", "list", "p") == {"devices": ROWS}
    assert [c.get("cursor") for c in server.commands] == [None, "1", "2", "3", "4"]
    lines = otactl("device", "list", "p").stdout.splitlines()
    assert lines[0].split() == ["device", "version", "online", "last", "seen"]
    assert [line.split()[0] for line in lines[1:]] == [row["device"] for row in ROWS]
    assert lines[1] == "d0      0.0.1    yes     2025-11-24 17:03:12"
    assert lines[2] == "d1      —        no      2025-11-24 17:03:12"


def test_an_empty_list(otactl, server):
    server.answer = paged([], [0, 0])
    assert otactl("device", "list", "p").stdout == "no devices\n"
    assert otactl.json("device", "list", "p") == {"devices": []}


def test_a_limit_is_of_rows_in_all_and_tells_where_to_go_on(otactl, server):
    server.answer = paged(ROWS, [3, 3, 1])
    assert otactl.json("device", "list", "p", "--limit", 5, "--page-size", 3) == {
        "devices": ROWS[:5], "nextCursor": "2"}
    assert [c["limit"] for c in server.commands] == [3, 2]
    run = otactl("device", "list", "p", "--limit", 2)
    assert "--cursor 1" in run.stderr and len(run.stdout.splitlines()) == 3


def test_an_error_in_the_middle_of_a_list(otactl, server):
    pages = paged(ROWS, [3, 4])

    def answer(command):
        if "cursor" in command:
            raise Refusal("unavailable", "the database is busy; try again")
        return pages(command)

    server.answer = answer
    assert "busy" in otactl("device", "list", "p", code=1).stderr


def test_a_reader_that_goes_away_ends_a_list(otactl, server):
    server.answer = lambda command: {"devices": ROWS * 20, "nextCursor": "more"}
    with otactl.start("device", "list", "p") as process:
        process.stdout.readline()
        process.stdout.close()
        process.wait(TIMEOUT)
        process.stderr.close()


TASK = {"task": 7, "product": "p", "device": "d", "batch": None, "fromVersion": "0.0.1",
        "version": "0.0.2", "status": "downloading", "confirmation": None, "waitReason": None,
        "percent": 40, "resultCode": None, "resultMessage": None, "attempt": 1, "online": True,
        "createdAt": NOW, "updatedAt": NOW, "finishedAt": None}


def task(**changes):
    return {**TASK, **changes}


def test_a_task_with_its_history(otactl, server):
    server.answer = lambda command: {"task": task(), "events": [
        {"at": NOW, "status": "message_sent", "percent": 0, "detail": ""},
        {"at": NOW + 1000, "status": "downloading", "percent": 40, "detail": "first block"}]}
    told = otactl("task", "show", 7).stdout
    assert re.search(r"^status: +downloading 40 %$", told, re.M)
    assert re.search(r"^from version: +0.0.1$", told, re.M)
    assert re.search(r"^created at: +2025-11-24 17:03:12$", told, re.M)
    assert re.search(r"^batch: +—$", told, re.M)
    assert re.search(r"^2025-11-24 17:03:12  message successfully sent +", told, re.M)
    assert re.search(r"^2025-11-24 17:03:13  downloading 40 % +40 %.*first block$", told, re.M)
    assert "percent:" not in told and "wait reason" not in told


@pytest.mark.parametrize("changes, words", [
    ({"status": "device_offline"}, "device offline"),
    ({"status": "task_waiting", "waitReason": "in_flight"}, "task waiting (in flight)"),
    ({"status": "succeeded", "confirmation": "confirmed"}, "upgraded successfully (confirmed)"),
    ({"status": "failed"}, "upgrade failed"),
    ({"status": "brand_new"}, "brand new"),
])
def test_the_words_of_the_upgrade_status_list(otactl, server, changes, words):
    server.answer = lambda command: {"tasks": [task(**changes)]}
    assert f"  {words}  " in otactl("task", "list").stdout


def test_sizes_and_versions_with_bars(otactl, server):
    server.answer = lambda command: {"firmware": {"version": "1", "size": 708482, "signed": False}}
    told = otactl("firmware", "show", "p", "1").stdout
    assert re.search(r"^size: +691.9 KB$", told, re.M) and re.search(r"^signed: +no$", told, re.M)
    server.answer = lambda command: {"versions": [
        {"version": "0.0.1", "uploaded": True, "devices": 100},
        {"version": "0.0.2", "uploaded": True, "devices": 50},
        {"version": "0.0.3", "uploaded": False, "devices": 0}]}
    lines = otactl("version", "list", "p").stdout.splitlines()
    assert [line.count("█") for line in lines[1:]] == [20, 10, 0]
    assert lines[1].startswith("0.0.1    yes           100  ")
    assert lines[0] == "version  uploaded  devices" and lines[3] == "0.0.3    no              0"


def test_text_from_devices_does_not_steer_the_terminal(otactl, server):
    evil = "a\x1b[31mb\x07\u009bc\u202ed"
    server.answer = lambda command: {"device": {"device": "d", "description": evil}}
    told = otactl("device", "show", "p", "d").stdout
    assert "a?[31mb??c?d" in told and "\x1b" not in told
    assert otactl.json("device", "show", "p", "d")["device"]["description"] == evil


def test_colours_only_on_a_terminal_without_no_color(otactl, server):
    server.answer = lambda command: {"tasks": [task(status="succeeded"), task(status="failed")]}
    assert "\x1b[" not in otactl("task", "list").stdout
    code, told = otactl.on_terminal("task", "list")
    assert code == 0 and "\x1b[32mupgraded successfully\x1b[0m" in told
    code, told = otactl.on_terminal("task", "list", NO_COLOR="1")
    assert code == 0 and "\x1b[" not in told and "upgraded successfully" in told
    assert "\x1b[" not in otactl.on_terminal("task", "list", TERM="dumb")[1]


def test_columns_stand_in_line_whatever_the_script(otactl, server):
    server.answer = lambda command: {"products": [
        {"product": "a", "description": "空気", "devices": 1},
        {"product": "b", "description": "Straße", "devices": 1000}]}
    lines = otactl("product", "list").stdout.splitlines()
    assert lines[1] == "a              1  空気"
    assert lines[2] == "b           1000  Straße"


def test_warnings_stand_on_lines_of_their_own(otactl, server):
    server.answer = lambda command: {"version": "0.1.0", "databaseBytes": 4096,
                                     "warnings": ["one, two", "three"]}
    told = otactl("info").stdout
    assert re.search(r"^warnings: +one, two\nwarnings: +three$", told, re.M)
    assert re.search(r"^database bytes: 4.0 KB$", told, re.M)


# -- connection

def test_nobody_listens(bare):
    assert "Connection refused" in bare("info", code=3).stderr
    assert json.loads(bare("info", "--json", code=3).stderr)["code"] == "connection"


def test_a_host_that_swallows_everything(environment):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(place)
        run = Tool(environment, place[1])("--timeout", 1, "info", code=3)
        assert "did not answer within 1 s" in run.stderr
        for one in waiting:
            one.close()


def test_no_such_host(bare):
    assert "no host named" in bare("-h", "nowhere.invalid", "info", code=3).stderr


def test_wrong_password_and_ways_to_give_the_right_one(broker, environment, tmp_path):
    running = broker(plugin=False, users={"admin": "secret", "u": "two words"})
    tool = Tool(environment, running.port)
    listening = threading.Event()
    server = mqtt.Client("server")
    server.username_pw_set("u", "two words")
    server.on_subscribe = lambda *_: listening.set()
    server.on_message = lambda c, u, m: c.publish(f"{TOPIC}/response", json.dumps({"responses": [
        {"data": {}, "correlationData": json.loads(m.payload)["commands"][0]["correlationData"]}]}))
    server.connect("127.0.0.1", running.port)
    server.subscribe(TOPIC)
    server.loop_start()
    assert listening.wait(TIMEOUT)

    assert "wrong user name or password" in tool("-u", "admin", "-P", "no", "info", code=3).stderr
    assert "wrong user name or password" in tool("info", code=3).stderr
    tool("-u", "admin", "-P", "secret", "info")
    tool("-u", "admin", "info", OTACTL_PASSWORD="secret")
    tool("-u", "admin", "-P", "secret", "info", OTACTL_PASSWORD="no")
    tool("-L", f"mqtt://admin:secret@127.0.0.1:{running.port}/", "info")
    (tmp_path / "pw").write_text("secret\n")
    tool("-u", "admin", "--pw-file", tmp_path / "pw", "info")
    config = f"# a comment\n\n-h 127.0.0.1\n--port {running.port}\n-u u\n-P two words\n"
    (tmp_path / "file").write_text(config + f"--control-topic {TOPIC}\n")
    tool("-o", tmp_path / "file", "info", place=False)
    (tmp_path / "file").rename(tmp_path / "otactl")
    tool("info", place=False)
    tool("-u", "admin", "info", place=False, OTACTL_PASSWORD="secret")
    (tmp_path / "otactl").write_text("-h 127.0.0.1\n--prot 1\n")
    run = tool("info", code=2, place=False)
    assert f"{tmp_path}/otactl, line 2: --prot is not an option" in run.stderr
    server.disconnect()
    server.loop_stop()


class Impostor:
    """A broker of a few bytes: answers each packet of a client with the next of these."""

    def __init__(self, *answers):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.answers = answers
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        client, _ = self.socket.accept()
        with client:
            for answer in self.answers:
                if client.recv(4096):
                    client.sendall(answer)
            while self.answers and client.recv(4096):
                pass

    def close(self):
        self.thread.join(TIMEOUT)
        self.socket.close()


CONNACK = b"\x20\x02\x00\x00"


@pytest.mark.parametrize("answers, said", [
    ([], "closed the connection before the login; does this port want TLS"),
    ([b""], "did not answer within 1 s"),
    ([b"\x20\x02\x00\x02"], "client id"),
    ([CONNACK, b"\x90\x03\x00\x01\x80"], "refused the subscription"),
    ([CONNACK, b""], "did not answer the subscription"),
    ([CONNACK, b"\x90\x03\x00\x01\x01"], "no answer within 1 s"),
])
def test_what_a_broker_may_do_to_us(environment, answers, said):
    impostor = Impostor(*answers)
    run = Tool(environment, impostor.port)("-u", "bob", "--timeout", 1, "info", code=3)
    assert said in run.stderr
    if b"\x90" in answers[-1:] or "subscription" in said or "no answer" in said:
        assert 'user "bob" has no role (add it to plugin_opt_admins' in run.stderr
    impostor.close()


def test_a_message_that_is_no_answer_is_passed_over(otactl, server):
    def answer(command):
        for junk in ("", "nonsense", "[]", '{"responses":7}', '{"responses":[7,{}]}',
                     '{"responses":[{"correlationData":"other","data":{"a":1}}]}'):
            server.mqtt.publish(f"{TOPIC}/response", junk, 1)
        return {"b": 2}

    server.answer = answer
    assert otactl.json("info") == {"b": 2}


def test_an_envelope_that_was_not_understood(otactl, server):
    def answer(command):
        server.mqtt.publish(f"{TOPIC}/response", json.dumps(
            {"responses": [{"error": "this is no JSON", "code": "invalid_request"}]}), 1)

    server.answer = answer
    assert "this is no JSON (invalid_request)" in otactl("info", code=1).stderr


def take_over(port, client_id):
    """The broker closes the connection of whoever has that client id."""
    thief = mqtt.Client(client_id)
    thief.connect("127.0.0.1", port)
    deadline = time.monotonic() + TIMEOUT
    while not thief.is_connected() and time.monotonic() < deadline:
        thief.loop(0.1)
    return thief


def test_a_lost_connection_repeats_the_command_with_its_request_id(otactl, server, request):
    port = request.node.ota_brokers[0].port
    server.answer = lambda command: {} if len(server.commands) > 0 else None
    process = otactl.start("-i", "ctl", "product", "create", "p")
    server.wait(lambda: server.commands)
    thief = take_over(port, "ctl")
    told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, told
    assert "the connection was lost, trying again" in told[1]
    first, second = server.commands
    assert first.pop("correlationData") != second.pop("correlationData")
    assert first == second and len(first["requestId"]) == 32
    thief.loop(0.1)


def test_a_broker_that_does_not_come_back(otactl, server, request):
    server.answer = lambda command: None
    process = otactl.start("--timeout", 1, "info")
    server.wait(lambda: server.commands)
    request.node.ota_brokers[0].kill9()
    told = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 3 and "is the broker running" in told


def test_a_given_request_id_is_used(otactl, server):
    otactl("product", "create", "p", "--request-id", "job-17")
    assert server.commands[-1]["requestId"] == "job-17"


def test_tls(broker, environment, certificates):
    running = broker(plugin=False, tls=certificates)
    server = Server(running.port)
    certificate, key = certificates.client("admin")
    tool = Tool(environment, running.tls_port)
    login = ["--cert", certificate, "--key", key]
    tool("-h", "localhost", "--cafile", certificates.ca, *login, "info")
    assert server.commands
    said = tool("-h", "localhost", *login, "--cafile", certificate, "info", code=3).stderr
    assert "TLS with localhost" in said and "verify failed" in said
    said = tool("-h", "127.0.0.2", "--cafile", certificates.ca, *login, "info", code=3).stderr
    assert "127.0.0.2" in said
    assert "want TLS" in tool("info", code=3).stderr
    plain = Tool(environment, running.port)
    assert "TLS" in plain("--cafile", certificates.ca, "info", code=3).stderr
    server.close()


# -- upload

class Uploads:
    """The server's side of firmware add, as control-api.md has it."""

    def __init__(self, block_size=1000):
        self.block_size = block_size
        self.stored = b""
        self.announced = None
        self.committed = None
        self.hold_at = None  # answers nothing from this offset on
        self.seen = {}  # requestId: the answer that it got

    def __call__(self, command):
        handler = {"addFirmware": self.add, "uploadFirmwareBlock": self.block,
                   "commitFirmware": self.commit}.get(command["command"], lambda _: {})
        request_id = command.get("requestId")
        if request_id in self.seen:
            return self.seen[request_id]
        answer = handler(command)
        if request_id and answer is not None:
            self.seen[request_id] = answer
        return answer

    def add(self, command):
        self.announced = command
        return {"upload": 5, "blockSize": self.block_size, "offset": len(self.stored)}

    def block(self, command):
        if self.hold_at is not None and len(self.stored) >= self.hold_at:
            return None
        if command["offset"] != len(self.stored):
            raise Refusal("conflict", "the upload is elsewhere", "offset")
        self.stored += base64.b64decode(command["data"], validate=True)
        return {"offset": len(self.stored)}

    def commit(self, command):
        assert command["upload"] == 5
        digest = hashlib.sha256(self.stored).hexdigest()
        if digest != self.announced["sha256"]:
            raise Refusal("checksum_mismatch", "the file arrived damaged; upload it again")
        self.committed = self.stored
        return {"firmware": {"product": self.announced["product"], "version": "0.0.2",
                             "size": len(self.stored), "sha256": digest}}


@pytest.fixture
def firmware(tmp_path):
    path = tmp_path / "app.bin"
    path.write_bytes(bytes(i * i % 251 for i in range(20_500)))
    return path


def test_upload(otactl, server, firmware):
    server.answer = uploads = Uploads()
    run = otactl("firmware", "add", "p", "0.0.2", firmware, "--description", "x", "--order", 9)
    content = firmware.read_bytes()
    assert uploads.committed == content
    assert re.search(r"^size: +20.0 KB$", run.stdout, re.M)
    assert [line.split()[0] for line in run.stderr.splitlines()] == [
        str(n) for n in range(10, 101, 10)]
    announced = server.named("addFirmware")[0]
    announced.pop("requestId"), announced.pop("correlationData")
    assert announced == {
        "command": "addFirmware", "product": "p", "version": "0.0.2", "filename": "app.bin",
        "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "description": "x",
        "order": 9}
    assert "requestId" not in server.named("uploadFirmwareBlock")[0]
    assert server.named("commitFirmware")[0]["requestId"]


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 4000])
def test_upload_of_awkward_sizes(otactl, server, tmp_path, size):
    (tmp_path / "a.gz").write_bytes(b"\x1f" * size)
    server.answer = uploads = Uploads()
    told = otactl.json("firmware", "add", "p", "0.0.2", tmp_path / "a.gz")
    assert told["firmware"]["size"] == size and len(uploads.committed) == size


def test_upload_is_interrupted_and_goes_on(otactl, server, firmware):
    server.answer = uploads = Uploads()
    uploads.hold_at = 8000
    process = otactl.start("firmware", "add", "p", "0.0.2", firmware)
    server.wait(lambda: len(server.named("uploadFirmwareBlock")) > 8)
    # The answer to the last stored block must have arrived: then 8 of 20.5 are known to be there.
    while "30 %" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 130
    assert re.search(r"interrupted at 3\d %; the same command within an hour goes on", told)
    uploads.hold_at = None
    run = otactl("firmware", "add", "p", "0.0.2", firmware)
    assert run.stderr.startswith("resuming at 39 %\n")
    assert uploads.committed == firmware.read_bytes()
    offsets = [c["offset"] for c in server.named("uploadFirmwareBlock")]
    assert offsets.count(0) == 1


def test_upload_survives_a_lost_connection(otactl, server, firmware, request):
    server.answer = uploads = Uploads()
    uploads.hold_at = 8000
    process = otactl.start("-i", "ctl", "firmware", "add", "p", "0.0.2", firmware)
    server.wait(lambda: len(server.named("uploadFirmwareBlock")) > 8)
    uploads.hold_at = None
    thief = take_over(request.node.ota_brokers[0].port, "ctl")
    told = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 0, told
    assert uploads.committed == firmware.read_bytes()
    ids = [c["requestId"] for c in server.named("addFirmware")]
    assert len(set(ids)) == len(ids) == 2
    thief.loop(0.1)


def test_upload_goes_where_the_server_is(otactl, server, firmware):
    """Another session of the same user was faster."""
    uploads = Uploads()

    def answer(command):
        if command["command"] == "uploadFirmwareBlock" and len(uploads.stored) == 3000:
            uploads.stored += firmware.read_bytes()[3000:6000]
        return uploads(command)

    server.answer = answer
    otactl("firmware", "add", "p", "0.0.2", firmware)
    assert uploads.committed == firmware.read_bytes()


def test_upload_does_not_try_for_ever(otactl, server, firmware):
    def answer(command):
        if command["command"] == "uploadFirmwareBlock":
            raise Refusal("conflict", "the upload is elsewhere", "offset")
        return {"upload": 5, "blockSize": 1000, "offset": 0}

    server.answer = answer
    assert "elsewhere" in otactl("firmware", "add", "p", "0.0.2", firmware, code=1).stderr
    assert len(server.named("addFirmware")) < 10


def test_upload_is_refused(otactl, server, firmware):
    def answer(command):
        raise Refusal("too_large", "a firmware may have 10 MB", "size")

    server.answer = answer
    run = otactl("firmware", "add", "p", "0.0.2", firmware, code=1)
    assert run.stderr == "otactl: a firmware may have 10 MB (too_large: size)\n"


@pytest.mark.parametrize("data", [
    {}, {"upload": 5, "blockSize": 0, "offset": 0}, {"upload": 5, "blockSize": 1 << 40},
    {"upload": 5, "blockSize": 9, "offset": -1}, {"upload": 5, "blockSize": 9, "offset": 1 << 40},
])
def test_upload_with_a_server_that_talks_nonsense(otactl, server, firmware, data):
    server.answer = lambda command: data
    assert "makes no sense" in otactl("firmware", "add", "p", "1", firmware, code=1).stderr


def test_upload_shows_its_progress_on_a_terminal(otactl, server, firmware):
    server.answer = Uploads()
    code, told = otactl.on_terminal("firmware", "add", "p", "0.0.2", firmware)
    assert code == 0 and "[########################] 100 %  20.0 KB of 20.0 KB" in told


# -- watch

def history(*steps):
    """getTask's answers, one a call; the last one stays."""
    answers = []
    events = []
    for number, step in enumerate(steps):
        changes = step if isinstance(step, dict) else {"status": step}
        event = {"at": NOW + number * 1000, "status": changes["status"],
                 "percent": changes.get("percent", 0), "detail": changes.get("detail", "")}
        events.append(event)
        answers.append({"task": task(**{k: v for k, v in changes.items() if k != "detail"}),
                        "events": list(events)})
    return lambda command: answers.pop(0) if len(answers) > 1 else answers[0]


def test_watch_until_it_succeeded(otactl, server):
    server.answer = history(
        "message_sent", {"status": "downloading", "percent": 10},
        {"status": "downloading", "percent": 90}, "upgrading",
        {"status": "succeeded", "confirmation": "pending"},
        {"status": "succeeded", "confirmation": "confirmed", "detail": "the device reports it"})
    lines = otactl("task", "watch", 7).stdout.splitlines()
    assert lines[0] == "task 7: d 0.0.1 → 0.0.2"
    assert lines[1] == "2025-11-24 17:03:12  message successfully sent"
    assert lines[2] == "2025-11-24 17:03:13  downloading 10 %"
    assert lines[-2] == "2025-11-24 17:03:17  upgraded successfully: the device reports it"
    assert lines[-1] == "upgraded successfully (confirmed)"
    assert len(lines) == 8


def test_watch_of_a_history_that_is_too_long_to_be_answered_whole(otactl, server):
    """The server answers the last few entries only."""
    whole = history(*({"status": "downloading", "percent": n} for n in range(5)),
                    {"status": "succeeded", "confirmation": "confirmed"})

    def answer(command):
        data = whole(command)
        return {**data, "events": data["events"][-2:]}

    server.answer = answer
    lines = otactl("task", "watch", 7).stdout.splitlines()
    assert [line[21:] for line in lines[1:-1]] == [
        *(f"downloading {n} %" for n in range(5)), "upgraded successfully"]


def test_upgrade_and_watch(otactl, server):
    steps = history("device_offline", {"status": "failed", "resultMessage": "timeout"})
    server.answer = lambda c: {"task": task()} if c["command"] == "upgradeDevice" else steps(c)
    run = otactl("upgrade", "p", "d", "0.0.2", "--watch", code=4)
    assert "upgrade failed" in run.stdout
    assert run.stderr == "otactl: task 7: upgrade failed: timeout\n"
    assert {c["task"] for c in server.named("getTask")} == {7}
    assert set(server.named("upgradeDevice")[0]) == {
        "command", "product", "device", "version", "requestId", "correlationData"}


@pytest.mark.parametrize("last, code", [
    ({"status": "cancelled"}, 4),
    ({"status": "succeeded", "confirmation": "contradicted"}, 4),
    ({"status": "succeeded", "confirmation": "confirmed"}, 0),
])
def test_the_exit_status_is_the_tasks(otactl, server, last, code):
    server.answer = history(last)
    run = otactl("task", "watch", 7, "--json", code=code)
    assert json.loads(run.stdout)["task"]["status"] == last["status"]


def test_watch_waits_for_the_confirmation_as_told(otactl, server):
    server.answer = history({"status": "succeeded", "confirmation": "pending"})
    assert "(pending)" in otactl("task", "watch", 7, "--until", "succeeded").stdout
    assert len(server.commands) == 1
    process = otactl.start("task", "watch", 7, "--until", "confirmed")
    server.wait(lambda: len(server.commands) > 3)
    server.answer = history({"status": "succeeded", "confirmation": "confirmed"})
    told = process.communicate(timeout=TIMEOUT)[0]
    assert process.returncode == 0 and told.endswith("upgraded successfully (confirmed)\n")


def test_watch_shows_a_live_line_on_a_terminal(otactl, server):
    server.answer = history({"status": "downloading", "percent": 50},
                            {"status": "succeeded", "confirmation": "confirmed"})
    code, told = otactl.on_terminal("task", "watch", 7)
    assert code == 0 and "[############------------]  50 %  downloading 50 %" in told


def test_watch_of_a_task_that_is_not_there(otactl, server):
    def answer(command):
        raise Refusal("not_found", "there is no task 7", "task")

    server.answer = answer
    assert "there is no task 7" in otactl("task", "watch", 7, code=1).stderr
