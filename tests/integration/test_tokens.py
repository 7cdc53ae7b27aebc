# SPDX-License-Identifier: BSD-3-Clause
"""Tokens: what a build server shows instead of a password, at the HTTP door."""
import hashlib
import http.client
import json
import time

import pytest

from clients import ControlError
from console_help import Events, wait_until
from control_help import refuse

ROLES = ("viewer", "operator", "admin")


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def make(admin, name="ci", role="admin", **fields):
    made = admin.call("createToken", name=name, role=role, **fields)
    return made["token"]["token"], made["secret"]


def commands(console, secret, *names):
    answer = console.control(*({"command": name} for name in names), headers=bearer(secret))
    return answer.status, [r.get("code", "ok") for r in answer.json.get("responses", [])]


def test_what_each_role_may(console):
    admin = console.broker.admin()
    admin.call("createProduct", product="lamp")
    for role in ROLES:
        _, secret = make(admin, name=role, role=role)
        assert console.get("/api/v1/session", headers=bearer(secret)).json == {
            "user": f"token:{role}", "role": role}
        assert console.get("/metrics", headers=bearer(secret)).status == 200
        wanted = ["ok", "invalid_request", "invalid_request"]  # those two lack their fields
        wanted[1 + ROLES.index(role):] = ["forbidden"] * (2 - ROLES.index(role))
        assert commands(console, secret, "listProducts", "upgradeDevice", "createProduct") == (
            200, wanted)


def test_a_build_server_uploads_and_upgrades(console):
    admin = console.broker.admin()
    admin.call("createProduct", product="lamp")
    _, secret = make(admin)
    content = bytes(range(256)) * 1000
    stream = Events(console, user=None, headers=bearer(secret))

    def call(name, **fields):
        answer = console.control({"command": name, **fields}, headers=bearer(secret))
        return answer.json["responses"][0]["data"]

    upload = call("addFirmware", product="lamp", version="1.0", filename="a.bin",
                  size=len(content), sha256=hashlib.sha256(content).hexdigest())["upload"]
    answer = console.put(upload, 0, content, user=None, headers=bearer(secret))
    assert answer.json == {"offset": len(content)}
    call("commitFirmware", upload=upload)
    lamp = console.broker.device("lamp", "d1")
    lamp.report_version("0.9")
    call("upgradeDevice", product="lamp", device="d1", version="1.0")
    assert lamp.download(lamp.wait_notice()) == content
    stream.wait(lambda event, data: event == "task" and data["device"] == "d1")
    stream.close()
    entries = console.call("listAudit", action="upgradeDevice")["entries"]
    assert [(e["user"], e["client"]) for e in entries] == [("token:ci", "http:127.0.0.1")]


def test_revoked_is_dead_at_once(console):
    admin = console.broker.admin()
    number, secret = make(admin)
    other, kept = make(admin, name="other", role="viewer")
    on = console.connection()
    assert console.get("/api/v1/session", headers=bearer(secret), on=on).status == 200
    streams = [Events(console, user=None, headers=bearer(s)) for s in (secret, kept)]
    assert [s.status for s in streams] == [200, 200]
    assert admin.call("revokeToken", token=number)["token"]["name"] == "ci"
    for path in ("/api/v1/session", "/metrics", "/api/v1/events"):
        answer = console.get(path, headers=bearer(secret), on=on)
        assert (answer.status, answer.code) == (401, "forbidden")
    assert commands(console, secret, "listProducts")[0] == 401
    assert console.put(1, 0, b"x", user=None, headers=bearer(secret)).status == 401
    streams[0].wait_end()
    assert not streams[1].ended
    for stream in streams:
        stream.close()
    assert [t["token"] for t in admin.call("listTokens")["tokens"]] == [other]


def test_what_is_no_token(console):
    admin = console.broker.admin()
    _, secret = make(admin)
    for text in ("", "ota_", secret[:-1], secret + "0", secret[4:], secret.upper(), "x" * 600,
                 secret[:-1] + "\u00e9"):
        answer = console.get("/api/v1/session", headers=bearer(text))
        assert answer.status == 401, text
    assert console.get("/api/v1/session", headers={"Authorization": f"bearer  {secret} "}).status \
        == 200
    assert console.get("/api/v1/session", headers={"Authorization": f"Digest {secret}"}).status \
        == 401
    # a browser on another site's page can't use one either
    foreign = {**bearer(secret), "Origin": "http://evil.example"}
    assert console.control({"command": "listProducts"}, headers=foreign).status == 403
    console.broker.wait_log("console: a login from 127.0.0.1 failed: there is no such token")
    wait_until(lambda: {e["target"] for e in console.call("listAudit", action="login")["entries"]}
               == {"unknown token"}, "not noted")
    assert not [line for line in console.broker.log if secret[4:20] in line]


def test_it_ends_at_its_time(console):
    admin = console.broker.admin()
    refuse(admin, "createToken", "invalid_request", field="expireAt", name="x", role="viewer",
           expireAt=1)
    at = int(time.time() * 1000) + 1500
    _, secret = make(admin, expireAt=at)
    assert console.get("/api/v1/session", headers=bearer(secret)).status == 200
    wait_until(lambda: console.get("/api/v1/session", headers=bearer(secret)).status == 401,
               "it never ends")
    (token,) = admin.call("listTokens")["tokens"]
    assert (token["expireAt"], token["role"], token["roleNow"]) == (at, "admin", None)


def test_it_never_may_more_than_its_maker(consoles, tmp_path):
    roles = tmp_path / "roles"
    roles.write_text("boss admin\n")
    console = consoles(roles_file=roles)
    number, secret = make(console.broker.admin("boss"))

    def role():
        return console.get("/api/v1/session", headers=bearer(secret)).json.get("role")

    assert role() == "admin"
    stream = Events(console, user=None, headers=bearer(secret))
    roles.write_text("boss viewer\n")
    console.broker.reload()
    wait_until(lambda: role() == "viewer", "still an admin")
    assert commands(console, secret, "createProduct") == (200, ["forbidden"])
    roles.write_text("")
    console.broker.reload()
    wait_until(lambda: role() is None, "still somebody")
    stream.wait_end()
    stream.close()
    roles.write_text("boss admin\n")
    console.broker.reload()
    wait_until(lambda: role() == "admin", "not again an admin")


def test_who_may_make_them(console):
    for user in ("op", "viewer"):
        for name, fields in (("createToken", {"name": "x", "role": "viewer"}),
                             ("listTokens", {}), ("revokeToken", {"token": 1})):
            refuse(console.broker.admin(user), name, "forbidden", **fields)
    _, secret = make(console.broker.admin())
    answer = console.control({"command": "createToken", "name": "more", "role": "viewer"},
                             headers=bearer(secret))
    assert answer.json["responses"][0]["code"] == "forbidden"
    assert len(console.call("listTokens")["tokens"]) == 1


def test_the_secret_is_shown_once_and_kept_nowhere(console):
    admin = console.broker.admin()
    first = admin.call("createToken", name="ci", role="admin", requestId="r")
    again = admin.call("createToken", name="ci", role="admin", requestId="r")
    assert again == {"token": first["token"]}
    secret = first["secret"]
    assert secret not in json.dumps(admin.call("listTokens"))
    assert secret not in json.dumps(admin.call("listAudit"))
    assert console.get("/api/v1/session", headers=bearer(secret)).status == 200
    wait_until(lambda: admin.call("listTokens")["tokens"][0]["lastUsedAt"], "no last use")
    console.broker.restart()
    assert console.get("/api/v1/session", headers=bearer(secret)).status == 200
    assert console.broker.admin().call("listTokens")["tokens"][0]["lastUsedAt"]
    console.broker.stop()
    for path in console.broker.db_path.parent.glob(f"{console.broker.db_path.name}*"):
        assert secret[4:].encode() not in path.read_bytes(), path
    assert not [line for line in console.broker.log if secret[4:] in line]


def test_otactl_makes_one(console):
    run = console.broker.otactl("token", "create", "ci", "operator", "--expire-at", "+90d")
    secret = next(word for word in run.stdout.split() if word.startswith("ota_"))
    assert "once" in run.stderr
    assert console.get("/api/v1/session", headers=bearer(secret)).json["role"] == "operator"
    assert secret not in console.broker.otactl("token", "list").stdout
    console.broker.otactl("token", "revoke", "1")
    assert console.get("/api/v1/session", headers=bearer(secret)).status == 401
