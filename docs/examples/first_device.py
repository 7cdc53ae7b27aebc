#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""first_device.py HOST PORT PRODUCT DEVICE VERSION: a device that upgrades its firmware. Written
for paho 1, as Debian 12 has it; paho 2 wants CallbackAPIVersion.VERSION1 as Client's first word."""
import hashlib, json, os, pathlib, queue, sys, urllib.request
import paho.mqtt.client as mqtt

host, port, product, name, version = sys.argv[1:6]
notices, client = queue.Queue(), mqtt.Client(f"{product}-{name}")

def report(kind, **report):
    text = json.dumps({"type": kind, "report": report})
    client.publish(f"$ota/report/{product}/{name}", text, qos=1).wait_for_publish()

def progress(state, code=0):
    report("report_progress", version=notice["version"], progress={
        "state": state, "percent": 0, "result_code": code, "result_msg": ""})

client.username_pw_set(f"{product}/{name}")
client.on_connect = lambda *_: client.subscribe(f"$ota/update/{product}/{name}")
client.on_message = lambda client, _, message: notices.put(json.loads(message.payload))
client.connect(host, int(port)), client.loop_start()
report("report_version", version=version)
while (notice := notices.get())["type"] != "update_firmware": pass
progress("downloading")
image = urllib.request.urlopen(notice["url"], timeout=30).read()
if hashlib.sha256(image).hexdigest() != notice["sha256"]: sys.exit(progress("fail", -4))
progress("burning")
pathlib.Path(f"firmware-{notice['version']}").write_bytes(image)  # really: into the other slot
progress("done")
os.execv(sys.executable, [sys.executable, *sys.argv[:5], notice["version"]])  # really: reboot
