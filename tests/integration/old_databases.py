# SPDX-License-Identifier: BSD-3-Clause
"""Databases as earlier versions wrote them, in tests/fixtures/databases: NAME.db.gz, and NAME.json
with what that version answered. Run as a program (scripts/database-fixture) this makes them."""
import base64
import gzip
import json
import sys
import tempfile
from pathlib import Path

import harness
import vendor
from common import LET_IN
from control_help import bulk, read_all
from test_restart import fill

FOLDER = harness.ROOT / "tests" / "fixtures" / "databases"
FLEET = 12
# They grow old, and must not be forgotten for it.
OPTIONS = {"keep_history_days": 0, "keep_audit_days": 0, "device_auth": "vendor"}
# Everybody else may log in.
CONFIG = f"plugin {LET_IN}"


def answers(admin):
    """All that can be read, by a text that says what was asked; without the schema's version."""
    seen = {json.dumps(key): value for key, value in read_all(admin).items()}
    seen['"getInfo"'].pop("schemaVersion")
    return json.loads(json.dumps(seen))


def names():
    return sorted(path.name.removesuffix(".db.gz") for path in FOLDER.glob("*.db.gz"))


def options(path):
    return {**OPTIONS, "db_path": path, "secret_keyfile": path.with_suffix(".key")}


def unpack(name, path):
    """What was said of it; the database and, since it has secrets, their key are put there."""
    path.write_bytes(gzip.decompress((FOLDER / f"{name}.db.gz").read_bytes()))
    then = json.loads((FOLDER / f"{name}.json").read_text())
    if "key" in then:
        key = path.with_suffix(".key")
        key.touch(0o600)
        key.write_bytes(base64.b64decode(then["key"]))
    return then


def add_batch(admin):
    """One that waits for somebody to go on with it."""
    admin.call("createProduct", product="fleet")
    admin.add_firmware("fleet", "2", b"fleet" * 100)
    bulk(admin, [{"command": "createDevice", "product": "fleet", "device": f"f{n}"}
                 for n in range(FLEET)])
    batch = admin.call("createBatch", product="fleet", version="2", target={"all": True},
                       name="everybody")["batch"]["batch"]
    while admin.call("getBatch", batch=batch)["batch"]["state"] != "running":
        pass
    admin.call("pauseBatch", batch=batch)


def add_access(admin):
    """Who may log in, and who speaks for whom."""
    admin.call("createDevice", product="q", device="secret")
    admin.call("setDeviceSecret", product="q", device="secret", secret=vendor.KEY)
    admin.call("createDevice", product="q", device="gateway")
    admin.call("bindDevice", product="p", device="held", gatewayProduct="q", gateway="gateway")
    admin.call("createToken", name="ci", role="operator")


def make(name, folder):
    settings = options(folder / "ota.db")
    ota = harness.Broker(folder, options=settings, config=CONFIG).start()
    try:
        admin = ota.admin()
        fill(ota, admin, bytes)
        add_batch(admin)
        add_access(admin)
        seen = answers(admin)
        version = admin.call("getInfo")["schemaVersion"]
    finally:
        ota.close()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.db.gz").write_bytes(gzip.compress(ota.db_path.read_bytes(), 9, mtime=0))
    key = base64.b64encode(settings["secret_keyfile"].read_bytes()).decode()
    written = {"schemaVersion": version, "key": key, "answers": seen}
    (FOLDER / f"{name}.json").write_text(json.dumps(written, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        make(sys.argv[1], Path(place))
