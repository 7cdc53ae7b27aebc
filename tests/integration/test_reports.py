# SPDX-License-Identifier: BSD-3-Clause
"""What devices report: answers, effects, and bad input (device-protocol.md "Upstream")."""
import json
import time

import pytest

from steps import (
    NEW, OLD, assert_silent, devices, history, newly_refused, ours, refused, round_trip, stock,
    under_way, upgrade, versions, whole_task,
)

VERSION = {"type": "report_version", "report": {"version": OLD}}


def progress(state="downloading", version=NEW, **fields):
    return {
        "type": "report_progress",
        "report": {"progress": {"state": state, **fields}, "version": version},
    }


def answers(device):
    return device.updates("report_version_rsp")


# -- version reports ------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_version_report_is_answered_at_qos_0(admin, device, qos):
    stock(admin)
    one = device("p", "d")
    one.publish(one.report_topic, VERSION, qos)
    answer = one.wait_message(lambda m: m.topic == one.update_topic)
    assert json.loads(answer.payload) == {
        "type": "report_version_rsp", "result_code": 0, "result_msg": "success", "version": OLD,
    }
    assert (answer.qos, answer.retain) == (0, False)
    assert devices(admin)["d"]["version"] == OLD


def test_the_answer_goes_to_the_reporting_client_alone(ota, admin, device):
    stock(admin)
    subscribed = device("p", "d", client_id="subscribed")
    bystander = device("p", "other")
    listener = ota.client("viewer")
    assert listener.subscribe("$ota/event/#") == 0
    reporting = device("p", "d", client_id="reporting", subscribe=False)
    reporting.report_version(OLD)
    round_trip(subscribed, bystander, listener)
    assert len(answers(reporting)) == 1
    assert not answers(subscribed) and not answers(bystander)
    assert all(m.topic.startswith("$ota/event/") for m in listener.messages if m.topic[0] == "$")


BYTE_FORMATS = [
    b'{"type": "report_version", "report":{"version":"0.0.1"}}',
    b'{"type":"report_version","report":{"version":"0.0.1"}}',
    b'{ "report" : {\r\n\t"version" : "0.0.1" } , "type" : "report_version" }\n',
    b'  {"extra":{"a":[1,2,{"b":null}]},"type":"report_version","report":{"x":true,'
    b'"version":"0.0.1","y":1.5}}  ',
    b'{"type":"report_version","report":{"version":"0.0.\\u0031"}}',
]


def test_version_reports_are_parsed_never_compared(admin, device):
    stock(admin)
    one = device("p", "d")
    for number, payload in enumerate(BYTE_FORMATS, 1):
        one.report(payload)
        one.wait_for(lambda n=number: len(answers(one)) == n, what=f"answer to {payload}")
    assert not refused(admin)


def test_the_same_version_again_is_answered_and_no_news(admin, device):
    stock(admin)
    one = device("p", "d")
    for _ in range(3):
        one.report_version(OLD)
    one.report_version("0.0.9")
    one.report_version(OLD)
    seen = admin.call("listDeviceHistory", product="p", device="d")["versions"]
    assert [entry["version"] for entry in seen] in ([OLD, "0.0.9", OLD], [OLD, "0.0.9", OLD][::-1])
    assert versions(admin) == {OLD: 1}


def test_longest_names_and_version(admin, device):
    product, name, version = "P" * 32, "d:-_" * 12, "v._-" * 8
    stock(admin, product)
    assert device(product, name).report_version(version)["version"] == version
    assert devices(admin, product)[name]["version"] == version


# -- progress reports -----------------------------------------------------------------------------

# The vendor's own bytes (tencent-sdk.md), then ours with numbers, other orders, more keys.
VENDOR = [
    (b'{"type": "report_progress", "report": {"progress": {"state":"downloading", "percent":"27", '
     b'"result_code":"0", "result_msg":""}, "version": "0.0.2"}}', "downloading", 27),
    (b'{"type":"report_progress","report":{"version":"0.0.2","progress":{"percent":28,'
     b'"result_msg":"","result_code":0,"state":"downloading"},"x":[]}}', "downloading", 28),
    (b'{"type": "report_progress", "report": {"progress": {"state":"downloading", "percent":"100", '
     b'"result_code":"0", "result_msg":""}, "version": "0.0.2"}}', "downloaded", 100),
    (b'{"type": "report_progress", "report":{"progress":{"state":"burning", "result_code":"0", '
     b'"result_msg":""}, "version":"0.0.2"}}', "upgrading", 100),
    (b'{"type": "report_progress", "report":{"progress":{"state":"done", "result_code":"0", '
     b'"result_msg":""}, "version":"0.0.2"}}', "succeeded", 100),
]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_vendors_progress_reports(admin, device, qos):
    one, task = under_way(admin, device)
    for payload, status, percent in VENDOR:
        one.publish(one.report_topic, payload, qos)
        now = admin.wait_status(task, status)
        if status == "downloading":
            round_trip(one)
            now = admin.task(task)
        assert now["percent"] == percent, payload
    assert admin.task(task)["confirmation"] == "pending"
    assert not refused(admin)
    assert len(answers(one)) == 1, "progress is not answered"


@pytest.mark.parametrize(
    "reports, status, seen",
    [
        (["done"], "succeeded", ["succeeded"]),
        (["downloading", "done"], "succeeded", ["downloading", "succeeded"]),
        (["burning", "done"], "succeeded", ["upgrading", "succeeded"]),
        (["downloaded"], "downloaded", ["downloaded"]),
        (["downloaded", "downloaded", "burning", "burning"], "upgrading",
         ["downloaded", "upgrading"]),
        (["burning", "downloading"], "downloading", ["upgrading", "downloading"]),
        (["fail", "fail"], "failed", ["failed"]),
        (["done", "fail"], "succeeded", ["succeeded"]),
        (["fail", "done"], "failed", ["failed"]),
    ],
)
def test_steps_may_be_skipped_and_repeated(admin, device, reports, status, seen):
    one, task = under_way(admin, device)
    for state in reports:
        one.report_progress(state, 1 if state == "downloading" else None)
    assert admin.task(task)["status"] == status
    states = history(admin, task)
    assert [s for s in states if s in {*seen, "failed", "succeeded"}] in (seen, seen[::-1])


CODES = {
    "-1": "download timed out", "-2": "file missing", "-3": "not authorised",
    "-4": "checksum mismatch", "-5": "upgrade failed",
}


@pytest.mark.parametrize("code", [*CODES, "7", -4])
def test_a_failure_keeps_its_code_and_gets_our_text(admin, device, code):
    one, task = under_way(admin, device)
    one.report(progress("fail", result_code=code, result_msg="time_out"))
    one.report(progress("fail", result_code="-5", result_msg="another"))
    now = admin.wait_status(task, "failed")
    assert now["resultCode"] == int(code), "the first of two fails counts"
    assert now["deviceMessage"] == "time_out"
    if str(code) in CODES:
        assert now["resultMessage"] == CODES[str(code)]
    else:
        assert now["resultMessage"]
    assert history(admin, task).count("failed") == 1


def test_a_long_device_message_is_cut_between_characters(admin, device):
    one, task = under_way(admin, device)
    one.report(progress("fail", result_code=-5, result_msg="x" + "ä€" * 300))
    message = admin.wait_status(task, "failed")["deviceMessage"]
    assert 124 < len(message.encode()) <= 128 and ("x" + "ä€" * 300).startswith(message)


def test_done_is_a_word_and_a_version_is_proof(admin, device):
    one, task = under_way(admin, device)
    one.report_progress("done")
    for version, confirmation in [(OLD, "contradicted"), (NEW, "confirmed"), (OLD, "contradicted")]:
        one.report_version(version)
        now = admin.task(task)
        assert (now["status"], now["confirmation"]) == ("succeeded", confirmation), version


def test_a_version_report_of_the_target_alone_is_success(admin, device):
    one, task = under_way(admin, device)
    one.report_version(NEW)
    now = admin.task(task)
    assert (now["status"], now["confirmation"]) == ("succeeded", "confirmed")


def test_a_report_of_another_target_changes_no_task_and_is_counted(admin, device):
    one, task = under_way(admin, device)
    before = whole_task(admin, task)
    one.report(progress("fail", version="0.0.9", result_code=-1))
    assert refused(admin) == {"no_task": 1}
    assert whole_task(admin, task) == before


# -- who may exist --------------------------------------------------------------------------------


def test_auto_register_takes_a_device_at_its_first_report(admin, device):
    stock(admin)
    one = device("p", "new")
    assert "new" not in devices(admin)
    one.report_version(OLD)
    assert devices(admin)["new"]["version"] == OLD
    assert devices(admin)["new"]["online"]
    assert versions(admin) == {OLD: 1}


def test_without_auto_register_only_known_devices_are_heard(broker):
    one = broker(options={"auto_register": "false"})
    admin = one.admin()
    stock(admin)
    admin.call("createDevice", product="p", device="known")
    known = one.device("p", "known")
    known.report_version(OLD)
    stranger = one.device("p", "stranger", subscribe=False)
    assert stranger.subscribe(stranger.update_topic) >= 128
    stranger.report(VERSION)
    round_trip(stranger)
    assert refused(admin) == {"unknown_device": 1}
    assert list(devices(admin)) == ["known"] and not answers(stranger)


def test_an_unknown_product_is_counted_and_not_answered(admin, device):
    stock(admin)
    lost = device("nothing", "d", subscribe=False)
    lost.report(VERSION)
    round_trip(lost)
    assert refused(admin) == {"unknown_product": 1}
    assert not answers(lost)
    (warning,) = admin.call("getInfo")["warnings"]
    assert "product nothing, which doesn't exist" in warning
    admin.call("createProduct", product="nothing")
    assert not admin.call("getInfo")["warnings"]
    assert lost.report_version(OLD)["result_code"] == 0, "the product exists now"


def test_a_product_takes_no_more_devices_than_it_may(broker):
    one = broker(options={"max_devices_per_product": 2})
    admin = one.admin()
    stock(admin)
    stock(admin, "q")
    for name in "ab":
        one.device("p", name).report_version(OLD)
    third = one.device("p", "c")
    third.report(VERSION)
    round_trip(third)
    assert refused(admin) == {"device_limit": 1} and not answers(third)
    assert sorted(devices(admin)) == ["a", "b"]
    one.device("q", "c").report_version(OLD)
    admin.call("deleteDevice", product="p", device="a")
    third.report_version(OLD)
    assert sorted(devices(admin)) == ["b", "c"]


def test_a_device_that_was_deleted_while_connected_returns_at_its_next_report(admin, device):
    stock(admin)
    one = device("p", "d")
    one.report_version(OLD)
    admin.call("deleteDevice", product="p", device="d")
    assert admin.call("getInfo")["online"] == 0
    one.report_version(OLD)
    assert devices(admin)["d"]["online"]
    admin.call("deleteProduct", product="p", force=True)
    one.report(VERSION)
    assert refused(admin) == {"unknown_product": 1}
    stock(admin)
    one.report_version("0.0.9")
    upgrade(admin, one)
    one.wait_notice()
    one.disconnect()
    assert not devices(admin)["d"]["online"] and versions(admin) == {"0.0.9": 1}


def test_late_truth_after_a_restart(ota, admin, device):
    one, task = under_way(admin, device)
    admin.call("cancelTask", task=task)
    connects = admin.connects, one.connects
    ota.kill9()
    ota.start()
    admin.wait_reconnected(connects[0])
    one.wait_reconnected(connects[1])
    one.report_progress("burning")
    assert admin.task(task)["status"] == "cancelled", "only a success counts late"
    one.report_progress("done")
    one.report_version(NEW)
    now = admin.call("getTask", task=task)
    assert (now["task"]["status"], now["task"]["confirmation"]) == ("succeeded", "confirmed")
    assert any("late" in (event["detail"] or "") for event in now["events"])


# -- bad input ------------------------------------------------------------------------------------


def body(version):
    return {"type": "report_version", "report": {"version": version}}


def nested(levels):
    return b'{"type":"report_version","report":{"version":"6"},"x":%s%s}' % (
        b"[" * levels, b"]" * levels,
    )


def padded(size):
    payload = json.dumps(body("6")).encode()
    return payload + b" " * (size - len(payload))


BAD = {
    "not_json": [
        b"", b"\0", b"nonsense", b"1", b'"report_version"',
        b'{"type":"report_version"', b'{"type":"report_version"}{}',
        b'{"type":"report_version","report":{"version":"6"}} x', b"\xff\xfe", b"{'type':1}",
        b'{"type":"report_version","report":{"version":"\xc3\x28"}}',
        b'{"type":"report_version","report":{"version":"6"},"type":"report_version"}',
        b'{"type":"report_version","report":{"version":"6","version":"7"}}',
        b'{"type":"report_version","report":{"version":"6\\u0000"}}',
        b'{"type":"report_version","report":{"version":"6"},"x":1e999}',
    ],
    "too_large": [padded(4097), padded(5000), b"\0" * 100_000],
    "nested": [nested(16), nested(1500), b"[" * 4096,
               b'{"type":"report_version","report":{"version":"6"},%s}'
               % b",".join(b'"k%d":1' % n for n in range(62))],
    "type": [{**body("6"), "type": "report"}, {**body("6"), "type": ""},
             {**body("6"), "type": "report_version_rsp"}, {**body("6"), "type": "REPORT_VERSION"}],
    "shape": [
        b"[]", b"{}", {"type": "report_version"},
        {"type": 1, "report": {"version": "6"}}, {"type": "report_version", "report": []},
        {"type": "report_version", "report": {}}, {"type": "report_version", "version": "6"},
        body(6), body(None), body(["6"]), body({"v": "6"}),
        {"type": "report_progress", "report": {"version": NEW}},
        {"type": "report_progress", "report": {"version": NEW, "progress": []}},
        {"type": "report_progress", "report": {"version": NEW, "progress": {"percent": 1}}},
        progress(1), progress(None),
    ],
    "version": [body(v) for v in ("", "6" * 33, "6 7", "6/7", "ä", "6\n", "#", "+", "6:7")]
    + [progress(version="")],
    "state": [progress(s) for s in ("", "Downloading", "exploding", "done ", "cancelled")],
    "number": [
        *(progress(percent=p) for p in
          ("101", 101, -1, "-1", "", "ten", "1e1", "0x10", 10.5, "10.5", True, None, [1], {}, " 1",
           "1 ", "99999999999999999999", 10**15)),
        *(progress("fail", result_code=c) for c in
          ("", "x", 1.5, None, True, [], 2**31, "99999999999", "--1", "+1")),
    ],
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_input_is_counted_under_its_reason_and_changes_nothing(admin, device, reason):
    one, task = under_way(admin, device)
    one.report_progress("downloading", 5)
    before = devices(admin), whole_task(admin, task)
    heard = len(one.messages)
    for payload in BAD[reason]:
        counted = refused(admin)
        one.report(payload)
        assert newly_refused(admin, counted) == {reason: 1}, payload
    assert (devices(admin), whole_task(admin, task)) == before
    round_trip(one)
    assert not [m for m in one.messages[heard:] if m.topic == one.update_topic], "it was answered"


def test_what_is_just_good_enough(admin, device):
    stock(admin)
    one = device("p", "d")
    keys = b",".join(b'"k%d":1' % n for n in range(50))
    for payload in (
        padded(4096), nested(8), b'{"type":"report_version","report":{"version":"6"},%s}' % keys,
    ):
        since = len(answers(one))
        one.report(payload)
        one.wait_for(lambda n=since: len(answers(one)) > n, what="answer")
    assert not refused(admin)


def test_retained_reports_are_refused(ota, admin, device):
    stock(admin)
    one = device("p", "d")
    for qos in (0, 1, 2):
        one.publish(one.report_topic, VERSION, qos, retain=True)
    round_trip(one)
    assert refused(admin) == {"retained": 3}
    assert not devices(admin) and not answers(one)
    listener = ota.client("viewer")
    listener.subscribe("$ota/report/#")
    round_trip(listener)
    assert not [m for m in listener.messages if m.topic == one.report_topic], "it was kept"


def test_a_client_that_isnt_that_device_is_refused(ota, admin, device):
    stock(admin)
    device("p", "d").report_version(OLD)
    before = devices(admin)
    wrong = [
        device("p", "other", subscribe=False), ota.client(), ota.client("p/d/"), ota.client("pd"),
        ota.client("p"), ota.client("P/d"), ota.client("admin"), ota.client("p/D"),
    ]
    for number, client in enumerate(wrong, 1):
        client.publish("$ota/report/p/d", body("6.6.6"))
        round_trip(client)
        assert refused(admin) == {"identity": number}, client.username
        assert not [m for m in client.messages if m.topic[0] == "$"]
    assert devices(admin) == before


def test_a_refusal_is_logged_once_a_second_without_the_payload(ota, admin):
    stock(admin)
    one = ota.device("p", "d", client_id='ev\u00ef\u2028l"\\id')
    began = time.monotonic()
    for _ in range(60):
        one.report(b"SECRET-PAYLOAD")
        one.report(body("SECRET PAYLOAD"))
    seconds = int(time.monotonic() - began)
    assert refused(admin) == {"not_json": 60, "version": 60}
    lines = [line for line in ours(ota) if "refused" in line]
    assert 2 <= len(lines) <= 2 * (seconds + 1)
    assert not [line for line in ota.log if "SECRET" in line]
    for line in lines:
        shown = line.split("client ")[1].split(" refused")[0]
        assert shown.isascii() and shown.isprintable()
        assert shown.count('"') == 2, shown
    assert_silent(one, 0.2, 0, lambda m: m.topic == one.update_topic)
