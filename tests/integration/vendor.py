# SPDX-License-Identifier: BSD-3-Clause
"""How a device with the vendor's SDK logs in, by a hand other than otasim's."""
import base64
import hashlib
import hmac
import itertools

from clients import Device

NEVER = "92233720368547758"
PASSWORD = "of the admin"
KEY = base64.b64encode(bytes(range(16))).decode()
OTHER_KEY = base64.b64encode(bytes(range(48))).decode()

_connections = itertools.count(10000)


def username(names, expiry=NEVER):
    return f"{names};21010406;{next(_connections)};{expiry}"


def password(name, secret, method="sha1"):
    mac = hmac.new(base64.b64decode(secret), name.encode(), getattr(hashlib, method))
    return f"{mac.hexdigest()};hmac{method}"


def start(broker, folder, users=("admin",), **settings):
    """A broker with device_auth vendor; its users have PASSWORD."""
    options = {"device_auth": "vendor", "secret_keyfile": folder / "secret.key"}
    options |= settings.pop("options", {})
    names = {name: PASSWORD for name in users} or None
    return broker(options=options, users=names, **settings)


def admin(started):
    """Its admin, with a product that has the devices d1 and d2; d1 has KEY, d2 has OTHER_KEY."""
    one = started.admin(password=PASSWORD)
    one.call("createProduct", product="lamp")
    for device, secret in (("d1", KEY), ("d2", OTHER_KEY)):
        one.call("createDevice", product="lamp", device=device)
        one.call("setDeviceSecret", product="lamp", device=device, secret=secret)
    return one


def connect(started, device, secret, product="lamp", method="sha1", name=None, **settings):
    """A device that tries to log in; connect_code says how that went."""
    name = name or username(product + device)
    settings.setdefault("password", password(name, secret, method))
    settings.setdefault("client_id", product + device)
    return started._keep(Device(started, product, device, username=name, **settings))
