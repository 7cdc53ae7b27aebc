# SPDX-License-Identifier: BSD-3-Clause
"""The authorisation matrix: contract 4 in every row, whatever other plugins and ACLs say. What is
expected stands in matrix.py; authorisation.py plays it."""
import pytest

import authorisation
import authorised_commands
import dynsec
import harness
import matrix
from common import ALLOW

EVERYTHING = ("#", "$ota/#", "$CONTROL/#", "$gateway/#")
LINES = "".join(f"topic readwrite {topic}\n" for topic in EVERYTHING)
GENEROUS = LINES + "".join(
    f"user {name}\n{LINES}" for name in (*filter(None, matrix.WHO.values()), "p/other")
)
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


@pytest.fixture
def stage(broker, remote, retained, tmp_path):
    """stage(name of a set-up)"""
    made = []

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
        if bridged:
            lines["after"] += authorisation.bridges(remote, tag)
        one = broker(
            options={"acl_fallback": None, "backup_dir": tmp_path},
            before=lines["before"], config=lines["after"],
            acl=None if other in ("allow-all", "dynsec") else GENEROUS,
        )
        if other == "dynsec":
            dynsec.add(one, [*filter(None, matrix.WHO.values()), "p/other"], RIGHTS, anonymous=True)
        made.append(authorisation.Stage(
            one, matrix.SETUPS[name], other == "dynsec", remote if bridged else None, tag))
        return made[0]

    yield set_up
    for one in made:
        one.close()


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
    if one.wrong:
        told = "\n".join(one.wrong)
        pytest.fail(f"{len(one.wrong)} outcomes differ:\n{told}", pytrace=False)
