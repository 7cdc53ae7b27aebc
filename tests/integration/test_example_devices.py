# SPDX-License-Identifier: BSD-3-Clause
"""The reference devices of examples/: resume over cuts and kills, digests, signatures, TLS."""
import collections
import subprocess
import sys

import pytest

from console_help import wait_until
from harness import BUILD, ROOT, TIMEOUT
from steps import NEW, OLD, upgrade
from test_signatures import Key, add
from test_vendor_rules import stub  # noqa: F401 (fixture), pylint: disable=unused-import
from vendor_stub import Way, whole

pytestmark = pytest.mark.slow_asan  # the plugin does nothing here that others leave out

EXAMPLES = ROOT / "examples"
CONTENT = bytes(range(256)) * 1500  # 384,000 bytes
CUT = 100_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return [Key(folder, name) for name in ("trusted", "other")]


@pytest.fixture(params=["python", "c"])
def command(request):
    if request.param == "python":
        return [sys.executable, EXAMPLES / "device.py"]
    return [BUILD / "tests" / "integration" / "example_device"]


class Example:
    """A reference device with its flash, and a task for it."""

    product, name = "p", "d"

    def __init__(self, command, folder, broker, trusted):
        self.flash = folder / "flash"
        self.flash.mkdir()
        self.errors = folder / "device.err"
        self._words = [*command, "127.0.0.1", str(broker.port), "p", "d", self.flash, trusted]
        self._process = None

    def start(self, *tls, port=None):
        words = [*self._words, *tls]
        if port:
            words[words.index("p") - 1] = str(port)
        with open(self.errors, "ab") as errors:
            self._process = subprocess.Popen(words, stderr=errors)

    def kill(self):
        if self._process:
            self._process.kill()
            self._process.wait(TIMEOUT)

    def has(self):
        """Bytes in its slot."""
        slot = self.flash / "slot"
        return slot.stat().st_size if slot.exists() else 0

    def check(self, admin, task):
        wait_until(lambda: admin.task(task)["confirmation"] == "confirmed", self.errors.read_text())
        assert (self.flash / "firmware").read_bytes() == CONTENT
        assert (self.flash / "running").read_text() == f"{NEW} 5"
        assert self._process.poll() is None

    def check_refused(self, admin, task, why):
        failed = admin.wait_status(task, "failed", "succeeded")
        assert failed["resultCode"] == -4 and failed["deviceMessage"] == why
        assert not (self.flash / "firmware").exists()
        assert (self.flash / "running").read_text() == f"{OLD} 0"


@pytest.fixture
def example(tmp_path, command, keys):
    """example(broker) makes one that trusts the first key."""
    made = []

    def make(broker):
        made.append(Example(command, tmp_path, broker, keys[0].public))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def way():
    """way(port, cuts) makes a Way."""
    made = []

    def make(*arguments):
        made.append(Way(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


def prepare(admin, key, order=5):
    """A product with firmware that the key signed; None: nobody did."""
    admin.call("createProduct", product="p")
    if key:
        add(admin, key.signed(NEW, CONTENT, order=order), CONTENT)
    else:
        admin.add_firmware("p", NEW, CONTENT, order=order)
    admin.call("createDevice", product="p", device="d")


def through(broker, keys, place):
    """A broker whose download URLs lead through there."""
    both = f"{keys[0].public},{keys[1].public}"
    return broker(options={"download_url": f"http://127.0.0.1:{place}", "signing_keys": both})


def test_an_upgrade_whose_download_is_cut_twice(broker, example, way, keys, command):
    ota = through(broker, keys, 1)
    road = way(ota.http_port, [CUT, CUT])
    ota.options["download_url"] = f"http://127.0.0.1:{road.port}"
    ota.restart()
    admin = ota.admin()
    prepare(admin, keys[0])
    device = example(ota)
    device.start()
    task = upgrade(admin, device)
    wait_until(lambda: 0 < device.has() < CUT, "the first cut")
    device.kill()  # as well, in the pause before it goes on
    first = device.has()
    device.start()
    device.check(admin, task)
    ranges = [said for said in road.said if b"Range: " in said]
    assert len(road.said) >= 3 and b"Range: bytes=%d-" % first in ranges[-2]
    assert all(b"bytes=0-" not in said for said in ranges[1:])


@pytest.mark.parametrize("wrong", ["key", "none", "order"])
def test_what_is_refused(broker, example, keys, wrong):
    ota = through(broker, keys, 1)  # where nobody listens: nothing is downloaded
    admin = ota.admin()
    order = -1 if wrong == "order" else 5
    prepare(admin, {"key": keys[1], "order": keys[0]}.get(wrong), order)
    device = example(ota)
    device.start()
    why = {
        "key": "the signature does not fit this firmware",
        "none": "the firmware is not signed",
        "order": "older than what runs here",
    }
    device.check_refused(admin, upgrade(admin, device), why[wrong])
    assert device.has() == 0


def test_other_bytes_than_those_that_were_signed(broker, example, keys, stub):
    """A server that sends something else under a good notice."""
    other = b"!" + CONTENT[1:]
    stub.answers = collections.defaultdict(lambda: [whole(other)])
    ota = through(broker, keys, stub.port)
    admin = ota.admin()
    prepare(admin, keys[0])
    device = example(ota)
    device.start()
    device.check_refused(admin, upgrade(admin, device), "the image is not the one that was signed")
    assert len(stub.requests) == 1


def test_with_tls(broker, example, keys, certificates):
    options = {"signing_keys": keys[0].public, "device_identity": "username:%p%d"}
    ota = broker(tls=certificates, options=options)
    admin = ota.admin()
    prepare(admin, keys[0])
    device = example(ota)
    device.start(certificates.ca, *certificates.client("pd"), port=ota.tls_port)
    device.check(admin, upgrade(admin, device))


def test_the_readme_builds_the_c_device_as_the_tests_do():
    text = (EXAMPLES / "README.md").read_text()
    assert "cc -o device device.c -lmosquitto -lcurl -ljansson -lcrypto" in text
