# SPDX-License-Identifier: BSD-3-Clause
"""Steps that tests of the plugin share: a product with firmware, what was refused, silence."""
import time
from collections import Counter

from common import TIMEOUT

OLD, NEW = "0.0.1", "0.0.2"


def stock(admin, product="p", *versions):
    """A product with firmware of these versions (default: NEW), 1,000 bytes each."""
    admin.call("createProduct", product=product)
    for version in versions or (NEW,):
        admin.add_firmware(product, version)


def upgrade(admin, device, version=NEW, **fields):
    """Makes a task for the device; gives its number."""
    answer = admin.call(
        "upgradeDevice", product=device.product, device=device.name, version=version, **fields
    )
    return answer["task"]["task"]


def under_way(admin, device):
    """A device on OLD, made by `device`, of a product with firmware, and its task: it has the notice
    and hasn't done anything yet. Gives both."""
    stock(admin)
    one = device("p", "d")
    one.report_version(OLD)
    task = upgrade(admin, one)
    one.wait_notice()
    return one, task


def refused(admin):
    """Refused reports by reason."""
    return Counter(admin.call("getInfo")["refusedReports"])


def newly_refused(admin, before):
    """What was refused since `before`, by reason."""
    return dict(refused(admin) - before)


def devices(admin, product="p"):
    """All devices of the product by name, without what the clock moves."""
    rows = admin.list_all("listDevices", "devices", product=product)
    for row in rows:
        del row["lastSeenAt"]
        if row["task"]:
            del row["task"]["deadlineAt"]
    return {row["device"]: row for row in rows}


def whole_task(admin, task):
    """The task with its history, without what the clock moves."""
    answer = admin.call("getTask", task=task)
    del answer["task"]["deadlineAt"]
    return answer


def versions(admin, product="p"):
    """How many devices run which version."""
    rows = admin.call("listVersions", product=product)["versions"]
    return {row["version"]: row["devices"] for row in rows if row["devices"]}


def history(admin, task):
    """The statuses that a task went through."""
    return [event["status"] for event in admin.call("getTask", task=task)["events"]]


def round_trip(*clients):
    """What the broker had for these clients before is with them when this returns: it keeps the
    order of what it sends to a client, and a foreign topic goes through the same door."""
    for number, client in enumerate(clients):
        topic = f"round-trip/{client.client_id}/{time.monotonic_ns()}/{number}"
        assert client.subscribe(topic) == 0
        since = len(client.messages)
        client.publish(topic, b"x", qos=0, wait=False)
        client.wait_message(lambda m, t=topic: m.topic == t, TIMEOUT, since, "its own message")


def assert_silent(client, seconds, since=None, test=lambda m: True):
    """Fails if the client hears a message of that kind within the time."""
    since = len(client.messages) if since is None else since

    def heard():
        return next((m for m in client.messages[since:] if test(m)), None)

    with client._changed:  # pylint: disable=protected-access
        message = client._changed.wait_for(heard, seconds)  # pylint: disable=protected-access
    assert message is None, f"{client.client_id} heard {message.topic} {message.payload[:200]!r}"


def ours(broker):
    """The log lines of our plugin."""
    return [line for line in broker.log if line.startswith("mosquitto-ota:")]
