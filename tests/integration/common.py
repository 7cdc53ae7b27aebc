# SPDX-License-Identifier: BSD-3-Clause
"""What is where, how long to wait, free ports, certificates."""
import fcntl
import itertools
import os
import re
import select
import socket
import subprocess
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OTA_BUILD", ROOT / "build"))
PLUGIN = BUILD / "plugin" / "mosquitto_ota.so"
OTACTL = BUILD / "cli" / "otactl"
OTASIM = BUILD / "sim" / "otasim"
FAULTS = BUILD / "tests" / "preload" / "ota_faults.so"
ALLOW = BUILD / "tests" / "integration" / "allow.so"
LET_IN = BUILD / "tests" / "integration" / "let_in.so"
MOSQUITTO = os.environ.get("OTA_MOSQUITTO", "/usr/sbin/mosquitto")
ASAN_PRELOAD = os.environ.get("OTA_ASAN_PRELOAD")


def _broker_version():
    said = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, re.search(r"version (\d+)\.(\d+)\.(\d+)", said).groups()))


BROKER_VERSION = _broker_version()
IS_2_1 = BROKER_VERSION >= (2, 1)
# Where Debian has Mosquitto's own plugins.
PLUGINS = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}" + "/mosquitto" * IS_2_1
DYNSEC = f"{PLUGINS}/mosquitto_dynamic_security.so"

# Sanitizers and the machine's other work slow things down; a wait that succeeds isn't longer.
TIMEOUT = 40.0 if ASAN_PRELOAD else 20.0

# Below the kernel's range for outgoing connections, so that none of them takes one.
PORTS = range(20000, 32000)

_held_ports = {}  # open lock files: a port stays ours until it is released
_next_ports = itertools.cycle(PORTS)
for _ in range((os.getpid() * 37) % len(PORTS)):  # others begin elsewhere
    next(_next_ports)


def free_port():
    """A port that nobody uses, not even a connection that has just ended, and that no other test
    process is given, either."""
    folder = Path(tempfile.gettempdir()) / f"ota-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in itertools.islice(_next_ports, len(PORTS)):
        lock = open(folder / str(port), "w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _held_ports[port] = lock
        return port
    raise RuntimeError(f"no free port from {PORTS[0]} to {PORTS[-1]}")


def release_port(port):
    """Not needed at a test's end, but locks left open add up to more than paho's select() takes."""
    lock = _held_ports.pop(port, None)
    if lock:
        lock.close()


class Certificates:
    """A CA, a server certificate for this machine, and clients' by their CN (conf/make-certs)."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._make("ca")
        self._make("server", "localhost", "127.0.0.1")

    def _make(self, *arguments):
        script = ROOT / "conf" / "make-certs"
        subprocess.run([script, self.folder, *arguments], check=True, timeout=60)

    @property
    def ca(self):
        return self.folder / "ca.crt"

    def client(self, cn):
        """(certificate, key), made at first use."""
        self._make("client", cn)
        return self.folder / "clients" / f"{cn}.crt", self.folder / "clients" / f"{cn}.key"


def read_terminal(main):
    """All that is written to the terminal whose main side this is, until nobody has it open."""
    heard = b""
    try:
        while select.select([main], [], [], TIMEOUT)[0]:
            heard += os.read(main, 65536)
    except OSError:  # EIO: the other side is closed
        pass
    return heard
