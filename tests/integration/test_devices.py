# SPDX-License-Identifier: BSD-3-Clause
"""createDevice, updateDevice, deleteDevice, getDevice, listDevices, history, explainDevice."""
import time

import pytest

from control_help import bulk, read_all, refuse, walk
from test_products import ODD_TEXTS


@pytest.fixture
def product(admin):
    admin.call("createProduct", product="p")
    return "p"


def get(admin, name, product="p"):
    return admin.call("getDevice", product=product, device=name)["device"]


def names(rows):
    return [row["device"] for row in rows]


def test_created_device(admin, product):
    before = int(time.time() * 1000)
    made = admin.call(
        "createDevice", product=product, device="d", description="x", tags=["b", "a=1", "b"]
    )["device"]
    assert made == get(admin, "d")
    assert before <= made.pop("createdAt") <= time.time() * 1000
    assert made == {
        "product": product,
        "device": "d",
        "description": "x",
        "tags": ["a=1", "b"],
        "hold": False,
        "version": None,
        "versionReportedAt": None,
        "online": False,
        "lastSeenAt": None,
        "gatewayProduct": None,
        "gateway": None,
        "task": None,
    }
    refuse(admin, "createDevice", "already_exists", "device", product=product, device="d")
    refuse(admin, "createDevice", "not_found", "product", product="none", device="d")


def test_names_at_their_limits(admin, product):
    for name in ("a", "A:z_0-9", "x" * 48, "a" * 47 + ":"):
        made = admin.call("createDevice", product=product, device=name)
        assert made["device"]["device"] == name and "warning" not in made
    admin.call("createProduct", product="elevenchars")
    made = admin.call("createDevice", product="elevenchars", device="x" * 40)
    assert "50 characters" in made["warning"]


def test_tags_at_their_limits(admin, product):
    tags = sorted(f"{n:02}.:=_-".ljust(32, "x") for n in range(16))
    admin.call("createDevice", product=product, device="d", tags=tags)
    assert get(admin, "d")["tags"] == tags
    bad = [tags + ["one-more"], ["x" * 33], [""], ["a b"], ["\u00e9"], ["a,b"], "tag", [1], {}]
    before = read_all(admin)
    for wrong in bad:
        for name, device in (("createDevice", "e"), ("updateDevice", "d")):
            refuse(admin, name, "invalid_request", "tags", product=product, device=device,
                   tags=wrong)
    assert read_all(admin) == before
    admin.call("updateDevice", product=product, device="d", tags=[])
    assert get(admin, "d")["tags"] == []


def test_update_changes_what_it_names(ota, admin, product):
    admin.call("createDevice", product=product, device="d", description="x", tags=["t"])

    def update(**fields):
        return admin.call("updateDevice", product=product, device="d", **fields)["device"]

    assert update(hold=True)["hold"] is True
    after = update(description="")
    assert (after["description"], after["tags"], after["hold"]) == ("", ["t"], True)
    after = update(tags=["u"])
    assert (after["description"], after["tags"], after["hold"]) == ("", ["u"], True)
    assert update(hold=False)["hold"] is False
    assert update() == get(admin, "d")
    for text in ODD_TEXTS:
        assert update(description=text)["description"] == text
        assert get(admin, "d")["description"] == text
    assert ota.admin("op").call("updateDevice", product=product, device="d", hold=True)


def test_what_a_device_reports_is_seen(ota, admin, product):
    before = int(time.time() * 1000)
    one = ota.device(product, "d")
    one.report_version("0.0.1")
    row = get(admin, "d")
    assert row["online"] and row["version"] == "0.0.1"
    for key in ("versionReportedAt", "lastSeenAt", "createdAt"):
        assert before <= row[key] <= time.time() * 1000
    one.report_version("0.0.2")
    history = admin.call("listDeviceHistory", product=product, device="d")["versions"]
    assert [row["version"] for row in history] == ["0.0.2", "0.0.1"]
    assert history[0]["at"] == get(admin, "d")["versionReportedAt"]
    one.disconnect()
    while get(admin, "d")["online"]:
        pass


def test_deleted_devices_come_back_by_a_report(ota, admin, product):
    one = ota.device(product, "d")
    one.report_version("0.0.1")
    assert admin.call("deleteDevice", product=product, device="d") == {}
    refuse(admin, "getDevice", "not_found", "device", product=product, device="d")
    assert admin.call("listDevices", product=product)["devices"] == []
    versions = admin.call("listVersions", product=product)["versions"]
    assert [(row["version"], row["devices"]) for row in versions] == [("0.0.1", 0)]
    one.report_version("0.0.2")
    assert get(admin, "d")["version"] == "0.0.2"
    history = admin.call("listDeviceHistory", product=product, device="d")["versions"]
    assert [row["version"] for row in history] == ["0.0.2"]


def test_without_auto_register_a_device_stays_away(broker):
    ota = broker(options={"auto_register": "false"})
    admin = ota.admin()
    admin.call("createProduct", product="p")
    admin.call("createDevice", product="p", device="d")
    one = ota.device("p", "d")
    one.report_version("0.0.1")
    admin.call("deleteDevice", product="p", device="d")
    one.report_version("0.0.2", wait=False)
    assert admin.call("listDevices", product="p")["devices"] == []
    assert admin.call("getInfo")["refusedReports"]["unknown_device"] == 1


def test_device_limit(broker):
    ota = broker(options={"max_devices_per_product": "2"})
    admin = ota.admin()
    for name in ("p", "q"):
        admin.call("createProduct", product=name)
    for name in ("a", "b"):
        admin.call("createDevice", product="p", device=name)
    refuse(admin, "createDevice", "limit_exceeded", "product", product="p", device="c")
    admin.call("createDevice", product="q", device="c")
    admin.call("deleteDevice", product="p", device="a")
    admin.call("createDevice", product="p", device="c")


def test_a_device_with_an_unfinished_task_stays(admin, product):
    admin.add_firmware(product, "1")
    admin.call("createDevice", product=product, device="d")
    task = admin.call("upgradeDevice", product=product, device="d", version="1")["task"]["task"]
    refuse(admin, "deleteDevice", "conflict", "device", product=product, device="d")
    admin.call("cancelTask", task=task)
    admin.call("deleteDevice", product=product, device="d")
    refuse(admin, "getTask", "not_found", "task", task=task)


@pytest.mark.parametrize(
    "name", ["getDevice", "deleteDevice", "updateDevice", "listDeviceHistory", "explainDevice"]
)
def test_not_found(admin, product, name):
    refuse(admin, name, "not_found", "product", product="none", device="d")
    refuse(admin, name, "not_found", "device", product=product, device="d")
    admin.call("createProduct", product="q")
    admin.call("createDevice", product="q", device="d")
    refuse(admin, name, "not_found", "device", product=product, device="d")


def test_list_filters(ota, admin, product):
    tags = {"a1": ["x"], "a2": ["x", "y"], "b1": ["xy"], "b2": []}
    for name, own in tags.items():
        admin.call("createDevice", product=product, device=name, tags=own)
    admin.call("createProduct", product="q")
    admin.call("createDevice", product="q", device="a9", tags=["x"])
    ota.device(product, "a1").report_version("1.0")
    ota.device(product, "b1").report_version("1.0.0")

    def listed(**filters):
        return names(admin.call("listDevices", product=product, **filters)["devices"])

    assert listed() == ["a1", "a2", "b1", "b2"]  # by name
    assert listed(tag="x") == ["a1", "a2"]
    assert listed(tag="y") == ["a2"]
    assert listed(prefix="a") == ["a1", "a2"]
    assert listed(prefix="a1") == ["a1"]
    assert listed(prefix="c") == []
    assert listed(version="1.0") == ["a1"]
    assert listed(version="2") == []
    assert listed(online=True) == ["a1", "b1"]
    assert listed(online=False) == ["a2", "b2"]
    assert listed(online=True, prefix="b", version="1.0.0", tag="xy") == ["b1"]
    assert listed(online=True, tag="y") == []
    row = admin.call("listDevices", product=product, prefix="a1")["devices"][0]
    assert row == get(admin, "a1")
    refuse(admin, "listDevices", "not_found", "product", product="none")
    refuse(admin, "listDevices", "not_found", "gateway", product=product, gateway="none")
    assert listed(gateway="a1") == []


def test_pages_by_name(admin, product):
    made = [f"d{n}" for n in range(420)]
    bulk(
        admin,
        [
            {"command": "createDevice", "product": product, "device": name, "tags": [name[-1]]}
            for name in made
        ],
    )
    for limit in (33, 200):
        rows, pages = walk(admin, "listDevices", limit, product=product)
        assert names(rows) == sorted(made)
        assert pages >= 420 // limit
    rows, _ = walk(admin, "listDevices", 9, product=product, tag="7")
    assert names(rows) == sorted(name for name in made if name[-1] == "7")
    rows, _ = walk(admin, "listDevices", 10, product=product, prefix="d4")
    assert names(rows) == sorted(name for name in made if name.startswith("d4"))
    assert len(admin.call("listDevices", product=product)["devices"]) == 100


def test_a_page_may_be_short_but_the_walk_is_complete(admin, product):
    """A call examines OTA_LIST_EXAMINED rows, which may be 5,000 at most."""
    total = 1100
    commands = [
        {"command": "createDevice", "product": product, "device": f"d{n:05}"}
        for n in range(total)
    ]
    commands[-1]["tags"] = ["last"]
    bulk(admin, commands)
    page = admin.call("listDevices", product=product, tag="last")
    assert page["devices"] == [] and page["nextCursor"]
    rows, pages = walk(admin, "listDevices", 100, product=product, tag="last")
    assert names(rows) == [f"d{total - 1:05}"] and pages > 1


def test_explain(ota, admin, product):
    def why(name):
        data = admin.call("explainDevice", product=product, device=name)
        assert name in data["sentence"] and data["sentence"].endswith(".")
        return data

    admin.add_firmware(product, "2")
    admin.call("createDevice", product=product, device="new")
    assert why("new")["reason"] == "never_reported"
    one = ota.device(product, "one")
    one.report_version("1")
    assert why("one")["reason"] == "no_task"
    one.disconnect()
    while get(admin, "one")["online"]:
        pass
    task = admin.call("upgradeDevice", product=product, device="one", version="2")["task"]["task"]
    assert (why("one")["reason"], why("one")["task"]) == ("device_offline", task)
    admin.call("updateDevice", product=product, device="one", hold=True)
    assert why("one")["reason"] == "held"
    admin.call("updateDevice", product=product, device="one", hold=False)
    one = ota.device(product, "one")
    one.report_version("1")
    one.wait_notice("2")
    assert why("one")["reason"] == "message_sent"
    one.report_progress("downloading", 40)
    assert "(40 %)" in why("one")["sentence"]
    assert why("one")["reason"] == "downloading"
    one.report_version("2")
    assert why("one")["reason"] == "no_task"


def test_denied(ota, admin, product):
    admin.call("createDevice", product=product, device="d")
    before = read_all(admin)
    for name in ("op", "viewer"):
        low = ota.admin(name)
        refuse(low, "createDevice", "forbidden", product=product, device="e")
        refuse(low, "deleteDevice", "forbidden", product=product, device="d")
        for command in ("getDevice", "listDeviceHistory", "explainDevice"):
            assert low.call(command, product=product, device="d")
        assert names(low.call("listDevices", product=product)["devices"]) == ["d"]
    refuse(ota.admin("viewer"), "updateDevice", "forbidden", product=product, device="d")
    assert read_all(admin) == before
