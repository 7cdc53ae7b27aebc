#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""device.py HOST PORT PRODUCT DEVICE FOLDER TRUSTED.pub [CAFILE CERT KEY]

A device as docs/device-guide.md wants it: goes on where a download was cut, also after it was
killed; takes only what TRUSTED.pub signed, and nothing older; believes the bytes in its slot alone.
FOLDER is its flash: running ("VERSION ORDER"), firmware, slot (the image that comes), slot.of (its
SHA-256). With the last three files it speaks TLS. Written for paho 1, as Debian 12 has it."""
import base64, hashlib, http.client, json, os, pathlib, queue, subprocess, sys, time, urllib.request
import paho.mqtt.client as mqtt

HOST, PORT, PRODUCT, NAME, FOLDER, TRUSTED, *TLS = sys.argv[1:]
FLASH = pathlib.Path(FOLDER)
SLOT, SLOT_OF, RUNNING = FLASH / "slot", FLASH / "slot.of", FLASH / "running"
notices, client = queue.Queue(), mqtt.Client(f"{PRODUCT}-{NAME}")


class Failed(Exception):
    """The upgrade fails; the code is device-protocol.md's."""

    def __init__(self, code, why):
        super().__init__(why)
        self.code = code


def running():
    version, order = RUNNING.read_text().split()
    return version, int(order)


def write(path, text):
    """The old text or the new one, whenever the power goes."""
    new = path.with_suffix(".new")
    with open(new, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def report(kind, body):
    text = json.dumps({"type": kind, "report": body})
    return client.publish(f"$ota/report/{PRODUCT}/{NAME}", text, qos=1)


def progress(notice, state, percent=0, code=0, why=""):
    step = {"state": state, "percent": percent, "result_code": code, "result_msg": why[:128]}
    return report("report_progress", {"version": notice["version"], "progress": step})


def check_signature(notice):
    """Before the download: a forged notice costs no flash. The product is ours, never theirs."""
    if not {"signature", "order", "sha256"} <= notice.keys():
        raise Failed(-4, "the firmware is not signed")
    lines = ("mosquitto-ota/1", PRODUCT, notice["version"], notice["order"], notice["file_size"],
             notice["sha256"])
    manifest, signature = FLASH / "manifest", FLASH / "signature"
    manifest.write_text("".join(f"{line}\n" for line in lines))
    signature.write_bytes(base64.b64decode(notice["signature"]))
    verify = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", TRUSTED]
    run = subprocess.run([*verify, "-in", manifest, "-sigfile", signature], capture_output=True)
    if run.returncode != 0:
        raise Failed(-4, "the signature does not fit this firmware")
    if notice["order"] < running()[1]:
        raise Failed(-4, "older than what runs here")


def fetch(notice):
    """Downloads on from what the slot has, to the end or until something happens."""
    have, size = SLOT.stat().st_size, notice["file_size"]
    if have == size:
        return
    request = urllib.request.Request(notice["url"], headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        have = have if answer.status == 206 else 0
        with open(SLOT, "r+b") as slot:
            slot.truncate(have)
            slot.seek(have)
            said = time.monotonic()
            while block := answer.read(min(65536, size - have)):
                have += slot.write(block)
                if time.monotonic() - said >= 1:
                    said = time.monotonic()
                    progress(notice, "downloading", have * 100 // size)
    if have < size:
        raise ConnectionError(f"cut at byte {have}")


def download(notice):
    if not (SLOT.exists() and SLOT_OF.exists() and SLOT_OF.read_text() == notice["sha256"]):
        SLOT.write_bytes(b"")  # what there is belongs to another image
        write(SLOT_OF, notice["sha256"])
    for pause in (1, 2, 4, 8, 16):
        try:
            return fetch(notice)
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):  # the attempt is over: the URL has died with it
                raise Failed(-3 if error.code == 403 else -2, str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            print("download cut:", error, file=sys.stderr)
        time.sleep(pause)
    raise Failed(-1, "the download doesn't come through")


def check_slot(notice):
    """What is there, not what was said of it."""
    if hashlib.sha256(SLOT.read_bytes()).hexdigest() != notice["sha256"]:
        SLOT_OF.unlink()
        raise Failed(-4, "the image is not the one that was signed")


def upgrade(notice):
    check_signature(notice)
    progress(notice, "downloading")
    download(notice)
    check_slot(notice)
    progress(notice, "burning", 100)
    SLOT.replace(FLASH / "firmware")  # really: mark the slot as the one to boot
    write(RUNNING, f"{notice['version']} {notice['order']}")
    progress(notice, "done", 100).wait_for_publish()
    os.execv(sys.executable, [sys.executable, *sys.argv])  # really: reboot


def on_connect(*_):
    client.subscribe(f"$ota/update/{PRODUCT}/{NAME}", 1)
    report("report_version", {"version": running()[0]})


def on_message(_client, _data, message):
    said = json.loads(message.payload)
    if said["type"] == "update_firmware":
        notices.put(said)


if not RUNNING.exists():
    write(RUNNING, "0.0.1 0")
client.username_pw_set(f"{PRODUCT}/{NAME}")
if TLS:
    client.tls_set(*TLS)
client.on_connect, client.on_message = on_connect, on_message
client.reconnect_delay_set(1, 120)
client.connect_async(HOST, int(PORT))
client.loop_start()
while True:
    notice = notices.get()
    try:
        upgrade(notice)
    except Failed as failure:
        progress(notice, "fail", 0, failure.code, str(failure))
    while not notices.empty():  # repetitions; one that is none comes again
        notices.get()
