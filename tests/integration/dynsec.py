# SPDX-License-Identifier: BSD-3-Clause
"""Mosquitto's dynamic-security plugin beside ours."""
import json
import subprocess

from common import DYNSEC, PLUGIN
from matrix import PASSWORD

TOPIC = "$CONTROL/dynamic-security/v1"


def config(folder):
    """Its lines in mosquitto.conf, with an administrator `boss`."""
    folder.mkdir()
    path = folder / "dynsec.json"
    subprocess.run(
        ["mosquitto_ctrl", "dynsec", "init", path, "boss", PASSWORD], check=True, timeout=30,
        stdout=subprocess.DEVNULL,
    )
    return f"plugin {DYNSEC}\nplugin_opt_config_file {path}\n"


def before_ours(folder):
    """The whole configuration of plugins, for broker(plugin=False, config=…)."""
    return "\n".join(
        [config(folder / "dynsec"), f"plugin {PLUGIN}", "plugin_opt_admins admin",
         f"plugin_opt_db_path {folder}/ota.db", "plugin_opt_download_listen off"]
    )


def add(broker, clients, acls=(), anonymous=False):
    """Adds clients with one role that has these ACLs; anonymous: nameless clients have it, too.
    Gives the administrator."""
    boss = broker.client("boss", password=PASSWORD)
    assert boss.subscribe(TOPIC + "/response") == 0
    rules = [{"acltype": kind, "topic": to, "allow": True, "priority": 0} for kind, to in acls]
    commands = [{"command": "createRole", "rolename": "some", "acls": rules}]
    commands += [
        {"command": "createClient", "username": name, "password": PASSWORD,
         "roles": [{"rolename": "some"}]} for name in clients
    ]
    if anonymous:
        commands += [
            {"command": "createGroup", "groupname": "nameless", "roles": [{"rolename": "some"}]},
            {"command": "setAnonymousGroup", "groupname": "nameless"},
        ]
    boss.publish(TOPIC, {"commands": commands})
    said = boss.wait_message(lambda m: m.topic == TOPIC + "/response")
    responses = json.loads(said.payload)["responses"]
    assert not [r for r in responses if "error" in r], responses
    return boss
