# SPDX-License-Identifier: BSD-3-Clause
"""The authorisation matrix: contract 4 in every row, whatever other plugins and ACLs say. What is
expected stands in matrix.py; authorisation.py plays it."""
import re
import subprocess

import pytest
from paho.mqtt.client import topic_matches_sub

import authorisation
import authorised_commands
import dynsec
import harness
import matrix
from common import ALLOW, BROKER_VERSION, LET_IN, free_port, release_port
from control_help import command_rows

NAMES = (*filter(None, matrix.WHO.values()), "p/other", "p/third")
# What a device that is a gateway may publish and subscribe.
SPEAKS = ("$ota/report/p/d", "$ota/report/p/other", "$gateway/operation/p/d")
HEARS = (
    "$ota/update/p/d", "$ota/block/p/d/#", "$ota/update/p/other", "$ota/block/p/other/#",
    "$gateway/operation/result/p/d",
)
EVERYTHING = ("#", "$ota/#", "$CONTROL/#", "$gateway/#")
LINES = "".join(f"topic readwrite {topic}\n" for topic in EVERYTHING)
GENEROUS = LINES + "".join(f"user {name}\n{LINES}" for name in NAMES)
RIGHTS = [
    (kind, topic) for kind in ("publishClientSend", "publishClientReceive", "subscribePattern")
    for topic in EVERYTHING
]
BRIDGED = ("acl_file", "allow-all before")
UNLIMITED = "max_inflight_messages 0\nmax_queued_messages 100000\npersistence true\n"


@pytest.fixture(scope="module")
def retained(tmp_path_factory):
    """The folder of a broker that was used without our plugin, and left retained messages."""
    folder = tmp_path_factory.mktemp("before")
    config = f"persistence true\npersistence_location {folder}/\n"
    before = harness.Broker(folder / "broker", plugin=False, config=config)
    try:
        authorisation.leave_retained(before.start().port)
    finally:
        before.close()
    return folder / "mosquitto.db"


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """The broker at the other end of the bridges."""
    one = harness.Broker(tmp_path_factory.mktemp("remote") / "broker", plugin=False).start()
    yield one
    one.close()


def people(path):
    """A password file for the console: everybody who has a name."""
    names = filter(None, matrix.WHO.values())
    path.write_text("".join(f"{name}:{matrix.PASSWORD}\n" for name in names))
    subprocess.run(["mosquitto_passwd", "-U", path], check=True, timeout=60)
    return path


@pytest.fixture
def stage(broker, remote, retained, tmp_path):
    """stage(name of a set-up)"""
    made = []
    console_port = free_port()

    def set_up(name):
        other, _, place = name.partition(" ")
        tag = name.replace(" ", "-")
        bridged = name in BRIDGED
        (tmp_path / "mosquitto.db").write_bytes(retained.read_bytes())
        lines = {"before": "", "after": f"{UNLIMITED}persistence_location {tmp_path}/\n"}
        if other == "dynsec":
            lines[place] += dynsec.config(tmp_path / "dynsec")
        elif other.startswith("allow"):
            only = other.removeprefix("allow-").removesuffix("all")
            lines[place] += f"plugin {ALLOW}\n" + f"plugin_opt_only {only}\n" * bool(only)
        if other != "dynsec":
            lines["after"] += f"plugin {LET_IN}\n"
        if bridged:
            lines["after"] += authorisation.bridges(remote, tag)
        options = {
            "acl_fallback": None, "backup_dir": tmp_path,
            "console_listen": f"127.0.0.1:{console_port}",
            "password_file": people(tmp_path / "people"),
            "device_auth": "vendor", "secret_keyfile": tmp_path / "secret.key",
        }
        one = broker(
            options=options, before=lines["before"], config=lines["after"],
            acl=None if other in ("allow-all", "dynsec") else GENEROUS,
        )
        if other == "dynsec":
            dynsec.add(one, NAMES, RIGHTS, anonymous=True)
        made.append(authorisation.Stage(
            one, matrix.SETUPS[name], other == "dynsec", remote if bridged else None, tag))
        made[0].console_port = console_port
        return made[0]

    yield set_up
    for one in made:
        one.close()
        # Mosquitto 2.0.11 reads beyond a client's user name when it saves sessions at its end
        # (AddressSanitizer, persist__chunk_client_write_v6). Nothing need be saved.
        one.broker.kill9()
    release_port(console_port)


def test_every_command_has_a_row():
    """A new command needs one in matrix.COMMANDS, and one in authorised_commands.prepare."""
    found = {(row["command"], row["role"]) for row in command_rows()}
    assert found == {(name, role) for name, (role, _) in matrix.commands().items()}


def test_the_table_keeps_contract_4():
    """Nobody but a device about itself and those bound to it, and a role with its commands and
    events."""
    for topic, ways in authorisation.PUBLISH.items():
        may = {"$CONTROL/ota/v1": "voa"}.get(topic, "d" if topic in SPEAKS else "")
        for way, cell in ways.items():
            who = matrix.expected(cell, False).strip(".")
            assert set(who) <= set(may) and not (who and way in ("will", "kept", "late", "lost"))
            assert matrix.expected(cell, True) in (".", "~", who)
    for topic, columns in authorisation.SUBSCRIBE.items():
        own = topic in HEARS
        for_roles = topic.startswith(("$ota/event", "$ota/report", "$CONTROL/ota/"))
        may = "d" if own else "voa" if for_roles else "" if topic[0] == "$" else "yndvoa"
        for column in ("exact", "shared", "heir"):
            assert set(matrix.expected(columns[column], False).strip(".")) <= set(may), topic
        assert matrix.expected(columns["retained"], False) == "."
        hears = any(topic_matches_sub(topic, at) for at in ("$ota/event/p", "$ota/report/p/d",
                                                            "$ota/event/p/d"))
        assert (matrix.expected(columns["exact"], True) == "!") == hears, topic


# Where a neighbour opens what is ours, later brokers than 2.0.11 hold on their own: nobody connects
# with a will on $CONTROL, and their dynamic-security knows shared subscriptions.
STRICTER = re.compile(
    r"publishes \$CONTROL/ota/\S* \((will|kept|late|lost)\): nothing, should be heard$|"
    r"retained-before: heard \[\], should \[('\$CONTROL/[^']*'(, )?)+\]$|"
    r"\(shared\): SUBACK 135$")


@pytest.mark.parametrize("name", matrix.SETUPS)
def test_every_row(stage, name):
    one = stage(name)
    one.play_late_wills()
    authorised_commands.Commands(one).play()
    one.play_subscriptions()
    one.play_thefts()
    one.play_publishes()
    one.play_wills()
    if one.remote:
        one.play_bridges()
        one.judge_bridges()
    one.wait_late_wills()
    one.judge_subscriptions()
    one.judge_publishes()
    one.judge_privacy()
    one.judge_warnings()
    if BROKER_VERSION > (2, 0, 11):
        one.wrong = [line for line in one.wrong if not STRICTER.search(line)]
    if one.wrong:
        told = "\n".join(one.wrong)
        pytest.fail(f"{len(one.wrong)} outcomes differ:\n{told}", pytrace=False)
