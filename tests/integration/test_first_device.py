# SPDX-License-Identifier: BSD-3-Clause
"""The first devices of docs/device-guide.md really are devices."""
import subprocess
import sys

import pytest

from console_help import wait_until
from harness import ROOT, TIMEOUT
from steps import NEW, OLD, stock, upgrade

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def start(tmp_path, ota):
    """start(command…) runs a first device, whatever it is written in."""
    running = []

    def run(*command):
        words = [*command, "127.0.0.1", str(ota.port), "p", "first", OLD]
        running.append(subprocess.Popen(words, cwd=tmp_path))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait(TIMEOUT)


@pytest.fixture
def compiled(tmp_path):
    program = tmp_path / "first_device"
    source = EXAMPLES / "first_device.c"
    libraries = ["-lmosquitto", "-ljansson", "-lcurl", "-lcrypto"]
    warnings = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *warnings, "-o", program, source, *libraries], check=True, timeout=120)
    return program


class First:
    product, name = "p", "first"


def check_upgrade(admin, folder, image):
    """From the task to the new version's own word, and the image that was written meanwhile."""
    task = upgrade(admin, First)
    wait_until(lambda: admin.task(task)["confirmation"] == "confirmed", "confirmation")
    assert admin.task(task)["status"] == "succeeded"
    events = admin.call("getTask", task=task)["events"]
    seen = list(dict.fromkeys(event["status"] for event in events))  # done, and then confirmed
    assert seen[-4:] == ["message_sent", "downloading", "upgrading", "succeeded"], seen
    assert (folder / f"firmware-{NEW}").read_bytes() == image
    assert admin.call("getDevice", product="p", device="first")["device"]["version"] == NEW


def prepare(admin):
    stock(admin, "p", "0.0.0")
    image = b"firmware" * 5000
    admin.add_firmware("p", NEW, image)
    admin.call("createDevice", product="p", device="first")
    return image


@pytest.mark.parametrize("language", ["python", "c"])
def test_upgrades(admin, start, tmp_path, request, language):
    image = prepare(admin)
    if language == "python":
        process = start(sys.executable, EXAMPLES / "first_device.py")
    else:
        process = start(request.getfixturevalue("compiled"))
    check_upgrade(admin, tmp_path, image)
    assert process.poll() is None  # it is its own successor, and waits for the next one


@pytest.mark.parametrize("language", ["python", "c"])
def test_a_device_that_was_off_is_upgraded_when_it_comes(admin, start, tmp_path, request, language):
    image = prepare(admin)
    task = upgrade(admin, First)
    command = ([sys.executable, EXAMPLES / "first_device.py"] if language == "python"
               else [request.getfixturevalue("compiled")])
    start(*command)
    wait_until(lambda: admin.task(task)["confirmation"] == "confirmed", "confirmation")
    assert (tmp_path / f"firmware-{NEW}").read_bytes() == image


def test_the_guide_shows_the_python_device_as_it_is():
    text = (EXAMPLES / "first_device.py").read_text()
    shown = text[text.index("import hashlib"):]
    assert shown in (EXAMPLES.parent / "device-guide.md").read_text()
    assert len([line for line in shown.splitlines() if line.strip()]) <= 24
