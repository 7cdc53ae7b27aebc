# SPDX-License-Identifier: BSD-3-Clause
"""addFirmware … deleteFirmware: names, formats, limits, uploads in pieces, orders."""
import hashlib
import os
import time

import pytest

import harness
from control_help import (
    announce,
    archive,
    base64_of,
    bulk,
    read_all,
    refuse,
    send_blocks,
    walk,
)
from test_products import ODD_TEXTS


@pytest.fixture
def product(admin):
    admin.call("createProduct", product="p")
    return "p"


def versions(admin, product="p"):
    return [row["version"] for row in admin.list_all("listFirmware", "firmware", product=product)]


def test_an_upload_from_announcement_to_list(admin, product):
    content = os.urandom(150_000)
    before = int(time.time() * 1000)
    announced = admin.call(
        "addFirmware", **announce(product, "0.0.2", content, "fw.BIN", description="first")
    )
    assert (announced["blockSize"], announced["offset"]) == (65536, 0)
    upload = announced["upload"]
    refuse(admin, "commitFirmware", "conflict", "upload", upload=upload)
    assert versions(admin) == []
    send_blocks(admin, upload, content)
    assert versions(admin) == []
    firmware = admin.call("commitFirmware", upload=upload)["firmware"]
    assert before <= firmware.pop("createdAt") <= time.time() * 1000
    assert firmware == {
        "product": product,
        "version": "0.0.2",
        "order": 1,
        "filename": "fw.BIN",
        "size": len(content),
        "md5": hashlib.md5(content).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "description": "first",
        "signed": False,
    }
    got = admin.call("getFirmware", product=product, version="0.0.2")["firmware"]
    assert got == admin.call("listFirmware", product=product)["firmware"][0]
    assert {k: v for k, v in got.items() if k != "createdAt"} == firmware
    for name in ("commitFirmware", "abortFirmware"):
        refuse(admin, name, "not_found", "upload", upload=upload)


@pytest.mark.parametrize(
    "good",
    ["0", "a" * 32, "v1.2-rc_3", ".", "-", "A", "0.0.1"],
)
def test_good_versions(admin, product, good):
    assert admin.add_firmware(product, good, b"x", filename="f.bin")["version"] == good


def test_file_names(admin, product):
    limit = "n" * 124 + ".bin"
    good = ["a.bin", "a.BIN", "a.TaR", "a.tar.gz", "a.gz", "a.zip", "..bin", limit]
    good += ["\u00e9" * 62 + ".bin", "sp ace.bin", "-rf.bin", "<b>.bin", "\\x.bin"]
    bad = ["", ".bin", "bin", "a.exe", "a.bin ", "a/b.bin", "../a.bin", "n" + limit, "a.bin.exe"]
    bad += ["a\n.bin", "a\x7f.bin", "\u00e9" * 63 + ".bin", 1, None, ["a.bin"]]
    for name in good:
        upload = admin.call("addFirmware", **announce(product, "1", b"x", name))["upload"]
        admin.call("abortFirmware", upload=upload)
    for name in bad:
        fields = {**announce(product, "1", b"x"), "filename": name}
        answer = admin.call_raw({"commands": [{"command": "addFirmware", **fields}]})
        error = answer["responses"][0]
        assert (error["code"], error["field"]) == ("invalid_request", "filename"), name


@pytest.mark.parametrize("kind", ["tar", "gz", "zip"])
def test_archives_must_begin_as_they_are_called(admin, product, kind):
    good = archive(kind)
    assert admin.add_firmware(product, "good", good, filename=f"a.{kind}")["size"] == len(good)
    assert admin.add_firmware(product, "case", good, filename=f"a.{kind.upper()}")
    assert admin.add_firmware(product, "bin", good, filename="a.bin")
    before = read_all(admin)
    for bad in (b"not an archive at all", b"x", os.urandom(70_000), good[:1], b"\0" * 600):
        for size in (65536, 1, 100):  # the first block may be too short to tell
            if len(bad) > 700 * size:
                continue
            upload = admin.call("addFirmware", **announce(product, "bad", bad, f"a.{kind}"))[
                "upload"
            ]
            with pytest.raises(harness.ControlError) as refusal:
                send_blocks(admin, upload, bad, size=size)
                admin.call("commitFirmware", upload=upload)
            assert (refusal.value.code, refusal.value.field) == ("invalid_request", "filename")
            admin.call("abortFirmware", upload=upload)
    assert read_all(admin) == before


def test_what_arrives_must_be_what_was_announced(admin, product):
    content = os.urandom(1000)
    fields = announce(product, "1", content)
    fields["sha256"] = hashlib.sha256(b"something else").hexdigest()
    upload = admin.call("addFirmware", **fields)["upload"]
    # Not past the size, and nothing of a block that goes past it is kept.
    too_long = base64_of(content + b"x")
    refuse(admin, "uploadFirmwareBlock", "invalid_request", "data", upload=upload, offset=0,
           data=too_long)
    assert admin.call("addFirmware", **fields)["offset"] == 0
    send_blocks(admin, upload, content)
    refuse(admin, "uploadFirmwareBlock", "invalid_request", "data", upload=upload, offset=1000,
           data=base64_of(b"x"))
    refuse(admin, "commitFirmware", "checksum_mismatch", "sha256", upload=upload)
    assert versions(admin) == []
    admin.call("abortFirmware", upload=upload)
    assert admin.add_firmware(product, "1", content)


def test_offsets_and_blocks(admin, product):
    content = os.urandom(70_000)
    upload = admin.call("addFirmware", **announce(product, "1", content))["upload"]
    block = base64_of(content[:65536])
    assert admin.call("uploadFirmwareBlock", upload=upload, offset=0, data=block) == {
        "offset": 65536
    }
    # A block that arrives twice is told where to go on; nothing is taken twice.
    text = refuse(
        admin, "uploadFirmwareBlock", "conflict", "offset", upload=upload, offset=0, data=block
    )
    assert "65536" in text
    refuse(admin, "uploadFirmwareBlock", "conflict", "offset", upload=upload, offset=65537,
           data=base64_of(b"x"))
    for data in ("", "x", "AAA", "AAAA=", "A===", "====", "AA=A", "A*AA", "AAA\n", "AAAA AAA", 7):
        refuse(admin, "uploadFirmwareBlock", "invalid_request", "data", upload=upload,
               offset=65536, data=data)
    refuse(admin, "uploadFirmwareBlock", "invalid_request", "data", upload=upload, offset=65536,
           data=base64_of(b"x" * 65537))
    # Blocks of any length, over the edges of the store's own blocks.
    assert send_blocks(admin, upload, content, 65536, 1000) == len(content)
    firmware = admin.call("commitFirmware", upload=upload)["firmware"]
    assert firmware["md5"] == hashlib.md5(content).hexdigest()


def test_small_blocks_cross_the_edges_of_stored_ones(admin, product):
    content = os.urandom(200_001)
    upload = admin.call("addFirmware", **announce(product, "1", content))["upload"]
    assert send_blocks(admin, upload, content, size=49_999) == len(content)
    assert admin.call("commitFirmware", upload=upload)["firmware"]["size"] == len(content)


def test_a_size_limit(broker):
    ota = broker(options={"max_firmware_size": 1000})
    admin = ota.admin()
    admin.call("createProduct", product="p")
    refuse(admin, "addFirmware", "too_large", "size", **announce("p", "1", b"x" * 1001))
    assert admin.add_firmware("p", "1", b"x" * 1000)
    for size in (0, -1, 1.5, "1000", None, True):
        answer = admin.call_raw(
            {"commands": [{"command": "addFirmware", **announce("p", "2", b"x"), "size": size}]}
        )
        assert answer["responses"][0]["field"] == "size", size


def test_ten_megabytes_and_not_one_more(admin, product):
    content = os.urandom(10_485_760)
    fields = announce(product, "big", content)
    refuse(admin, "addFirmware", "too_large", "size", **{**fields, "size": 10_485_761})
    upload = admin.call("addFirmware", **fields)["upload"]
    blocks = [
        {
            "command": "uploadFirmwareBlock",
            "upload": upload,
            "offset": at,
            "data": base64_of(content[at : at + 65536]),
        }
        for at in range(0, len(content), 65536)
    ]
    bulk(admin, blocks, size=1)
    firmware = admin.call("commitFirmware", upload=upload)["firmware"]
    assert firmware["md5"] == hashlib.md5(content).hexdigest()


def test_a_products_limit(broker):
    ota = broker(options={"max_firmware_per_product": 2})
    admin = ota.admin()
    for product in ("p", "q"):
        admin.call("createProduct", product=product)
    waiting = admin.call("addFirmware", **announce("p", "late", b"x"))["upload"]
    send_blocks(admin, waiting, b"x")
    admin.add_firmware("p", "1")
    admin.add_firmware("p", "2")
    before = read_all(admin)
    refuse(admin, "addFirmware", "limit_exceeded", "product", **announce("p", "3", b"x"))
    refuse(admin, "commitFirmware", "limit_exceeded", "product", upload=waiting)
    assert read_all(admin) == before
    admin.add_firmware("q", "1")
    admin.call("deleteFirmware", product="p", version="1")
    assert admin.call("commitFirmware", upload=waiting)["firmware"]["version"] == "late"


def test_fifty_a_product(admin, product):
    for n in range(50):
        admin.add_firmware(product, str(n), b"x")
    refuse(admin, "addFirmware", "limit_exceeded", "product", **announce(product, "50", b"x"))
    admin.call("deleteFirmware", product=product, version="7")
    admin.add_firmware(product, "50", b"x")
    rows, pages = walk(admin, "listFirmware", 20, product=product)
    expected = [str(n) for n in range(50, -1, -1) if n != 7]
    assert [row["version"] for row in rows] == expected and pages == 3


def test_a_versions_bytes_never_change(admin, product):
    admin.add_firmware(product, "1", b"one")
    before = read_all(admin)
    for content in (b"one", b"two"):
        refuse(admin, "addFirmware", "already_exists", "version",
               **announce(product, "1", content))
    assert read_all(admin) == before
    admin.call("createProduct", product="other")
    assert admin.add_firmware("other", "1", b"two")
    admin.call("deleteFirmware", product=product, version="1")
    assert admin.add_firmware(product, "1", b"two")["md5"] == hashlib.md5(b"two").hexdigest()


def test_order(admin, product):
    assert admin.add_firmware(product, "a")["order"] == 1
    assert admin.add_firmware(product, "b", order=10)["order"] == 10
    assert admin.add_firmware(product, "c")["order"] == 11
    assert admin.add_firmware(product, "d", order=-5)["order"] == -5
    assert admin.add_firmware(product, "e", order=10)["order"] == 10
    assert admin.add_firmware(product, "f")["order"] == 12
    admin.call("createProduct", product="q")
    admin.add_firmware("q", "a", order=-5)
    assert admin.add_firmware("q", "b")["order"] == -4


def test_an_interrupted_upload_goes_on(ota, admin, product):
    content = os.urandom(300_000)
    fields = announce(product, "1", content)
    first = admin.call("addFirmware", **fields)
    send_blocks(admin, first["upload"], content[:131_172], size=65536)
    for restart in (ota.restart, lambda: (ota.kill9(), ota.start())):
        connects = admin.connects
        restart()
        admin.wait_reconnected(connects)
        again = admin.call("addFirmware", **fields)
        assert (again["upload"], again["offset"]) == (first["upload"], 131_172)
    # Another announcement is another upload.
    other = admin.call("addFirmware", **{**fields, "description": "not the same"})
    assert other["upload"] != first["upload"] and other["offset"] == 0
    send_blocks(admin, first["upload"], content, 131_172)
    firmware = admin.call("commitFirmware", upload=first["upload"])["firmware"]
    assert firmware["md5"] == hashlib.md5(content).hexdigest()


def test_two_admins_upload_the_same_version(broker):
    ota = broker(options={"admins": "admin,boss"})
    admin, boss = ota.admin(), ota.admin("boss")
    admin.call("createProduct", product="p")
    contents = {admin: os.urandom(100_000), boss: os.urandom(100_000)}
    uploads = {
        who: who.call("addFirmware", **announce("p", "1", content))["upload"]
        for who, content in contents.items()
    }
    assert uploads[admin] != uploads[boss]
    for at in (0, 65536):
        for who, content in contents.items():
            block = base64_of(content[at : at + 65536])
            who.call("uploadFirmwareBlock", upload=uploads[who], offset=at, data=block)
    # Nobody writes into another's upload, or ends it by a commit.
    refuse(boss, "commitFirmware", "not_found", "upload", upload=uploads[admin])
    refuse(boss, "uploadFirmwareBlock", "not_found", "upload", upload=uploads[admin], offset=0,
           data="AAAA")
    won = boss.call("commitFirmware", upload=uploads[boss])["firmware"]
    assert won["md5"] == hashlib.md5(contents[boss]).hexdigest()
    refuse(admin, "commitFirmware", "already_exists", "version", upload=uploads[admin])
    assert admin.call("getFirmware", product="p", version="1")["firmware"] == won
    assert len(admin.call("listFirmware", product="p")["firmware"]) == 1
    boss.call("abortFirmware", upload=uploads[admin])  # an admin may clear up behind another


def test_four_uploads_a_user(broker):
    ota = broker(options={"admins": "admin,boss"})
    admin, boss = ota.admin(), ota.admin("boss")
    admin.call("createProduct", product="p")
    uploads = [
        admin.call("addFirmware", **announce("p", str(n), b"x"))["upload"] for n in range(4)
    ]
    refuse(admin, "addFirmware", "limit_exceeded", **announce("p", "4", b"x"))
    assert admin.call("addFirmware", **announce("p", "3", b"x"))["upload"] == uploads[3]
    boss.call("addFirmware", **announce("p", "4", b"x"))
    admin.call("abortFirmware", upload=uploads[0])
    admin.call("addFirmware", **announce("p", "4", b"x"))


def test_a_signature_without_a_key_to_check_it(admin, product):
    before = read_all(admin)
    refuse(admin, "addFirmware", "bad_signature", "signature",
           **announce(product, "1", b"x", order=1, signature=base64_of(b"\0" * 64)))
    for bad in ("", "AAAA", "=" * 88, "*" * 88, base64_of(b"\0" * 63), 1):
        refuse(admin, "addFirmware", "invalid_request", "signature",
               **announce(product, "1", b"x", signature=bad))
    assert read_all(admin) == before


def test_descriptions_come_back_as_they_were(admin, product):
    for n, text in enumerate(ODD_TEXTS):
        version = f"v{n}"
        assert admin.add_firmware(product, version, b"x", description=text)["description"] == text
        got = admin.call("getFirmware", product=product, version=version)["firmware"]
        assert got["description"] == text


def test_not_found(admin, product):
    refuse(admin, "addFirmware", "not_found", "product", **announce("none", "1", b"x"))
    refuse(admin, "listFirmware", "not_found", "product", product="none")
    for name in ("getFirmware", "deleteFirmware"):
        refuse(admin, name, "not_found", "product", product="none", version="1")
        refuse(admin, name, "not_found", "version", product=product, version="1")
    for upload in (1, 2**63 - 1):
        refuse(admin, "uploadFirmwareBlock", "not_found", "upload", upload=upload, offset=0,
               data="AAAA")
        refuse(admin, "commitFirmware", "not_found", "upload", upload=upload)
        refuse(admin, "abortFirmware", "not_found", "upload", upload=upload)


def test_an_unfinished_task_keeps_its_firmware(ota, admin, product):
    admin.add_firmware(product, "1")
    admin.add_firmware(product, "2")
    admin.call("createDevice", product=product, device="d")
    task = admin.call("upgradeDevice", product=product, device="d", version="1")["task"]["task"]
    before = read_all(admin)
    refuse(admin, "deleteFirmware", "conflict", "version", product=product, version="1")
    assert read_all(admin) == before
    gone = admin.call("deleteFirmware", product=product, version="2")["firmware"]
    assert gone["version"] == "2"
    admin.call("cancelTask", task=task)
    admin.call("deleteFirmware", product=product, version="1")
    assert versions(admin) == []
    # The task outlives its firmware, but has nothing to try again with.
    assert admin.task(task)["version"] == "1"
    refuse(admin, "retryTask", "conflict", "task", task=task)


def test_versions_are_all_uploaded_and_all_reported_ones(ota, admin, product):
    for version in ("0.0.2", "0.0.3"):
        admin.add_firmware(product, version)
    one, two = ota.device(product, "one"), ota.device(product, "two")
    one.report_version("0.0.1")
    two.report_version("0.0.1")
    two.report_version("0.0.3")

    def listed():
        rows = admin.list_all("listVersions", "versions", product=product)
        return {row["version"]: (row["uploaded"], row["devices"]) for row in rows}

    expected = {"0.0.1": (False, 1), "0.0.2": (True, 0), "0.0.3": (True, 1)}
    assert listed() == expected
    ota.restart()
    admin.wait_reconnected(1)
    assert listed() == expected
    refuse(admin, "listVersions", "not_found", "product", product="none")


def test_many_versions_in_pages(broker):
    ota = broker(options={"max_firmware_per_product": 1000})
    admin = ota.admin()
    admin.call("createProduct", product="p")
    for n in range(101):
        admin.add_firmware("p", f"u{n}", b"x")
    devices = [ota.device("p", f"d{n}", subscribe=False) for n in range(2)]
    since = len(devices[0].messages)
    devices[0].subscribe(devices[0].update_topic)
    for n in range(120):
        devices[0].report({"type": "report_version", "report": {"version": f"r{n}"}})
    devices[0].wait_for(lambda: len(devices[0].updates("report_version_rsp", since)) == 120)
    rows, _ = walk(admin, "listVersions", 50, product="p")
    names = [row["version"] for row in rows]
    assert len(names) == len(set(names))
    assert {f"u{n}" for n in range(101)} <= set(names) and "r119" in names
    history, pages = walk(admin, "listDeviceHistory", 7, product="p", device="d0")
    assert [row["version"] for row in history] == [f"r{n}" for n in range(119, -1, -1)]
    assert pages == 18
    times = [row["at"] for row in history]
    assert times == sorted(set(times), reverse=True)


@pytest.mark.parametrize("name", ["op", "viewer"])
def test_denied(ota, admin, product, name):
    admin.add_firmware(product, "1", b"x")
    upload = admin.call("addFirmware", **announce(product, "2", b"x"))["upload"]
    before = read_all(admin)
    low = ota.admin(name)
    refuse(low, "addFirmware", "forbidden", **announce(product, "3", b"x"))
    refuse(low, "uploadFirmwareBlock", "forbidden", upload=upload, offset=0, data="AAAA")
    for command in ("commitFirmware", "abortFirmware"):
        refuse(low, command, "forbidden", upload=upload)
    refuse(low, "deleteFirmware", "forbidden", product=product, version="1")
    for command in ("listFirmware", "getFirmware", "listVersions"):
        version = "1" if command == "getFirmware" else None
        assert low.call(command, product=product, version=version)
    assert read_all(admin) == before
