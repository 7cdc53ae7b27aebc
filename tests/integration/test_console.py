# SPDX-License-Identifier: BSD-3-Clause
"""The HTTP door: who gets in, and what is asked and answered."""
import base64
import gzip
import hashlib
import threading
import time

import pytest

from clients import ControlError
from common import ROOT
from console_help import PASSWORDS, wait_until, write_passwords


READ_AGAIN = "who may log in to the console was read again"


def failed_logins(console):
    return console.call("listAudit", action="login")["entries"]


# --- who gets in


def test_without_a_password_file_it_is_off(broker):
    one = broker()
    one.wait_log("the console is off: without plugin_opt_password_file")
    assert one.admin().call("getInfo")["console"] is None


def test_its_options(consoles, broker):
    off = consoles(console_listen="off")
    assert off.broker.admin().call("getInfo")["console"] is None
    with pytest.raises(ConnectionRefusedError):
        off.get("/healthz")
    console = consoles()
    assert console.broker.admin().call("getInfo")["console"]["users"] == len(PASSWORDS)
    for option, value, said in (
        ("console_listen", f"127.0.0.1:{console.port}", "console_listen: can't listen on"),
        ("console_listen", "localhost", "console_listen: 'localhost' is not an address"),
        ("password_file", "/nowhere", "password_file: can't read /nowhere"),
        ("metrics_public", "yes", "plugin_opt_metrics_public yes: may be true or false"),
    ):
        with pytest.raises(AssertionError, match=said):
            broker(options={**off.options, "console_listen": "127.0.0.1:0", option: value})


def test_a_session(console):
    assert console.get("/api/v1/session").status == 401
    answer = console.login("op")
    assert (answer.status, answer.json) == (200, {"user": "op", "role": "operator"})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("ota_session=") and len(console.cookie) == 64
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie
    proxied = console.login("op", headers={"X-Forwarded-Proto": "https"})
    assert proxied.headers["Set-Cookie"].endswith("; Secure")
    assert console.get("/api/v1/session").json == {"user": "op", "role": "operator"}
    answer = console.ask("POST", "/api/v1/logout")
    assert answer.status == 204 and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert console.get("/api/v1/session").status == 401
    assert console.ask("POST", "/api/v1/logout").status == 401


def test_a_login_ends_the_session_that_the_browser_had(console):
    console.login("op")
    first = console.cookie
    stream = console.events(user=None, headers={"Cookie": f"ota_session={first}"})
    console.login("viewer")  # shows the cookie, as a browser does
    assert console.get("/api/v1/session").json["user"] == "viewer"
    stream.wait_end()
    stream.close()
    other, console.cookie = console.cookie, first
    assert console.get("/api/v1/session").status == 401
    console.cookie = None  # another browser
    console.login("viewer")
    console.cookie = other
    assert console.get("/api/v1/session").status == 200


def test_wrong_passwords(console):
    for user, word in (("admin", "wrong"), ("admin", ""), ("stranger", "x"), ("x" * 500, "x")):
        answer = console.login(user, word)
        assert (answer.status, answer.code) == (401, "forbidden")
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
        assert "Set-Cookie" not in answer.headers
    assert console.get("/api/v1/session", user="admin", password="wrong").status == 401
    assert console.login("nobody").status == 403  # right, but without a role
    for body in ({}, {"user": "admin"}, {"user": 1, "password": "x"}, [],
                 {"user": "admin", "password": "x", "more": 1}):
        assert console.ask("POST", "/api/v1/login", body).status == 400
    wait_until(lambda: sum(e.get("count", 1) for e in failed_logins(console)) == 5, "not noted")
    entries = failed_logins(console)
    assert {(e["user"], e["target"], e["code"], e["client"]) for e in entries} == {
        ("admin", None, "forbidden", "http:127.0.0.1"),
        (None, "unknown user", "forbidden", "http:127.0.0.1"),
    }
    console.broker.wait_log("console: a login from 127.0.0.1 failed")
    assert not [line for line in console.broker.log if "stranger" in line]


def test_a_browser_is_not_asked_for_a_password_by_itself(console):
    # over plain HTTP, and not to localhost, it doesn't say Sec-Fetch-Site
    for said in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": console.origin()},
                 {"Accept-Language": "de"}):
        answer = console.get("/api/v1/session", headers=said)
        assert answer.status == 401 and "WWW-Authenticate" not in answer.headers


def test_guessing_is_slowed_down_for_the_user_alone(console):
    statuses = [console.login("op", f"guess {i}").status for i in range(12)]
    assert statuses.index(429) == 10 and set(statuses[10:]) == {429}
    answer = console.login("op")  # the right one has to wait, too
    assert answer.status == 429 and 1 <= int(answer.headers["Retry-After"]) <= 30
    assert answer.code == "limit_exceeded"
    assert console.login("admin").status == 200
    wait_until(lambda: console.login("op").status == 200, "never let in again")
    assert console.login("op").status == 200


def test_many_guesses_at_once_are_no_way_around(console):
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(console.login("op", "no").status))
        for _ in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(401) == 10 and statuses.count(429) == 14


def test_basic_is_verified_once(consoles):
    word = base64.b64encode(b"admin:slow").decode()
    salt = base64.b64encode(b"0123456789ab").decode()
    digest = hashlib.pbkdf2_hmac("sha512", b"slow", b"0123456789ab", 150_000)
    console = consoles(passwords={})
    line = f"admin:$7$150000${salt}${base64.b64encode(digest).decode()}\n"
    console.passwords.write_text(line)
    console.broker.reload()
    console.broker.wait_log(READ_AGAIN)
    headers = {"Authorization": f"Basic {word}"}
    begin = time.monotonic()
    assert console.get("/api/v1/session", headers=headers).status == 200
    first = time.monotonic() - begin
    begin = time.monotonic()
    for _ in range(20):
        assert console.get("/api/v1/session", headers=headers).status == 200
    assert (time.monotonic() - begin) / 20 < first / 2
    unknown = {"Authorization": "Basic " + base64.b64encode(b"who:slow").decode()}
    begin = time.monotonic()
    assert console.get("/api/v1/session", headers=unknown).status == 401
    assert time.monotonic() - begin > first / 4  # as dear as one that exists


def test_both_formats_of_mosquitto_passwd(consoles):
    console = consoles(passwords={"op": PASSWORDS["op"]})
    salt = b"saltsaltsalt"
    digest = hashlib.sha512(PASSWORDS["viewer"].encode() + salt).digest()
    with console.passwords.open("a") as file:
        file.write(f"viewer:$6${base64.b64encode(salt).decode()}")
        file.write(f"${base64.b64encode(digest).decode()}\n")
        file.write("newer:$argon2id$v=19$m=12288,t=3,p=1$abc$def\n")
    console.broker.reload()
    console.broker.wait_log("line 3: this user can't log in: .*argon2")
    console.broker.wait_log(READ_AGAIN)
    assert console.login("op").json["role"] == "operator"
    assert console.login("viewer").json["role"] == "viewer"


def test_a_broken_password_file_stops_the_start_but_not_a_running_console(consoles, broker):
    console = consoles()
    console.login("viewer")
    console.passwords.write_text("admin:plain text\n")
    console.broker.reload()
    console.broker.wait_log("stays as it was: password_file: .* line 1: .*mosquitto_passwd -U")
    assert console.get("/api/v1/session").status == 200
    with pytest.raises(AssertionError, match="line 1"):
        broker(options={**console.options, "console_listen": "127.0.0.1:0"})


# --- what a reload does to those who are in


def test_a_removed_user_and_a_changed_password_end_sessions(console):
    cookies = {}
    for user in ("admin", "op", "viewer"):
        console.cookie = None  # each has a browser
        console.login(user)
        cookies[user] = console.cookie
    stream = console.events(user="op")
    assert console.get("/api/v1/session", user="op").status == 200  # in the cache of Basic
    # op's stays, admin's changes, viewer's goes
    lines = console.passwords.read_text().splitlines()
    write_passwords(console.passwords, {"admin": "another"})
    kept = [line for line in lines if line.startswith("op:")]
    console.passwords.write_text(console.passwords.read_text() + "\n".join(kept) + "\n")
    console.broker.reload()
    console.broker.wait_log(READ_AGAIN)
    statuses = {}
    for user, console.cookie in cookies.items():
        statuses[user] = console.get("/api/v1/session").status
    assert statuses == {"admin": 401, "op": 200, "viewer": 401}
    assert console.get("/api/v1/session", user="viewer").status == 401
    assert console.get("/api/v1/session", user="op").status == 200
    assert console.login("admin", "another").status == 200
    stream.close()


def test_a_changed_role_holds_at_once(consoles, tmp_path):
    roles = tmp_path / "roles"
    roles.write_text("op operator\n")
    console = consoles(roles_file=roles, operators=None)
    console.login("op")
    assert console.get("/api/v1/session").json["role"] == "operator"
    roles.write_text("op viewer\n")
    console.broker.reload()
    wait_until(lambda: console.get("/api/v1/session").json["role"] == "viewer", "still operator")
    answer = console.control({"command": "upgradeDevice"})
    assert answer.json["responses"][0]["code"] == "forbidden"
    roles.write_text("")
    console.broker.reload()
    wait_until(lambda: console.get("/api/v1/session").status == 401, "still in")


# --- where a request may come from


def test_a_session_is_for_our_own_pages(console):
    console.login("admin")
    command = {"command": "listProducts"}
    foreign = (
        {"Origin": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{console.port + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    )
    for headers in foreign:
        assert console.control(command, headers=headers).status == 403, headers
    for headers in ({}, {"Origin": None, "Sec-Fetch-Site": "same-origin"}):
        assert console.control(command, headers=headers).status == 200, headers
    assert console.ask("POST", "/api/v1/logout", headers={"Origin": None}).status == 403
    # a browser that knows a password is held back as well, a script isn't
    assert console.control(command, user="admin").status == 200
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert console.control(command, user="admin", headers=cross).status == 403
    assert console.login("admin", headers={**cross, "Origin": None, "Cookie": None}).status == 403


def test_a_name_that_is_not_ours_is_refused(consoles):
    console = consoles(console_hosts="fw.example.com, second.example")
    for host, status in (
        ("evil.example", 421),
        (f"127.0.0.1:{console.port}", 200),
        ("192.0.2.7", 200),
        ("[::1]:8070", 200),
        ("localhost:8070", 200),
        ("FW.example.com:8070", 200),
        ("second.example", 200),
        ("example.com", 421),
        ("127.0.0.1.evil.example", 421),
    ):
        assert console.get("/", headers={"Host": host}).status == status, host
    assert console.get("/healthz", headers={"Host": "evil.example"}).status == 200


# --- paths, methods, types, sizes


SECURITY = {
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def test_paths_methods_and_types(console):
    cases = (
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v2/control", 404),
        ("GET", "/%2e%2e/etc/passwd", 404),
        ("GET", "/../etc/passwd", 404),
        ("GET", "/" + "x" * 1000, 414),
        ("POST", "/", 405),
        ("DELETE", "/api/v1/session", 405),
        ("OPTIONS", "/api/v1/control", 405),
        ("GET", "/api/v1/control", 405),
        ("GET", "/api/v1/login", 405),
        ("PUT", "/api/v1/control", 405),
        ("POST", "/api/v1/uploads/1?offset=0", 405),
        ("HEAD", "/", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/api/v1/control", 405),
    )
    for method, path, status in cases:
        answer = console.ask(method, path)
        assert answer.status == status, (method, path)
        assert ("Allow" in answer.headers) == (status == 405)
        for name, value in SECURITY.items():
            assert answer.headers[name].startswith(value), (path, name)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        answer = console.ask(
            "POST", "/api/v1/control", b'{"commands":[]}', user="admin",
            headers={"Content-Type": kind},
        )
        assert answer.status == 415, kind
    answer = console.ask(
        "POST", "/api/v1/control", b'{"commands":[{"command":"getInfo"}]}', user="admin",
        headers={"Content-Type": "Application/JSON; charset=utf-8"},
    )
    assert answer.status == 200


def test_what_is_too_large_is_told_so(console):
    on = console.connection()
    for path, size in (("login", 5000), ("control", 131_073), ("control", 1 << 20)):
        answer = console.ask(
            "POST", f"/api/v1/{path}", b" " * size, user="admin", on=on,
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status, answer.code) == (413, "too_large")
    assert console.get("/healthz", on=on).status == 200  # the connection lives
    on = console.connection()
    on.putrequest("PUT", "/api/v1/uploads/1?offset=0")
    on.putheader("Content-Length", str((1 << 20) + 1))
    on.endheaders()  # who sends the body at once is hung up on, and may not hear it
    assert on.getresponse().status == 413
    on.close()
    answer = console.ask("GET", "/healthz", b"a body", on=console.connection())
    assert answer.status == 413


def test_the_page(console):
    plain = console.get("/", headers={"Accept-Encoding": "identity"})
    assert plain.status == 200 and "Content-Encoding" not in plain.headers
    assert plain.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"mosquitto-ota" in plain.body
    packed = console.get("/index.html", headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert packed.headers["Content-Encoding"] == "gzip" and len(packed.body) < len(plain.body)
    assert gzip.decompress(packed.body) == plain.body
    assert console.get("/", headers={"Accept-Encoding": "gzip;q=0"}).body == plain.body
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert plain.headers["Cache-Control"] == "no-cache"
    again = console.get("/", headers={"If-None-Match": plain.headers["ETag"]})
    assert again.status == 304 and not again.body


def test_every_file_of_the_page_is_there(console):
    files = [path for path in (ROOT / "console").rglob("*") if path.is_file()]
    served = (".html", ".js", ".css", ".svg", ".png", ".webmanifest")
    assert all(path.suffix in served for path in files)
    on = console.connection()
    for path in files:
        answer = console.get(f"/{path.relative_to(ROOT / 'console')}", on=on)
        assert answer.status == 200 and answer.body == path.read_bytes(), path


def test_console_dir(consoles, tmp_path):
    folder = tmp_path / "page"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text("<p>mine</p>")
    (folder / "js" / "app.js").write_text("export {};")
    (folder / ".hidden.js").write_text("no")
    (folder / "notes.txt").write_text("no")
    (tmp_path / "outside.html").write_text("no")
    console = consoles(console_dir=folder)
    assert console.get("/").body == b"<p>mine</p>"
    answer = console.get("/js/app.js")
    assert answer.body == b"export {};" and answer.headers["Content-Type"].startswith(
        "text/javascript"
    )
    (folder / "index.html").write_text("<p>changed</p>")
    assert console.get("/").body == b"<p>changed</p>"
    for path in ("/../outside.html", "/js/../../outside.html", "/.hidden.js", "/notes.txt", "/js",
                 "/js/", "//etc/passwd", "/%2e%2e/outside.html", "/index.html%00.js",
                 "/./index.html", f"/{tmp_path}/outside.html"):
        # a newer libmicrohttpd refuses a %00 itself
        assert console.get(path).status in (404, *[400] * ("%00" in path)), path


# --- commands


def test_commands_of_every_role(console):
    console.call("createProduct", product="lamp")
    answer = console.control(
        {"command": "listProducts", "correlationData": "a"},
        {"command": "deleteProduct", "product": "lamp", "correlationData": "b"},
        {"command": "noSuch"},
        user="viewer",
    )
    first, second, third = answer.json["responses"]
    assert first["correlationData"] == "a" and first["data"]["products"][0]["product"] == "lamp"
    assert (second["code"], second["correlationData"]) == ("forbidden", "b")
    assert third["code"] == "invalid_request"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    entries = console.call("listAudit")["entries"]
    seen = {(e["user"], e["client"], e["command"], e["code"]) for e in entries}
    assert ("admin", "http:127.0.0.1", "createProduct", "ok") in seen
    assert ("viewer", "http:127.0.0.1", "deleteProduct", "forbidden") in seen


def test_a_message_that_is_none(console):
    for body in (b"", b"{", b"[]", b'{"commands":[]}', b'{"commands":[{}],"x":1}', b"\xff\xfe"):
        answer = console.ask(
            "POST", "/api/v1/control", body, user="admin",
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status, answer.code) == (400, "invalid_request"), body
    assert console.control({"command": "listProducts"}).status == 401


def test_one_requestid_for_both_doors(console):
    admin = console.broker.admin()
    admin.call("createProduct", product="lamp", requestId="one")
    console.call("createProduct", product="lamp", requestId="one")
    answer = console.control(
        {"command": "createProduct", "product": "lamp", "requestId": "two"}, user="admin"
    )
    assert answer.json["responses"][0]["code"] == "already_exists"
    console.call("createProduct", product="door", requestId="three")
    with pytest.raises(ControlError, match="requestId"):
        admin.call("createProduct", product="other", requestId="three")


def test_many_at_once_are_all_answered(console):
    console.call("createProduct", product="lamp")
    answers = []

    def work(number):
        on = console.connection()
        for i in range(5):
            answers.append(
                console.control(
                    {"command": "createDevice", "product": "lamp", "device": f"d{number}-{i}"},
                    {"command": "listDevices", "product": "lamp"},
                    user="admin",
                    on=on,
                )
            )

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status for a in answers] == [200] * 80
    assert not [r for a in answers for r in a.json["responses"] if "error" in r]
    assert console.call("listProducts")["products"][0]["devices"] == 80


def test_who_goes_away_and_a_broker_that_stops(console):
    """Nobody waits for an answer that never comes, and none goes where nobody is."""
    console.call("createProduct", product="lamp")
    body = b'{"commands":[' + b'{"command":"listProducts"},' * 99 + b'{"command":"getInfo"}]}'
    for _ in range(20):
        on = console.connection()
        word = base64.b64encode(b"admin:" + PASSWORDS["admin"].encode()).decode()
        on.request(
            "POST", "/api/v1/control", body,
            {"Authorization": f"Basic {word}", "Content-Type": "application/json"},
        )
        on.sock.close()
    assert console.call("getInfo")["version"]
    left = [console.connection() for _ in range(20)]
    for on in left:
        on.request(
            "POST", "/api/v1/control", body,
            {"Authorization": f"Basic {word}", "Content-Type": "application/json"},
        )
    stream = console.events()
    console.broker.stop()
    stream.wait_end()
    for on in left:
        try:
            assert on.getresponse().status in (200, 503)
        except OSError:
            pass  # it was closed: fair, too
        on.close()


def test_an_idle_broker_is_woken(console):
    """Without a call it looks at its mailbox every 100 ms; a walk of many steps took as many."""
    on = console.connection()
    console.control({"command": "getInfo"}, user="admin", on=on)  # the password is checked
    took = []
    for _ in range(30):
        begin = time.monotonic()
        assert console.control({"command": "listProducts"}, user="admin", on=on).status == 200
        took.append(time.monotonic() - begin)
    assert sorted(took)[15] < 0.05, took


# --- uploads


def test_firmware_in_one_piece(console, device=None):
    content = b"\x00" + bytes(range(256)) * 8000
    console.call("createProduct", product="lamp")
    firmware = console.upload("lamp", "1.0", content)
    assert firmware["md5"] == hashlib.md5(content).hexdigest()
    lamp = console.broker.device("lamp", "d1")
    lamp.report_version("0.9")
    console.call("upgradeDevice", user="op", product="lamp", device="d1", version="1.0")
    assert lamp.download(lamp.wait_notice()) == content


def test_uploads_that_are_refused(console):
    content = bytes(200_000)
    console.call("createProduct", product="lamp")
    announced = console.call(
        "addFirmware", product="lamp", version="1.0", filename="a.bin", size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    upload = announced["upload"]
    assert console.put(upload, 0, content[:100_000]).json == {"offset": 100_000}
    answer = console.put(upload, 0, content)
    assert (answer.status, answer.code, answer.json["offset"]) == (409, "conflict", 100_000)
    assert "100000" in answer.json["error"]["message"]
    assert console.put(upload, 100_000, content).status == 400  # past its size
    assert console.put(upload + 1, 0, b"x").status == 404
    for user in ("op", "viewer"):
        assert console.put(upload, 100_000, b"x", user=user).status == 403
    assert console.put(upload, 100_000, b"x", user=None).status == 401
    assert console.put(upload, 100_000, b"").status == 400
    for query in ("", "?offset=", "?offset=-1", "?offset=1x", "?x=1", "?offset=1&x=2"):
        answer = console.ask("PUT", f"/api/v1/uploads/{upload}{query}", b"x", user="admin")
        assert answer.status == 400, query
    for path in ("x", "", "1/2"):
        assert console.ask("PUT", f"/api/v1/uploads/{path}?offset=0", b"x", user="admin").status == 400
    # what was taken meanwhile is as it was
    answer = console.put(upload, 100_000, content[100_000:])
    assert answer.json == {"offset": 200_000}
    console.call("commitFirmware", upload=upload)


def test_an_upload_over_both_doors(console):
    """Another admin's upload is out of reach; one's own goes on over the other door."""
    content = bytes(100_000)
    console.call("createProduct", product="lamp")
    announced = console.broker.admin().call(
        "addFirmware", product="lamp", version="1.0", filename="a.bin", size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    assert console.put(announced["upload"], 0, content[:70_000]).status == 200
    data = base64.b64encode(content[70_000:]).decode()
    admin = console.broker.admin()
    admin.call("uploadFirmwareBlock", upload=announced["upload"], offset=70_000, data=data)
    assert admin.call("commitFirmware", upload=announced["upload"])["firmware"]["size"] == 100_000


# --- TLS


def test_over_tls(consoles, certificates):
    console = consoles(tls=certificates)
    cookie = console.login("admin").headers["Set-Cookie"]
    assert "Secure" in cookie
    plain = {"Origin": console.origin().replace("https", "http")}
    assert console.ask("POST", "/api/v1/control", {}, headers=plain).status == 403
    assert console.ask("POST", "/api/v1/control", {}).status == 400
    console.call("createProduct", product="lamp")
    content = bytes(1_500_000)
    assert console.upload("lamp", "1.0", content)["size"] == len(content)
    assert console.get("/").status == 200
    stream = console.events()
    console.call("createDevice", product="lamp", device="d1")
    console.broker.device("lamp", "d1").report_version("0.1")
    stream.wait(lambda event, data: event == "version" and data["version"] == "0.1")
    stream.close()
