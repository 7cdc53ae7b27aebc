# SPDX-License-Identifier: BSD-3-Clause
"""Signed firmware: what addFirmware takes, keys that come and go, devices that check. Everything
here is signed by the openssl command line, so that no mistake of ours can meet itself."""
import base64
import hashlib
import json
import subprocess

import pytest

from common import OTACTL
from control_help import announce, base64_of, bulk, read_all, refuse, send_blocks
from harness import OTASIM, BrokerDied
from steps import NEW, OLD, ours, upgrade

# pylint: disable=unused-import
from test_otasim import (  # noqa: F401 (fixtures)
    FAST,
    NAME,
    PRODUCT,
    files,
    notice,
    otasim,
    plain,
    run,
    server,
)

CONTENT = bytes(range(256)) * 30


class Key:
    """A pair of keys, made and used by openssl."""

    def __init__(self, folder, name, kind="ed25519"):
        self.secret, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        self.openssl("genpkey", "-algorithm", kind, "-out", self.secret)
        self.openssl("pkey", "-in", self.secret, "-pubout", "-out", self.public)

    @staticmethod
    def openssl(*words):
        run_ = subprocess.run(
            ["openssl", *words], capture_output=True, timeout=30, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return run_.stdout

    @property
    def fingerprint(self):
        der = self.openssl("pkey", "-pubin", "-in", self.public, "-outform", "DER")
        return hashlib.sha256(der).hexdigest()

    def sign(self, product, version, order, content):
        digest = hashlib.sha256(content).hexdigest()
        text = f"mosquitto-ota/1\n{product}\n{version}\n{order}\n{len(content)}\n{digest}\n"
        path = self.secret.parent / "manifest"
        path.write_text(text)
        words = ("pkeyutl", "-sign", "-rawin", "-inkey", self.secret, "-in", path)
        return base64.b64encode(self.openssl(*words)).decode()

    def signed(self, version, content=CONTENT, order=1, product="p"):
        """The fields of addFirmware."""
        signature = self.sign(product, version, order, content)
        return announce(product, version, content, order=order, signature=signature)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return [Key(folder, name) for name in ("first", "second")]


def add(admin, fields, content=CONTENT):
    upload = admin.call("addFirmware", **fields)["upload"]
    send_blocks(admin, upload, content)
    return admin.call("commitFirmware", upload=upload)["firmware"]


@pytest.fixture
def strict(broker, keys):
    """A broker that takes what the first key signed, and nothing else."""
    return broker(options={"signing_keys": keys[0].public, "require_signature": "true"})


@pytest.fixture
def chief(strict):
    admin = strict.admin()
    for product in ("p", "other"):
        admin.call("createProduct", product=product)
    return admin


# -- what is taken and what is refused ------------------------------------------------------------


def test_signed_firmware_is_taken_shown_and_sent(strict, chief, keys):
    fields = keys[0].signed(NEW, order=7)
    made = add(chief, fields)
    assert made["signed"] is True and made["order"] == 7
    assert chief.call("listFirmware", product="p")["firmware"] == [made]
    device = strict.device("p", "d")
    device.report_version(OLD)
    upgrade(chief, device)
    got = device.wait_notice()
    assert (got["signature"], got["order"]) == (fields["signature"], 7)
    assert (got["file_size"], got["sha256"]) == (len(CONTENT), fields["sha256"])
    info = strict.admin("viewer").call("getInfo")
    assert info["signingKeys"] == [keys[0].fingerprint] and info["requireSignature"] is True
    assert any(keys[0].fingerprint in line for line in ours(strict))


def test_what_a_signature_does_not_cover_is_refused(chief, keys):
    good = keys[0].signed(NEW)
    other = b"!" + CONTENT[1:]
    before = read_all(chief)
    wrong = {
        "another key": keys[1].signed(NEW),
        "another file": {**good, "sha256": hashlib.sha256(other).hexdigest()},
        "a file of another size": {**good, "size": len(CONTENT) - 1},
        "another version": {**good, "version": "0.0.3"},
        "another product": {**good, "product": "other"},
        "another order": {**good, "order": 2},
        "no signature": {key: good[key] for key in good if key != "signature"},
        "nonsense": {**good, "signature": base64_of(b"\0" * 64)},
        "a byte too many": {**good, "signature": base64_of(b"\0" * 65)},
    }
    for what, fields in wrong.items():
        text = refuse(chief, "addFirmware", "bad_signature", "signature", **fields)
        assert "signing_keys" in text or "require_signature" in text, what
    late = keys[0].signed(NEW, order=2)  # without an order it is the next one, here 1
    unordered = {key: late[key] for key in late if key != "order"}
    refuse(chief, "addFirmware", "bad_signature", "signature", **unordered)
    assert read_all(chief) == before, "nothing is stored"
    # Nor does a good announcement help other bytes.
    upload = chief.call("addFirmware", **good)["upload"]
    send_blocks(chief, upload, other)
    refuse(chief, "commitFirmware", "checksum_mismatch", "sha256", upload=upload)
    assert read_all(chief) == before
    chief.call("abortFirmware", upload=upload)
    made = add(chief, {key: good[key] for key in good if key != "order"})
    assert made["signed"] and made["order"] == 1


def test_where_no_signature_is_required(broker, keys):
    one = broker(options={"signing_keys": keys[0].public})
    admin = one.admin()
    admin.call("createProduct", product="p")
    assert admin.add_firmware("p", OLD)["signed"] is False
    assert add(admin, keys[0].signed(NEW, order=2))["signed"] is True
    refuse(admin, "addFirmware", "bad_signature", "signature", **keys[1].signed("0.0.3", order=3))
    info = admin.call("getInfo")
    assert info["requireSignature"] is False
    assert any("require_signature is off" in text for text in info["warnings"])


def test_where_no_key_is_known(admin, keys):
    admin.call("createProduct", product="p")
    text = refuse(admin, "addFirmware", "bad_signature", "signature", **keys[0].signed(NEW))
    assert "signing_keys" in text
    info = admin.call("getInfo")
    assert info["signingKeys"] == [] and not any("signature" in w for w in info["warnings"])


# -- keys that come and go ------------------------------------------------------------------------


def test_rotation(strict, chief, keys):
    """docs/signing.md, "A new key": both, then the new one alone."""
    old, new = keys
    add(chief, old.signed("1", order=1))
    started = add_later(chief, old.signed("2", order=2))

    def restart(*files_):
        strict.options["signing_keys"] = ",".join(map(str, files_))
        connects = chief.connects
        strict.restart()
        chief.wait_reconnected(connects)

    restart(old.public, new.public)
    assert chief.call("getInfo")["signingKeys"] == [old.fingerprint, new.fingerprint]
    add(chief, new.signed("3", order=3))
    add(chief, old.signed("4", order=4))
    restart(new.public)
    before = read_all(chief)
    refuse(chief, "addFirmware", "bad_signature", "signature", **old.signed("5", order=5))
    refuse(chief, "commitFirmware", "bad_signature", "signature", upload=started)
    assert read_all(chief) == before
    # What was stored before is as usable as ever.
    device = strict.device("p", "d")
    device.report_version(OLD)
    task = upgrade(chief, device, "1")
    device.wait_notice("1")
    assert device.run_upgrade() == CONTENT
    assert chief.wait_status(task, "succeeded")["confirmation"] == "confirmed"


def add_later(admin, fields):
    """Everything but the commit."""
    upload = admin.call("addFirmware", **fields)["upload"]
    send_blocks(admin, upload, CONTENT)
    return upload


def test_sighup_reads_the_files_again(broker, keys, tmp_path):
    file = tmp_path / "trusted.pub"
    file.write_text(keys[0].public.read_text())
    one = broker(options={"signing_keys": file})
    admin = one.admin()
    admin.call("createProduct", product="p")
    file.write_text("nothing")
    one.reload()
    one.wait_log(r"signing keys stay as they were: plugin_opt_signing_keys: \S+/trusted.pub holds")
    add(admin, keys[0].signed("1"))
    file.write_text(keys[1].public.read_text())
    one.reload()
    one.wait_log(keys[1].fingerprint)
    refuse(admin, "addFirmware", "bad_signature", "signature", **keys[0].signed("2", order=2))
    add(admin, keys[1].signed("2", order=2))


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("bad")
    empty, broken = folder / "empty.pub", folder / "broken.pub"
    empty.write_text("")
    broken.write_text(keys[0].public.read_text()[:60])
    return {
        folder / "none.pub": "No such file",
        empty: "no PEM public key",
        broken: "damaged",
        keys[0].secret: "private key",
        Key(folder, "x", "ed448").public: "isn't Ed25519",
    }


def test_a_wrong_file_stops_the_start(broker, keys, bad_files):
    for path, words in bad_files.items():
        for value in (path, f"{keys[0].public}, {path}"):
            with pytest.raises(BrokerDied) as death:
                broker(options={"signing_keys": value})
            line = next(x for x in str(death.value).split("\n") if x.startswith("mosquitto-ota: "))
            assert "plugin_opt_signing_keys" in line and str(path) in line and words in line


def test_required_without_a_key_stops_the_start(broker):
    with pytest.raises(BrokerDied, match="plugin_opt_require_signature true: may be so only with"):
        broker(options={"require_signature": "true"})


# -- otactl ---------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path):
    """otactl in a folder of its own, without a broker."""

    def call(*words, code=0):
        told = subprocess.run(
            [OTACTL, *map(str, words)], cwd=tmp_path, text=True, capture_output=True, timeout=30,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert told.returncode == code, told.stderr
        assert bool(told.stderr) == bool(code) or "chmod" in told.stderr
        return told.stdout + told.stderr

    return call


def test_otactl_makes_keys_that_openssl_knows(bare, tmp_path):
    told = bare("key", "create", "release")
    secret, public = tmp_path / "release.key", tmp_path / "release.pub"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert Key.openssl("pkey", "-in", secret, "-pubout").decode() == public.read_text()
    der = Key.openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
    fingerprint = hashlib.sha256(der).hexdigest()
    for word in (fingerprint, "release.pub", "plugin_opt_signing_keys", "--sign-key release.key"):
        assert word in told
    assert secret.read_text().split("\n")[1] not in told
    assert bare("key", "show", secret) == f"{fingerprint}  private key\n"
    made = json.loads(bare("key", "create", "other", "--json"))
    assert made == {"private": "other.key", "public": "other.pub",
                    "fingerprint": made["fingerprint"]}
    (tmp_path / "both.pub").write_text(public.read_text() + (tmp_path / "other.pub").read_text())
    assert [row["fingerprint"] for row in json.loads(bare("key", "show", "both.pub", "--json"))[
        "keys"]] == [fingerprint, made["fingerprint"]]


def test_otactl_never_writes_over_a_key(bare, tmp_path):
    for there, absent in (("a.key", "a.pub"), ("b.pub", "b.key")):
        (tmp_path / there).write_text("mine")
        assert "never overwritten" in bare("key", "create", there[0], code=2)
        assert (tmp_path / there).read_text() == "mine"
        assert not (tmp_path / absent).exists()
    for name in ("x.key", "x.pub", "", "none/x", "sub/"):
        bare("key", "create", name, code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.key", "b.pub"]


def test_otactl_shows_only_what_is_a_key(bare, bad_files):
    for path, words in bad_files.items():
        if words == "private key":
            assert words in bare("key", "show", path)
        else:
            assert words in bare("key", "show", path, code=2)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "app.bin"
    path.write_bytes(CONTENT)
    return path


def test_otactl_signs(strict, chief, keys, image):
    with pytest.raises(AssertionError, match="bad_signature"):
        strict.otactl("firmware", "add", "p", "1", image)
    with pytest.raises(AssertionError, match="bad_signature"):
        strict.otactl("firmware", "add", "p", "1", image, "--sign-key", keys[1].secret)
    assert chief.call("listFirmware", product="p")["firmware"] == []
    by = ("--sign-key", keys[0].secret)
    strict.otactl("firmware", "add", "p", "1", image, *by)
    strict.otactl("firmware", "add", "p", "2", image, *by, "--order", "-3")
    told = strict.otactl("firmware", "add", "p", "3", image, *by, "--json").stdout
    assert json.loads(told)["firmware"]["signed"] is True
    orders = {row["version"]: row["order"] for row in chief.call("listFirmware", product="p")[
        "firmware"]}
    assert orders == {"1": 1, "2": -3, "3": 2}
    # To the letter what openssl makes.
    device = strict.device("p", "d")
    device.report_version(OLD)
    upgrade(chief, device, "3")
    assert device.wait_notice("3")["signature"] == keys[0].sign("p", "3", 2, CONTENT)
    info = strict.otactl("info").stdout
    assert keys[0].fingerprint in info


def test_otactl_asks_for_the_order_page_by_page(broker, keys, image):
    one = broker(options={"signing_keys": keys[0].public, "max_firmware_per_product": 300})
    admin = one.admin()
    admin.call("createProduct", product="p")
    admin.add_firmware("p", "first", b"x", order=1000)  # on the last page
    bulk_add(admin, 201)
    one.otactl("firmware", "add", "p", "1", image, "--sign-key", keys[0].secret)
    assert admin.call("getFirmware", product="p", version="1")["firmware"]["order"] == 1001


def bulk_add(admin, count):
    """So many pieces of firmware of one byte, of low orders."""
    for first in range(0, count, 4):  # as many uploads as a user may have
        names = [str(n) for n in range(100 + first, 100 + min(first + 4, count))]
        added = bulk(admin, [{"command": "addFirmware", **announce("p", name, b"x", order=1)}
                             for name in names])
        for row in added:
            at = {"upload": row["upload"]}
            bulk(admin, [
                {"command": "uploadFirmwareBlock", **at, "offset": 0, "data": base64_of(b"x")},
                {"command": "commitFirmware", **at},
            ])


def test_otactl_says_what_is_wrong_with_a_key(strict, chief, keys, bad_files, image, tmp_path):
    locked = tmp_path / "locked.key"
    Key.openssl("pkey", "-in", keys[0].secret, "-aes128", "-passout", "pass:x", "-out", locked)
    wrong = [path for path, words in bad_files.items() if words != "private key"]
    for path in (*wrong, keys[0].public, locked, bad_files_key(bad_files)):
        run_ = strict.otactl("firmware", "add", "p", "1", image, "--sign-key", path, check=False,
                             stdin=subprocess.DEVNULL)
        assert run_.returncode == 2 and str(path) in run_.stderr
    run_ = strict.otactl("firmware", "add", "p", "1", image, "--sign-key", keys[0].secret,
                         "--signature", base64_of(b"\0" * 64), check=False)
    assert run_.returncode == 2 and "not both" in run_.stderr
    assert chief.call("listFirmware", product="p")["firmware"] == []
    loose = tmp_path / "loose.key"
    loose.write_text(keys[0].secret.read_text())
    loose.chmod(0o644)
    run_ = strict.otactl("firmware", "add", "p", "1", image, "--sign-key", loose)
    assert "chmod 600" in run_.stderr


def bad_files_key(bad_files_):
    """The private half of the Ed448 key."""
    return next(path for path in bad_files_ if path.name == "x.pub").with_suffix(".key")


# -- devices that check ---------------------------------------------------------------------------


def offer_of(http, key, order=7, version=NEW, **changes):
    """A signed notice, and what somebody changed in it on the way."""
    signature = key.sign(PRODUCT, version, order, http.content)
    return notice(http, version, **{"signature": signature, "order": order, **changes})


def last_message(server_):
    progress = server_.heard()[-1][0]
    return progress.decode().split('"result_msg":"')[1].split('"')[0]


def test_otasim_takes_what_is_signed(server, files, otasim, keys):
    sim = otasim(*FAST, "--verify-key", keys[0].public, "--exit-when-done", "--version", OLD)
    server.wait(f"version {OLD}")
    server.send(offer_of(files(), keys[0]))
    assert sim.wait_end() == 0
    assert sim.wait("verified")["digests"] == "md5, sha256, signature"


def test_otasim_refuses_a_tampered_notice(server, files, otasim, keys):
    http, evil = files(), files(b"evil" * 1000)
    good = offer_of(http, keys[0])
    foreign = offer_of(evil, keys[1])
    tampered = [
        notice(http),
        foreign,
        {**foreign, "signature": good["signature"]},
        {**good, "version": "9.9.9"},
        {**good, "order": 8},
        {**good, "order": 7.0},
        {**good, "order": "7"},
        {key: good[key] for key in good if key != "order"},
        {key: good[key] for key in good if key != "signature"},
        {key: good[key] for key in good if key != "sha256"},
        {**good, "file_size": good["file_size"] - 1},
        {**good, "sha256": foreign["sha256"]},
        {**good, "signature": good["signature"] + "AAAA"},
        {**good, "signature": 7},
        {**good, "signature": keys[0].sign("sensor2", NEW, 7, http.content)},
    ]
    sim = otasim(*FAST, "--verify-key", keys[0].public, "--version", OLD)
    server.wait(f"version {OLD}")
    for number, offer in enumerate(tampered, 1):
        server.send({**offer, "task": number})
        server.wait("fail -4", count=number)
        said = last_message(server)
        assert said in ("the firmware is not signed", "the signature does not fit this firmware")
        assert ("not signed" in said) == ("signature" not in offer), offer
    assert http.requests == evil.requests == [], "nothing was even asked for"
    # The device is none the worse: the real one is taken.
    server.send({**good, "task": 99})
    sim.wait("upgraded")
    assert server.words()[-1] == f"version {NEW}"


def test_otasim_checks_what_it_got(server, files, otasim, keys):
    """The notice is good, the bytes behind its URL are others."""
    http = files()
    offer = offer_of(http, keys[0])
    http.content = bytes(len(http.content))
    sim = otasim(*FAST, "--verify-key", keys[0].public, "--exit-when-done", "--version", OLD)
    server.wait(f"version {OLD}")
    server.send(offer)
    assert sim.wait_end() == 1
    assert server.words()[-2:] == ["downloaded", "fail -4"]


def test_a_forged_notice_stops_no_download(server, files, otasim, keys):
    http = files()
    sim = otasim(*FAST, "--verify-key", keys[0].public, "--speed", 100_000, "--version", OLD)
    server.wait(f"version {OLD}")
    server.send(offer_of(http, keys[0]))
    server.wait("downloading 0")
    server.send(offer_of(http, keys[1], version="9.9.9", task=8))
    sim.wait("ignored", reason="the signature does not fit this firmware")
    sim.wait("upgraded", version=NEW)
    assert not [word for word in server.words() if word.startswith("fail")]


def test_otasim_does_not_start_with_a_wrong_file(bad_files):
    for path, words in bad_files.items():
        told = subprocess.run(
            [OTASIM, "--product", "p", "--verify-key", path], capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert told.returncode == 2
        assert told.stderr.startswith("otasim: --verify-key: ")
        assert str(path) in told.stderr and words in told.stderr
    told = subprocess.run(
        [OTASIM, "--product", "p", "--vendor", "--verify-key", "x"], capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert told.returncode == 2 and "knows no signatures" in told.stderr


def test_both_ends_together(broker, keys, otasim):
    """A server that requires nothing, and devices that do."""
    one = broker(options={"signing_keys": keys[0].public})
    admin = one.admin()
    admin.call("createProduct", product=PRODUCT)
    admin.add_firmware(PRODUCT, "unsigned")
    add(admin, keys[0].signed(NEW, order=2, product=PRODUCT))
    sim = otasim(*FAST, "--verify-key", keys[0].public, "--version", OLD, port=one.port)
    sim.wait("answered")
    at = {"product": PRODUCT, "device": NAME}
    task = admin.call("upgradeDevice", **at, version="unsigned")["task"]["task"]
    failed = admin.wait_status(task, "failed")
    assert (failed["resultCode"], failed["deviceMessage"]) == (-4, "the firmware is not signed")
    task = admin.call("upgradeDevice", **at, version=NEW)["task"]["task"]
    assert admin.wait_status(task, "succeeded")
    sim.wait("upgraded", version=NEW)
