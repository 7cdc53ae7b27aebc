# SPDX-License-Identifier: BSD-3-Clause
"""The main job once through, and the fixtures with it."""
import pytest

import harness


def test_one_upgrade(admin, device):
    admin.call("createProduct", product="p")
    content = bytes(range(256)) * 1000
    admin.add_firmware("p", "0.0.2", content)
    one = device("p", "d")
    one.report_version("0.0.1")
    task = admin.call("upgradeDevice", product="p", device="d", version="0.0.2")["task"]
    assert one.run_upgrade() == content
    ended = admin.wait_status(task["task"], "succeeded")
    assert ended["confirmation"] == "confirmed"


def test_refusals_have_code_field_and_sentence(admin):
    with pytest.raises(harness.ControlError) as refusal:
        admin.call("createProduct", product="not a name")
    assert (refusal.value.code, refusal.value.field) == ("invalid_request", "product")
    assert admin.call_raw(b"nonsense")["responses"][0]["code"] == "invalid_request"


def test_everything_is_there_after_a_kill(ota, admin):
    admin.call("createProduct", product="p")
    ota.kill9()
    connects = admin.connects
    ota.start()
    admin.wait_reconnected(since=connects)
    assert [p["product"] for p in admin.call("listProducts")["products"]] == ["p"]
