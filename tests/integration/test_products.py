# SPDX-License-Identifier: BSD-3-Clause
"""createProduct, updateProduct, deleteProduct, listProducts."""
import time

import pytest

from control_help import announce, bulk, read_all, refuse, walk

ODD_TEXTS = [
    "",
    "x" * 256,
    "é" * 128,
    "<script>alert('x')</script><img src=x onerror=alert(1)>",
    "' OR 1=1; DROP TABLE product; --",
    '"quotes" \\backslash\\ /slash/ %s %n {json}',
    "日本語 العربية עברית 🚀👩‍🚀",
    "\u2028\u202e\ufeff\u0080\u00a0",  # odd, but no control characters below U+0020
]


def test_created_product_is_answered_and_listed(admin):
    before = int(time.time() * 1000)
    made = admin.call("createProduct", product="testProduct", description="the seed's")["product"]
    assert before <= made.pop("createdAt") <= time.time() * 1000
    assert made == {
        "product": "testProduct",
        "description": "the seed's",
        "devices": 0,
        "online": 0,
        "firmware": 0,
    }
    listed = admin.call("listProducts")
    assert "nextCursor" not in listed
    assert [p["product"] for p in listed["products"]] == ["testProduct"]
    refuse(admin, "createProduct", "already_exists", "product", product="testProduct")


def test_names_at_their_limits(admin):
    for name in ("a", "A-Z_0-9", "x" * 32, "testproduct", "testProduct"):  # case matters
        assert admin.call("createProduct", product=name)["product"]["product"] == name
    assert "10 characters" in admin.call("createProduct", product="x" * 11)["warning"]
    assert "warning" not in admin.call("createProduct", product="x" * 10)


def test_descriptions_come_back_as_they_were(admin):
    admin.call("createProduct", product="p")
    for text in ODD_TEXTS:
        assert admin.call("updateProduct", product="p", description=text)["product"][
            "description"
        ] == text
        assert admin.call("listProducts")["products"][0]["description"] == text


def test_counts_follow(ota, admin):
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "1")
    admin.call("createDevice", product="p", device="never")
    one = ota.device("p", "one")
    one.report_version("1")

    def row():
        return admin.call("listProducts")["products"][0]

    assert (row()["devices"], row()["online"], row()["firmware"]) == (2, 1, 1)
    one.disconnect()
    while row()["online"]:
        pass
    admin.call("deleteFirmware", product="p", version="1")
    admin.call("deleteDevice", product="p", device="one")
    assert (row()["devices"], row()["firmware"]) == (1, 0)


def test_missing_products_are_not_found(admin):
    refuse(admin, "updateProduct", "not_found", "product", product="none", description="")
    refuse(admin, "deleteProduct", "not_found", "product", product="none")


def test_pages_newest_first(admin):
    names = [f"p{n}" for n in range(230)]
    bulk(admin, [{"command": "createProduct", "product": name} for name in names])
    for limit in (1, 7, 200):
        if limit == 1:
            page = admin.call("listProducts", limit=1)
            assert [p["product"] for p in page["products"]] == ["p229"] and page["nextCursor"]
            continue
        rows, pages = walk(admin, "listProducts", limit)
        assert [row["product"] for row in rows] == names[::-1]
        assert pages == -(-230 // limit)
    assert len(admin.call("listProducts")["products"]) == 100  # the default


def test_only_an_empty_product_goes_without_force(ota, admin):
    admin.call("createProduct", product="empty")
    assert admin.call("deleteProduct", product="empty") == {}
    for name in ("device", "firmware"):
        admin.call("createProduct", product=name)
    admin.call("createDevice", product="device", device="d")
    admin.add_firmware("firmware", "1")
    before = read_all(admin)
    for name in ("device", "firmware"):
        refuse(admin, "deleteProduct", "conflict", "force", product=name)
        refuse(admin, "deleteProduct", "conflict", "force", product=name, force=False)
    assert read_all(admin) == before
    for name in ("device", "firmware"):
        admin.call("deleteProduct", product=name, force=True)
    assert admin.call("listProducts")["products"] == []


def test_an_unfinished_task_keeps_its_product(ota, admin):
    admin.call("createProduct", product="p")
    admin.call("createDevice", product="p", device="d")
    admin.add_firmware("p", "1")
    task = admin.call("upgradeDevice", product="p", device="d", version="1")["task"]["task"]
    refuse(admin, "deleteProduct", "conflict", "product", product="p", force=True)
    admin.call("cancelTask", task=task)
    admin.call("deleteProduct", product="p", force=True)
    refuse(admin, "getTask", "not_found", "task", task=task)
    assert admin.call("listTasks")["tasks"] == []


def test_a_deleted_product_is_gone_at_once_and_its_name_is_free(ota, admin):
    admin.call("createProduct", product="other")
    admin.call("createProduct", product="p", description="the old one")
    content = b"x" * 100_000
    admin.add_firmware("p", "1", content)
    bulk(
        admin,
        [{"command": "createDevice", "product": "p", "device": f"d{n}"} for n in range(500)],
    )
    online = ota.device("p", "d0")
    online.report_version("0.9")
    upload = admin.call("addFirmware", **announce("p", "2", content))["upload"]
    bulk(
        admin,
        [
            {"command": "deleteProduct", "product": "p", "force": True},
            {"command": "createProduct", "product": "p", "description": "the new one"},
        ],
    )
    listed = admin.call("listProducts")["products"]
    assert [p["product"] for p in listed] == ["p", "other"]
    new = listed[0]
    assert new["description"] == "the new one"
    assert (new["devices"], new["online"], new["firmware"]) == (0, 0, 0)
    for name in ("listDevices", "listFirmware", "listVersions"):
        assert all(not rows for rows in admin.call(name, product="p").values())
    refuse(admin, "getDevice", "not_found", "device", product="p", device="d0")
    refuse(admin, "getFirmware", "not_found", "version", product="p", version="1")
    for name in ("commitFirmware", "abortFirmware"):
        refuse(admin, name, "not_found", "upload", upload=upload)
    # The device that is still connected belongs to the new product from its next report on.
    online.report_version("1.0")
    assert admin.call("getDevice", product="p", device="d0")["device"]["version"] == "1.0"
    assert admin.list_all("listVersions", "versions", product="p") == [
        {"version": "1.0", "uploaded": False, "devices": 1}
    ]
    admin.add_firmware("p", "1", b"other bytes")


def test_no_reader_sees_a_product_that_is_being_deleted(admin):
    """Its rows go in slices; what is asked in the same message is asked before the first one."""
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "1")
    devices = [{"command": "createDevice", "product": "p", "device": f"d{n}"} for n in range(300)]
    bulk(admin, devices)
    upgrades = [{**d, "command": "upgradeDevice", "version": "1"} for d in devices]
    tasks = [data["task"]["task"] for data in bulk(admin, upgrades)]
    bulk(admin, [{"command": "cancelTask", "task": task} for task in tasks])
    answers = admin.call_raw(
        {
            "commands": [
                {"command": "deleteProduct", "product": "p", "force": True},
                {"command": "listTasks"},
                {"command": "getTask", "task": tasks[0]},
                {"command": "retryTask", "task": tasks[0]},
                {"command": "cancelTask", "task": tasks[0]},
                {"command": "getInfo"},
                {"command": "listProducts"},
                {"command": "createProduct", "product": "p"},
            ]
        }
    )["responses"]
    assert answers[1]["data"]["tasks"] == []
    assert [answer.get("code") for answer in answers[2:5]] == ["not_found"] * 3
    info = answers[5]["data"]
    assert (info["devices"], info["online"], info["activeTasks"]) == (0, 0, 0)
    assert answers[6]["data"]["products"] == []
    assert admin.call("listTasks")["tasks"] == []
    assert admin.call("listDevices", product="p")["devices"] == []


def test_an_unfinished_upload_goes_with_its_product(admin):
    """It must not count against its user's four, either."""
    for round_ in range(3):
        admin.call("createProduct", product="p")
        for n in range(4):
            admin.call("addFirmware", **announce("p", f"{round_}.{n}", b"x" * 10))
        refuse(
            admin, "addFirmware", "limit_exceeded", **announce("p", f"{round_}.4", b"x" * 10)
        )
        admin.call("deleteProduct", product="p")


@pytest.mark.parametrize("name", ["op", "viewer"])
def test_denied(ota, admin, name):
    admin.call("createProduct", product="p")
    before = read_all(admin)
    low = ota.admin(name)
    refuse(low, "createProduct", "forbidden", product="q")
    refuse(low, "updateProduct", "forbidden", product="p", description="")
    refuse(low, "deleteProduct", "forbidden", product="p")
    assert low.call("listProducts")["products"][0]["product"] == "p"
    assert read_all(admin) == before
