# SPDX-License-Identifier: BSD-3-Clause
"""Downloads behind nginx, as conf/nginx.conf.in has it: from its cache, and only to whom we say."""
import os
import re
import subprocess
import urllib.error
import urllib.request

import pytest

import harness
from common import free_port, release_port
from console_help import wait_until
from steps import NEW, upgrade

IMAGE = os.urandom(300_000)

MAIN = """daemon off;
pid {folder}/pid;
error_log stderr notice;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/firmware.conf;
}}
"""


class Nginx:
    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self, upstream):
        words = {"CACHE": self.folder / "cache", "DOWNLOAD_LISTEN": f"127.0.0.1:{upstream}",
                 "LISTEN": f"127.0.0.1:{self.port}"}
        template = (harness.ROOT / "conf" / "nginx.conf.in").read_text()
        text = re.sub(r"@([A-Z_]+)@", lambda match: str(words[match[1]]), template)
        (self.folder / "firmware.conf").write_text(text)
        user = "user root;\n" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(user + MAIN.format(folder=self.folder))
        self.process = subprocess.Popen(
            ["/usr/sbin/nginx", "-p", self.folder, "-c", self.folder / "nginx.conf"],
            stderr=open(self.folder / "log", "wb"))
        wait_until(self.answers, "nginx")

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            urllib.request.urlopen(self.url, timeout=5)
        except urllib.error.HTTPError as said:
            return said.code == 404
        except OSError:
            return False
        return False

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(harness.TIMEOUT)
        release_port(self.port)


@pytest.fixture(name="nginx")
def running_nginx(tmp_path):
    folder = tmp_path / "nginx"
    folder.mkdir()
    one = Nginx(folder)
    yield one
    one.stop()


@pytest.fixture(name="behind")
def broker_behind_nginx(nginx, broker):
    ota = broker(options={"download_url": nginx.url})
    nginx.start(ota.http_port)
    admin = ota.admin()
    admin.call("createProduct", product="p")
    admin.add_firmware("p", NEW, IMAGE)
    return ota, admin


def noticed(ota, admin, name):
    device = ota.device("p", name)
    device.report_version("0.0.1")
    upgrade(admin, device)
    return device, device.wait_notice(NEW)


def ask(url, **headers):
    """(status, X-Cache, body)"""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=harness.TIMEOUT) as answer:
            return answer.status, answer.headers["X-Cache"], answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers["X-Cache"], refusal.read()


def test_each_file_is_fetched_once(behind):
    ota, admin = behind
    first, notice = noticed(ota, admin, "first")
    assert ask(notice["url"]) == (200, "MISS", IMAGE)
    assert first.run_upgrade(notice) == IMAGE
    second, notice = noticed(ota, admin, "second")
    assert ask(notice["url"]) == (200, "HIT", IMAGE)
    assert second.run_upgrade(notice) == IMAGE


def test_ranges_of_what_is_kept(behind):
    ota, admin = behind
    _, notice = noticed(ota, admin, "d")
    url, size = notice["url"], len(IMAGE)
    for cached in ("MISS", "HIT"):
        assert ask(url, Range="bytes=1000-1999") == (206, cached, IMAGE[1000:2000])
    assert ask(url, Range=f"bytes=100000-{size + 5}") == (206, "HIT", IMAGE[100_000:])
    status, _, body = ask(url, Range=f"bytes={size}-")
    assert (status, body) == (416, b"")


def test_a_kept_file_opens_to_nobody_else(behind):
    ota, admin = behind
    device, notice = noticed(ota, admin, "d")
    url = notice["url"]
    assert ask(url)[0] == 200
    forged = url[:-1] + ("0" if url[-1] != "0" else "1")
    assert ask(forged)[0] == 403
    assert ask(url + "?x")[0] >= 400 and ask(url + "/../x")[0] >= 400
    assert ask(url.replace("/f/", "/ask/"))[0] == 404
    device.run_upgrade(notice)
    assert ask(url)[0] == 403  # its attempt is over
    _, other = noticed(ota, admin, "e")
    admin.call("cancelTask", task=other["task"])
    assert ask(other["url"])[0] == 403


def test_a_replaced_firmware_is_another_file(behind):
    ota, admin = behind
    device, notice = noticed(ota, admin, "d")
    assert device.run_upgrade(notice) == IMAGE
    admin.call("deleteFirmware", product="p", version=NEW)
    admin.add_firmware("p", NEW, IMAGE[::-1])
    other, notice = noticed(ota, admin, "e")
    assert other.run_upgrade(notice) == IMAGE[::-1]


def test_without_the_plugin_nothing_is_served(behind):
    ota, admin = behind
    _, notice = noticed(ota, admin, "d")
    assert ask(notice["url"])[0] == 200
    ota.stop()
    assert ask(notice["url"])[0] == 500
