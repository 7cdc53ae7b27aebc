# SPDX-License-Identifier: BSD-3-Clause
"""otasim --gateway against a plain broker: the tests are the server."""
import json

import pytest

from common import TIMEOUT
from test_otasim import (  # noqa: F401 (the fixtures)
    NEW, OLD, PRODUCT, call, files, notice, otasim, plain, server,
)

pytestmark = pytest.mark.slow_asan  # the plugin does nothing here that others leave out

OPERATION, RESULT = "$gateway/operation/hubs/hall", "$gateway/operation/result/hubs/hall"


@pytest.fixture
def hub(server, otasim):  # noqa: F811
    """hub(count) runs that many devices behind a gateway."""
    assert server.client.subscribe(OPERATION, 1) == 1

    def start(count, *words):
        return otasim("--gateway", "hubs/hall", "--device", "d%d", "--count", count,
                      "--burn-ms", 10, "--reboot-ms", 10, *words)

    return start


def operations(server):  # noqa: F811
    """[(type, device)] so far."""
    asked = [json.loads(m.payload) for m in server.client.messages if m.topic == OPERATION]
    return [(one["type"], one["payload"]["devices"][0]["device_name"]) for one in asked]


def wait_operation(server, *operation, count=1):  # noqa: F811
    server.client.wait_for(
        lambda: operations(server).count(operation) >= count, TIMEOUT, f"{count} {operation}")


def answer(server, name, result=0, product=PRODUCT, kind="online"):  # noqa: F811
    device = {"product_id": product, "device_name": name, "result": result}
    server.client.publish(RESULT, {"type": kind, "payload": {"devices": [device]}}, 0)


def let_in(server, *names):  # noqa: F811
    for name in names:
        count = [word for word in server.words(name) if word.startswith("version")]
        wait_operation(server, "online", name)
        answer(server, name)
        server.wait(f"version {OLD}", name, len(count) + 1)


def test_one_is_announced_after_the_other(server, hub):  # noqa: F811
    sim = hub(3)
    assert sim.wait("connected", device="hall")["client_id"] == "hubs-hall"
    wait_operation(server, "online", "d1")
    answer(server, "d2")  # nobody asked
    answer(server, "d1", product="other")
    answer(server, "d1", kind="offline")
    assert operations(server) == [("online", "d1")]
    answer(server, "d1", -1)
    assert "result -1" in sim.wait("refused", device="d1")["reason"]
    let_in(server, "d2", "d3")
    assert operations(server) == [("online", name) for name in ("d1", "d2", "d3")]
    assert server.words("d1") == []
    names = {m.topic for m in server.client.messages}
    assert f"$ota/report/{PRODUCT}/d2" in names


def test_one_downloads_and_the_last_announced_is_next(server, files, hub):  # noqa: F811
    web = files()
    sim = hub(3, "--speed", 400000)
    let_in(server, "d1", "d2", "d3")
    for name in ("d1", "d2", "d3"):
        server.send(notice(web), name)
    server.wait("downloading 0", "d1")
    assert server.words("d2") == server.words("d3") == [f"version {OLD}"]
    server.wait("done", "d1")
    server.wait("downloading 0", "d3")
    assert "downloading 0" not in server.words("d2")
    server.wait("done", "d3")
    server.wait("done", "d2")
    assert len(web.requests) == 3
    assert sim.names().count("ignored") == 2  # for now


def test_a_reboot_is_told(server, files, hub):  # noqa: F811
    sim = hub(1, "--exit-when-done")
    let_in(server, "d1")
    server.send(notice(files()), "d1")
    wait_operation(server, "offline", "d1")
    wait_operation(server, "online", "d1", count=2)
    answer(server, "d1")
    server.wait(f"version {NEW}", "d1")
    assert sim.wait_end() == 0


def test_a_lost_connection(plain, server, hub):  # noqa: F811
    sim = hub(2)
    let_in(server, "d1", "d2")
    connects = server.client.connects
    plain.restart()
    server.client.wait_reconnected(connects)
    wait_operation(server, "online", "d1", count=2)
    answer(server, "d1")
    wait_operation(server, "online", "d2", count=2)
    answer(server, "d2")
    server.wait(f"version {OLD}", "d2", 2)
    assert sim.wait("disconnected", device="d1") and sim.wait("disconnected", device="hall")


def test_names_of_gateways():
    for name in ("hubs", "hubs/", "/hall", "hubs/hall/1", "hu bs/hall"):
        told = call("--product", "p", "--gateway", name)
        assert told.returncode == 2 and "--gateway" in told.stderr
    told = call("--product", "p", "--gateway", "hubs/hall", "--inband")
    assert told.returncode == 2 and "--inband" in told.stderr
