# SPDX-License-Identifier: BSD-3-Clause
"""What is where, how long to wait, free ports, certificates."""
import fcntl
import itertools
import os
import socket
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OTA_BUILD", ROOT / "build"))
PLUGIN = BUILD / "plugin" / "mosquitto_ota.so"
OTACTL = BUILD / "cli" / "otactl"
OTASIM = BUILD / "sim" / "otasim"
MOSQUITTO = os.environ.get("OTA_MOSQUITTO", "/usr/sbin/mosquitto")
ASAN_PRELOAD = os.environ.get("OTA_ASAN_PRELOAD")

# Sanitizers and the machine's other work slow things down; a wait that succeeds isn't longer.
TIMEOUT = 40.0 if ASAN_PRELOAD else 20.0

_held_ports = []  # open lock files: a port stays ours until this process ends


def free_port():
    """A port that nobody listens on and that no other test process is given, either."""
    folder = Path(tempfile.gettempdir()) / f"ota-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    # Below the kernel's range for outgoing connections, so that none of them takes it.
    first = 20000 + (os.getpid() * 37) % 10000
    for port in itertools.chain(range(first, 32000), range(20000, first)):
        lock = open(folder / str(port), "w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _held_ports.append(lock)
        return port
    raise RuntimeError("no free port from 20000 to 31999")


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
