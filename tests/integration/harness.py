# SPDX-License-Identifier: BSD-3-Clause
"""A real broker with our plugin, and clients for it. conftest.py makes fixtures of these.

Nothing here sleeps for luck: who waits is woken by the message, the log line or the exit that it
waits for.
"""
import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from clients import CONTROL, CONTROL_RESPONSE, Admin, Client, ControlError, Device
from common import (
    ASAN_PRELOAD,
    BUILD,
    FAULTS,
    MOSQUITTO,
    OTACTL,
    OTASIM,
    PLUGIN,
    ROOT,
    TIMEOUT,
    Certificates,
    free_port,
    release_port,
)

__all__ = [
    "ASAN_PRELOAD",
    "BUILD",
    "CONTROL",
    "CONTROL_RESPONSE",
    "OTASIM",
    "PLUGIN",
    "ROOT",
    "TIMEOUT",
    "Broker",
    "BrokerDied",
    "Certificates",
    "ControlError",
    "free_port",
]


class BrokerDied(AssertionError):
    pass


class Broker:
    """One mosquitto process on ports of its own. start() again after stop() or kill9() is a restart
    on the same files."""

    def __init__(
        self, folder, options=None, config="", acl=None, users=None, tls=None, plugin=True,
        faults=None, before="",
    ):
        """options: plugin_opt_* by name, None leaves one out; config: more lines; before: lines
        that stand before our plugin's; acl: the text of an acl_file; users: {name: password}, else
        any name is let in without a password; tls: a Certificates for a second listener that takes
        names from certificates; faults: a faults.Faults, to be loaded before the broker."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.http_port = free_port()
        self.tls_port = free_port() if tls else None
        self.tls = tls
        self.config = config
        self.before = before
        self.acl = acl
        self.users = users
        self.plugin = plugin
        self.faults = faults
        self.db_path = self.folder / "ota.db"
        self.options = {**self._default_options(), **(options or {})}
        self.config_text = None
        self.process = None
        self.log = []
        self._changed = threading.Condition()
        self._reader = None
        self._log_ended = True  # its writer has ended
        self._clients = []
        self._expected_end = True

    def _default_options(self):
        return {
            "db_path": self.db_path,
            "admins": "admin",
            "operators": "op",
            "viewers": "viewer",
            "acl_fallback": "allow",
            "device_identity": "username:%p/%d",
            "download_listen": f"127.0.0.1:{self.http_port}",
            "download_url": f"http://127.0.0.1:{self.http_port}",
        }

    # -- the process

    def start(self):
        """Returns when the broker runs; raises BrokerDied, with its log, where it doesn't."""
        assert self.process is None, "it runs already"
        assert PLUGIN.exists() or not self.plugin, f"{PLUGIN} isn't built; scripts/build does it"
        self.config_text = self.make_config()
        config = self.folder / "mosquitto.conf"
        config.write_text(self.config_text)
        first_line = len(self.log)
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=self._environment(),
        )
        self._expected_end = self._log_ended = False
        self._reader = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self._reader.start()
        try:
            self.wait_log(r"mosquitto version \S+ running", since=first_line)
            self._wait_loop()
        except BrokerDied:
            self._expected_end = True  # told once is enough
            self.process = None
            raise
        return self

    def _wait_loop(self):
        """Waits for the first answer. Before its loop turns Mosquitto forgets a SIGTERM."""
        connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
        port = self.port if f"listener {self.port} " in self.config_text else self.tls_port
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as probe:
            with contextlib.suppress(ConnectionError):  # a TLS listener hangs up
                probe.sendall(connect)
                probe.recv(4)

    def stop(self):
        """SIGTERM, and waits for the end. Fails unless the broker ended well."""
        if self.process is None:
            return
        self._expected_end = True
        self.process.terminate()
        code = self._wait_end()
        self.check_reports()
        if code:
            raise BrokerDied(f"the broker's exit status was {code}\n{self.log_tail()}")

    def kill9(self):
        self._expected_end = True
        self.process.kill()
        self._wait_end()

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        """SIGHUP. One that comes while Mosquitto 2.0 is still at the last one is lost; then again."""
        seen, ends = len(self.log), time.monotonic() + TIMEOUT
        while True:
            self.process.send_signal(signal.SIGHUP)
            try:
                return self.wait_log("Reloading config", timeout=2, since=seen)
            except BrokerDied:
                raise
            except AssertionError:
                if time.monotonic() > ends:
                    raise

    def _wait_end(self):
        process, self.process = self.process, None
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BrokerDied(f"the broker didn't end\n{self.log_tail()}") from None
        self._reader.join(TIMEOUT)
        process.stderr.close()
        return code

    def close(self):
        """End of a test: whatever still runs is stopped; a broker that died by itself is told."""
        try:
            self._end_clients()
            died = self.process is not None and self.process.poll() is not None
            if died and not self._expected_end:
                code = self._wait_end()
                self.check_reports()
                raise BrokerDied(f"the broker died by itself, status {code}\n{self.log_tail()}")
            self.stop()
            self.check_reports()
        finally:
            for port in (self.port, self.http_port, self.tls_port):
                release_port(port)

    def _end_clients(self):
        clients, self._clients = self._clients, []
        for client in clients:
            client.release()

    def _environment(self):
        environment = dict(os.environ)
        reports = self.folder / "sanitizer"
        environment["ASAN_OPTIONS"] = f"detect_leaks=0:log_path={reports}"
        environment["UBSAN_OPTIONS"] = f"print_stacktrace=1:log_path={reports}"
        environment["TSAN_OPTIONS"] = f"log_path={reports}"
        preload = [ASAN_PRELOAD] if ASAN_PRELOAD else []
        if self.faults:
            environment |= self.faults.environment(self.options["db_path"])
            preload.append(str(FAULTS))
        if preload:
            environment["LD_PRELOAD"] = ":".join(preload)
        return environment

    def check_reports(self):
        """Fails where a sanitizer had anything to say."""
        said = [path.read_text(errors="replace") for path in self.folder.glob("sanitizer.*")]
        said += [line for line in self.log if "runtime error:" in line or "Sanitizer" in line]
        if said:
            raise BrokerDied("sanitizer report\n" + "\n".join(said))

    # -- its configuration

    def make_config(self):
        lines = ["allow_anonymous false" if self.users else "allow_anonymous true"]
        lines += ["per_listener_settings false", "set_tcp_nodelay true"]
        if os.geteuid() == 0:
            lines.append("user root")  # the plugin may lie where user mosquitto can't read
        lines.append(self.before)
        if self.plugin:
            lines.append(f"plugin {PLUGIN}")
            lines += [f"plugin_opt_{k} {v}" for k, v in self.options.items() if v is not None]
        if self.acl is not None:
            (self.folder / "acl").write_text(self.acl)
            lines.append(f"acl_file {self.folder}/acl")
        if self.users:
            lines.append(f"password_file {self._write_passwords()}")
        lines += ["log_dest stderr", "log_type all", "log_timestamp false"]
        lines += [self.config, f"listener {self.port} 127.0.0.1"]
        if self.tls:
            lines += self._tls_listener()
        return "\n".join(lines) + "\n"

    def _tls_listener(self):
        return [
            f"listener {self.tls_port} 127.0.0.1",
            f"cafile {self.tls.ca}",
            f"certfile {self.tls.folder}/server.crt",
            f"keyfile {self.tls.folder}/server.key",
            "require_certificate true",
            "use_identity_as_username true",
        ]

    def _write_passwords(self):
        path = self.folder / "passwords"
        if not path.exists():
            path.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
            subprocess.run(["mosquitto_passwd", "-U", path], check=True, timeout=60)
        return path

    # -- its log

    def _read_log(self, process):
        for line in process.stderr:
            with self._changed:
                self.log.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        process.wait()
        with self._changed:
            self._log_ended = True
            self._changed.notify_all()

    def wait_log(self, pattern, timeout=TIMEOUT, since=0):
        """The first log line, from number `since` on, that the pattern is found in."""
        found = []

        def look():
            found.extend(line for line in self.log[since:] if re.search(pattern, line))
            return found or self._log_ended

        with self._changed:
            self._changed.wait_for(look, timeout)
        if found:
            return found[0]
        if self._log_ended:
            raise BrokerDied(f"no log line /{pattern}/ before its end\n{self.log_tail()}")
        raise AssertionError(f"no log line /{pattern}/ in {timeout} s\n{self.log_tail()}")

    def log_tail(self, lines=60):
        return "\n".join(self.log[-lines:])

    # -- clients

    def client(self, username=None, **settings):
        return self._keep(Client(self, username, **settings))

    def admin(self, username="admin", **settings):
        return self._keep(Admin(self, username, **settings))

    def device(self, product, name, **settings):
        return self._keep(Device(self, product, name, **settings))

    def _keep(self, client):
        self._clients.append(client)
        return client

    def otactl(self, *words, username="admin", check=True, **settings):
        """Runs otactl against this broker; gives the CompletedProcess (text)."""
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-u", username]
        command = [OTACTL, *place, *map(str, words)]
        run = subprocess.run(
            command, text=True, capture_output=True, timeout=TIMEOUT * 3, check=False, **settings
        )
        if check and run.returncode:
            raise AssertionError(f"{words}: exit {run.returncode}\n{run.stdout}{run.stderr}")
        return run
