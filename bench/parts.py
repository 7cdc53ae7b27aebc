# SPDX-License-Identifier: BSD-3-Clause
"""The processes that are measured, and those that measure: started, asked, and ended by their id."""
import json
import mmap
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("OTA_BUILD", ROOT / "build"))
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from clients import Admin, ControlError  # noqa: E402, F401
from common import MOSQUITTO, free_port  # noqa: E402

PLUGIN = BUILD / "plugin" / "mosquitto_ota.so"
STUB = BUILD / "bench" / "bench_stub.so"
LONG = 900  # seconds; nothing here takes longer


class Failed(Exception):
    pass


class Process:
    """One program with its output in a file; ended by stop()."""

    def __init__(self, folder, name, command, environment=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self.output = folder / f"{name}.log"
        with open(self.output, "wb") as output:
            self.popen = subprocess.Popen(
                [str(word) for word in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self):
        return self.popen.pid

    def check(self):
        if self.popen.poll() is not None:
            raise Failed(f"{self.name} ended: {self.output.read_text(errors='replace')[-2000:]}")

    def wait_until(self, look, what, timeout=LONG):
        end = time.monotonic() + timeout
        while not look():
            self.check()
            if time.monotonic() > end:
                raise Failed(f"{self.name}: no {what} in {timeout} s")
            time.sleep(0.002)

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(120)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


def _answers(port):
    """Whether a broker answers a CONNECT there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as probe:
            probe.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
            probe.settimeout(LONG)
            return len(probe.recv(4)) == 4
    except OSError:
        return False


class LoopWatch:
    """What loopwatch.c keeps: six numbers in a file that the broker has mapped."""

    NAMES = ("enabled", "loops", "longest", "longest_cpu", "over", "over_cpu")
    LIBRARY = BUILD / "bench" / "bench_loopwatch.so"

    def __init__(self, path):
        path.write_bytes(bytes(8 * len(self.NAMES)))
        self.environment = {"LD_PRELOAD": str(self.LIBRARY), "BENCH_LOOPWATCH": str(path)}
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def start(self):
        self.map[:] = struct.pack("=6Q", 1, 0, 0, 0, 0, 0)

    def stop(self):
        """{name: number}; times in ms."""
        seen = dict(zip(self.NAMES, struct.unpack("=6Q", self.map[:])))
        self.map[:8] = bytes(8)
        return {**seen, **{name: seen[name] / 1e6 for name in ("longest", "longest_cpu")}}


class Broker(Process):
    """kind: plain, stub, thread (the stub with a thread), plugin, or quiet (without downloads)."""

    def __init__(self, folder, kind, wrapper=(), db_path=None, watched=False):
        folder.mkdir(parents=True, exist_ok=True)
        self.kind, self.port, self.http_port = kind, free_port(), free_port()
        self.db_path = db_path or folder / "ota.db"
        config = folder / "mosquitto.conf"
        config.write_text(self._config())
        self.loops = LoopWatch(folder / "loops") if watched else None
        command = [*wrapper, MOSQUITTO, "-c", config]
        super().__init__(folder, f"broker-{kind}", command, watched and self.loops.environment)
        self.wait_until(lambda: _answers(self.port), "answer")

    def _config(self):
        lines = ["allow_anonymous true", "per_listener_settings false", "set_tcp_nodelay true"]
        lines += ["log_dest stderr", "log_type error", "log_type warning"]
        # For the service, which takes all reports over one connection: Mosquitto reads one PUBACK of
        # a client in each of its loops, so that any limit is reached by their arrears.
        lines += ["max_inflight_messages 0", "max_queued_messages 100000"]
        if os.geteuid() == 0:
            lines.append("user root")
        if self.kind in ("stub", "thread"):
            lines.append(f"plugin {STUB}")
        if self.kind == "thread":
            lines.append("plugin_opt_thread true")
        if self.kind in ("plugin", "quiet"):
            lines += self._plugin_lines()
        return "\n".join([*lines, f"listener {self.port} 127.0.0.1", ""])

    def _plugin_lines(self):
        lines = [
            f"plugin {PLUGIN}",
            f"plugin_opt_db_path {self.db_path}",
            "plugin_opt_admins admin",
            "plugin_opt_max_report_rate 10000",  # a few devices stand for many
            "plugin_opt_acl_fallback allow",
        ]
        if self.kind == "quiet":
            return [*lines, "plugin_opt_download_listen off"]
        return [
            *lines,
            f"plugin_opt_download_listen 127.0.0.1:{self.http_port}",
            f"plugin_opt_download_url http://127.0.0.1:{self.http_port}",
        ]

    def memory(self):
        """Resident bytes: all, and what is the process's own (not a file's pages)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon")}


class Service(Process):
    def __init__(self, folder, broker):
        self.gate = folder / "done"
        self.db_path = folder / "ota.db"
        program = BUILD / "bench" / "bench_service"
        super().__init__(folder, "service", [program, broker.port, self.db_path, self.gate])
        self.wait_until(lambda: "ready" in self.output.read_text(), "subscription")


class Nginx(Process):
    def __init__(self, folder, image):
        self.port = free_port()
        (folder / "www").mkdir(parents=True)
        (folder / "www" / "image.bin").write_bytes(image)
        (folder / "nginx.conf").write_text(self._config(folder))
        command = ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-g", "daemon off;"]
        super().__init__(folder, "nginx", command)
        self.wait_until(self._listens, "listener")

    def _config(self, folder):
        user = "user root;" if os.geteuid() == 0 else ""
        return f"""{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/tmp;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    open_file_cache max=16;
    server {{ listen 127.0.0.1:{self.port}; root {folder}/www; }}
}}
"""

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def pids(self):
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]


class Generator:
    """A load generator that runs; result() waits for what it measured."""

    def __init__(self, program, nice=0, **settings):
        command = [BUILD / "bench" / program]
        for name, value in settings.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            command += [word for one in values for word in (f"--{name}", str(one))]
        if nice and os.geteuid() == 0:
            command = ["nice", "-n", str(nice), *command]
        self.popen = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def result(self):
        try:
            output, errors = self.popen.communicate(timeout=LONG)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise Failed("a generator didn't end") from None
        if self.popen.returncode:
            raise Failed(f"{' '.join(map(str, self.popen.args))}: {errors.strip()}")
        return json.loads(output)


def load(**settings):
    return Generator("bench_load", **settings)


def fetch(**settings):
    return Generator("bench_fetch", **settings)


def processor_time(pid):
    """Seconds, of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- databases -----------------------------------------------------------------------------------


def copy_database(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def drop_cached(path):
    """Its pages leave the page cache, so that the next reader finds a cold disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def ask(path, sql, *values):
    """The first row, while the broker runs."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute(sql, values).fetchone()
    finally:
        db.close()


def last_event(path):
    return ask(path, "SELECT max(id) FROM event")[0]


def product_exists(path, product_id):
    """Its row goes last, when all of its devices are gone."""
    return ask(path, "SELECT 1 FROM product WHERE id = ?", product_id) is not None


def image_of(path):
    size = ask(path, "SELECT size FROM firmware WHERE id = 1")[0]
    block = ask(path, "SELECT data FROM image_block WHERE image = 1 AND seq = 0")[0]
    return block * (size // len(block))


def wal_frames(path):
    """Frames that the WAL holds and its salt, which changes when it starts afresh: the head of the
    WAL's index (mxFrame and aSalt of SQLite's WalIndexHdr)."""
    with open(f"{path}-shm", "rb") as file:
        head = file.read(48)
    return struct.unpack_from("=I", head, 16)[0], head[32:40]
