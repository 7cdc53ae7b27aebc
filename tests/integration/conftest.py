# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the integration tests. What they give is described in harness.py.

OTA_BUILD          the build to test (default: build/)
OTA_ASAN_PRELOAD   libasan.so, to be loaded before the broker, for a sanitized build
OTA_MOSQUITTO      another broker's binary
"""
import pytest

import console_help
import harness


@pytest.fixture
def broker(tmp_path, request):
    """broker(options={…}, config="…", acl="…", users={…}, tls=certificates) starts a broker."""
    started = []

    def start(**settings):
        made = harness.Broker(tmp_path / f"broker{len(started)}", **settings)
        started.append(made)
        return made.start()

    request.node.ota_brokers = started  # for the report of a failure
    yield start
    problems = []
    for one in started:
        try:
            one.close()
        except AssertionError as problem:
            problems.append(str(problem))
    del request.node.ota_brokers  # pytest keeps its items to the end
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def ota(broker):
    """A running broker with the default options."""
    return broker()


@pytest.fixture
def admin(ota):
    """A control client, with role admin, of the broker `ota`."""
    return ota.admin()


@pytest.fixture
def device(ota):
    """device("product", "name") connects a device to the broker `ota`."""
    return ota.device


@pytest.fixture
def consoles(tmp_path, broker):
    """consoles(option=value, …) starts a broker with a console (console_help.py)."""
    made = []

    def start(passwords=None, tls=None, config="", faults=None, **options):
        one = console_help.Console(tmp_path, passwords=passwords, tls=tls, **options)
        made.append(one)
        one.broker = broker(options=one.options, config=config, faults=faults)
        return one

    yield start
    for one in made:
        one.release()


@pytest.fixture
def console(consoles):
    """The same with the default options."""
    return consoles()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A CA and a server certificate; for broker(tls=certificates) and clients' tls="CN"."""
    return harness.Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure is told together with the end of the broker's log."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and report.when == "call":
        for number, one in enumerate(getattr(item, "ota_brokers", [])):
            report.sections.append((f"log of broker {number}", one.log_tail()))
