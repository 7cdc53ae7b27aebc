# SPDX-License-Identifier: BSD-3-Clause
"""The HTTP door: events as they happen, numbers, health."""
import re
import socket
import sqlite3

from common import TIMEOUT
from console_help import write_passwords, wait_until


def start_fleet(console, *names):
    console.call("createProduct", product="lamp")
    console.upload("lamp", "2.0", bytes(5000))
    devices = [console.broker.device("lamp", name) for name in names]
    for one in devices:
        one.report_version("1.0")
    return devices


# --- events


def test_a_whole_upgrade_is_heard(console):
    (lamp,) = start_fleet(console, "d1")
    stream = console.events()
    assert stream.response.headers["Content-Type"] == "text/event-stream"
    assert stream.response.headers["Cache-Control"] == "no-store"
    task = console.call("upgradeDevice", product="lamp", device="d1", version="2.0")["task"]["task"]
    lamp.run_upgrade()
    stream.wait(lambda event, data: event == "version" and data["version"] == "2.0")
    heard = [data for event, data in stream.seen if event == "task"]
    assert {d["task"] for d in heard} == {task}
    assert {d["product"] + "/" + d["device"] for d in heard} == {"lamp/d1"}
    statuses = list(dict.fromkeys(d["status"] for d in heard))
    assert statuses[-4:] == ["downloading", "downloaded", "upgrading", "succeeded"]
    assert all(d["type"] == "task" and d["at"] > 0 for d in heard)
    assert stream.comments[:1] == ["retry: 3000"]
    stream.close()


def test_of_one_product_alone(console):
    lamp, _ = start_fleet(console, "d1", "d2")
    console.call("createProduct", product="door")
    door = console.broker.device("door", "x")
    stream = console.events("?product=door")
    lamp.report_version("1.1")
    door.report_version("7")
    stream.wait(lambda event, data: event == "version" and data["version"] == "7")
    assert {data["product"] for _, data in stream.seen} == {"door"}
    assert console.get("/api/v1/events?product=a/b", user="viewer").status == 400
    assert console.get("/api/v1/events?device=a", user="viewer").status == 400
    assert console.get("/api/v1/events").status == 401
    assert console.get("/api/v1/events", user="nobody").status == 403
    stream.close()


def test_a_user_has_eight_streams_and_the_oldest_ends(console):
    streams = [console.events(user="op") for _ in range(8)]
    other = console.events(user="viewer")
    ninth = console.events(user="op")
    streams[0].wait_end()
    assert not any(one.ended for one in [*streams[1:], other, ninth])
    for one in [*streams, other, ninth]:
        one.close()


def test_who_does_not_read_is_dropped_and_holds_nobody(console):
    """A reader that stands still, while others read on and commands are answered."""
    (lamp,) = start_fleet(console, "d1")
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    stuck.connect(("127.0.0.1", console.port))
    reader = console.events()
    request = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic dmlld2VyOnY=\r\n"
    stuck.sendall(request.encode() + b"\r\n")
    wait_until(lambda: console.call("getInfo")["console"]["streams"] == 2, "no second stream")
    for round in range(12):
        for number in range(50):
            name = f"r{round}x{number}"
            console_commands = [
                {"command": "createDevice", "product": "lamp", "device": name},
                {"command": "deleteDevice", "product": "lamp", "device": name},
            ]
            if number == 0:
                assert console.control(*console_commands, user="admin").status == 200
        lamp.report_version(f"1.{round}")
    reader.wait(lambda event, data: event == "version" and data["version"] == "1.11")
    stuck.close()
    reader.close()


def test_who_may_not_any_more_hears_nothing_more(console):
    console.login("op")
    own = console.events(user=None, headers={"Cookie": f"ota_session={console.cookie}"})
    viewers = console.events(user="viewer")
    assert own.status == viewers.status == 200
    assert console.ask("POST", "/api/v1/logout").status == 204
    own.wait_end()
    assert not viewers.ended
    write_passwords(console.passwords, {"admin": "right horse"})
    console.broker.reload()
    viewers.wait_end()


# --- numbers


def metrics_of(console, **settings):
    answer = console.get("/metrics", **settings)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    numbers = {}
    typed = {}
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in typed, f"{name} twice"
            typed[name] = kind
        elif not line.startswith("# HELP "):
            match = re.fullmatch(r'(ota_\w+)((?:\{(?:\w+="[^"\\]*",?)+\})?) (\S+)', line)
            assert match, line
            name = match[1]
            base = re.sub("_(bucket|sum|count)$", "", name)
            assert name in typed or typed.get(base) == "histogram", line
            assert match[1] + match[2] not in numbers, line
            numbers[match[1] + match[2]] = float(match[3])
    return numbers


def test_metrics_follow_what_happens(console):
    lamp, _ = start_fleet(console, "d1", "d2")
    before = metrics_of(console, user="viewer")
    assert before["ota_devices"] == before["ota_devices_online"] == 2
    assert before['ota_product_devices{product="lamp"}'] == 2
    assert before['ota_reports_total{kind="version"}'] == 2
    assert before['ota_tasks{status="message_sent"}'] == 0
    console.call("upgradeDevice", product="lamp", device="d1", version="2.0")
    console.call("upgradeDevice", product="lamp", device="d2", version="2.0")
    lamp.wait_notice()
    wait_until(
        lambda: metrics_of(console, user="viewer")['ota_tasks{status="message_sent"}'] == 2,
        "two tasks are under way",
    )
    lamp.run_upgrade()
    lamp.report("no json")
    batch = console.call(
        "createBatch", product="lamp", version="2.0", target={"devices": ["d2"]},
        failureThreshold={"percent": 50, "minFinished": 1}, override=True,
        startAt=4102444800000,
    )["batch"]["batch"]
    after = metrics_of(console, user="viewer")
    assert after['ota_tasks{status="message_sent"}'] == 1
    assert after['ota_tasks_ended_total{status="succeeded"}'] == 1
    assert after['ota_reports_total{kind="done"}'] == 1
    assert after['ota_reports_refused_total{reason="not_json"}'] == 1
    assert after["ota_notices_total"] == 2
    assert after["ota_download_bytes_total"] == 5000
    assert after['ota_batches{state="scheduled"}'] == 1
    assert after[f'ota_batch_tasks{{batch="{batch}",product="lamp",status="succeeded"}}'] == 0
    assert after["ota_commit_seconds_count"] > before["ota_commit_seconds_count"]
    assert after['ota_callback_seconds_count{callback="report"}'] >= 7
    assert after['ota_callback_seconds_bucket{callback="tick",le="+Inf"}'] == \
        after['ota_callback_seconds_count{callback="tick"}']
    assert after["ota_database_bytes"] > 0 and after["ota_wal_bytes"] > 0
    assert not [name for name in after if "d1" in name]  # no label is a device


def test_metrics_are_for_roles_or_for_all(consoles):
    console = consoles()
    assert console.get("/metrics").status == 401
    assert console.get("/metrics", user="nobody").status == 403
    public = consoles(password_file=None, metrics_public="true")
    assert metrics_of(public)["ota_devices"] == 0
    assert public.get("/api/v1/session").status == 401
    assert public.login("admin", "right horse").status == 401


def test_who_asks_for_public_metrics_all_the_time_asks_the_broker_once_a_second(consoles):
    public = consoles(metrics_public="true")
    on = public.connection()

    def requests():
        text = public.get("/metrics", on=on).body.decode()  # counts itself
        return int(re.search(r"^ota_console_requests_total (\d+)", text, re.M)[1])

    told = []
    wait_until(lambda: told.append(requests()) or len(set(told)) == 3, "never measured anew")
    assert len(told) > 2 * len(set(told)), told


# --- health


def test_health(console):
    answer = console.get("/healthz")
    assert (answer.status, answer.body) == (200, b"ok")


def test_a_database_that_can_not_be_written(console):
    holder = sqlite3.connect(console.broker.db_path, isolation_level=None, timeout=TIMEOUT)
    holder.execute("BEGIN IMMEDIATE")
    try:
        wait_until(lambda: console.get("/healthz").status == 503, "it is well")
        assert console.get("/healthz").body.startswith(b"the database can't be written")
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    wait_until(lambda: console.get("/healthz").status == 200, "not well again")


def test_users_are_read_again(consoles):
    console = consoles(passwords={})
    assert console.login("op").status == 401
    write_passwords(console.passwords, {"op": "op's secret"})
    console.broker.reload()
    wait_until(lambda: console.login("op").status == 200, "op never got in")
