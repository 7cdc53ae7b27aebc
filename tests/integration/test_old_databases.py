# SPDX-License-Identifier: BSD-3-Clause
"""What an earlier version wrote opens, is migrated, says the same, and goes on."""
import contextlib
import sqlite3

import pytest

import harness
import old_databases
import vendor


def assert_includes(now, then, where):
    """All that was said then is said now; something may have come to it."""
    if isinstance(then, dict):
        assert isinstance(now, dict) and then.keys() <= now.keys(), where
        for key, value in then.items():
            assert_includes(now[key], value, f"{where}/{key}")
    elif isinstance(then, list) and isinstance(now, list):
        assert len(now) == len(then), where
        for number, value in enumerate(then):
            assert_includes(now[number], value, f"{where}/{number}")
    else:
        assert now == then, where


@pytest.fixture(name="opened", params=old_databases.names())
def opened_database(request, tmp_path, broker):
    """(the broker that opened it, what was said then)."""
    path = tmp_path / "old.db"
    then = old_databases.unpack(request.param, path)
    return broker(options=old_databases.options(path), config=old_databases.CONFIG), then


def newest_schema():
    return len(list((harness.ROOT / "schema").glob("*.sql")))


def test_there_are_some():
    assert old_databases.names()


def test_says_the_same(opened):
    ota, then = opened
    admin = ota.admin()
    assert admin.call("getInfo")["schemaVersion"] == newest_schema()
    for _ in range(2):  # the second time as it was written anew
        assert_includes(old_databases.answers(admin), then["answers"], "answers")
        connects = admin.connects
        ota.restart()
        admin.wait_reconnected(connects)
    ota.stop()
    path = ota.options["db_path"]
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    kept = path.with_name(f"{path.name}.v{then['schemaVersion']}.bak")
    assert kept.exists() == (then["schemaVersion"] < newest_schema())


def test_goes_on(opened):
    ota, _ = opened
    admin = ota.admin()
    # An upgrade that was under way …
    device = ota.device("p", "sent")
    device.report_version("1")
    notice = device.wait_notice("2")
    device.run_upgrade(notice)
    admin.wait_status(notice["task"], "succeeded")
    # … and a batch that was paused.
    (batch,) = admin.call("listBatches", product="fleet")["batches"]
    admin.call("resumeBatch", batch=batch["batch"])
    for number in range(2):
        member = ota.device("fleet", f"f{number}")
        member.report_version("1")
        notice = member.wait_notice("2")
        member.run_upgrade(notice)
        admin.wait_status(notice["task"], "succeeded")


def test_a_secret_still_opens_the_door(opened):
    ota, then = opened
    if "key" not in then:
        pytest.skip("secrets came later")
    connect = {secret: vendor.connect(ota, "secret", secret, product="q").connect_code
               for secret in (vendor.KEY, vendor.OTHER_KEY)}
    assert connect[vendor.KEY] == 0 and connect[vendor.OTHER_KEY] != 0


def test_a_downgrade_is_refused_with_a_sentence(opened):
    ota, _ = opened
    ota.stop()
    path = ota.options["db_path"]
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {newest_schema() + 1}")
    with pytest.raises(harness.BrokerDied, match="install the newer mosquitto-ota that wrote"):
        ota.start()
