# SPDX-License-Identifier: BSD-3-Clause
"""docker/compose.yaml says what the image is: scripts/image-test builds and runs that one."""
import re
import shlex
import subprocess

import pytest
import yaml

import harness
from console_help import wait_until
from test_conf import known_options

DOCKER = harness.ROOT / "docker"
TEXT = (DOCKER / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
BROKER = COMPOSE["services"]["broker"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
ENTRYPOINT = (DOCKER / "entrypoint").read_text()
# What the entrypoint takes for itself.
OF_ENTRYPOINT = {"OTA_ADMIN_PASSWORD", "OTA_ADMIN_PASSWORD_FILE"}


def instruction(word):
    """What follows it, in the image that is left in the end."""
    return re.search(rf"^{word} (.+)$", DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE)[1]


def published():
    """{port inside: (address or "", port outside)}"""
    ports = {}
    for line in BROKER["ports"]:
        *outside, inside = line.split(":")
        ports[int(inside)] = (":".join(outside[:-1]), int(outside[-1]))
    return ports


def uncommented(pattern):
    """The whole file, the commented lines that match put in force."""
    return yaml.safe_load(re.sub(rf"^( +)#({pattern})", r"\1\2", TEXT, flags=re.MULTILINE))


def simulated():
    return uncommented("device:|  .*")["services"]["device"]


def test_builds_our_dockerfile():
    build = BROKER["build"]
    context = DOCKER / build["context"]
    assert context.samefile(harness.ROOT)
    assert (context / build["dockerfile"]).samefile(DOCKER / "Dockerfile")
    declared = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert build["args"].keys() <= declared


def test_what_the_dockerfile_copies_is_there():
    for source in re.findall(r"^COPY (?:--\S+ )*(\S+) ", DOCKERFILE, re.MULTILINE):
        assert (harness.ROOT / source).exists(), source


def test_publishes_each_port_and_the_console_to_this_machine_alone():
    assert {inside: where for inside, where in published().items()} == {
        1883: ("", 1883), 8883: ("", 8883), 8080: ("", 80), 8070: ("127.0.0.1", 8070)}
    assert set(map(int, instruction("EXPOSE").split())) == published().keys()


def test_the_entrypoint_listens_where_ports_lead():
    listens = re.findall(r'(?:"listener |_listen 0\.0\.0\.0:)(\d+)"', ENTRYPOINT)
    assert set(map(int, listens)) == published().keys()
    console = re.search(r'"console_listen (\S+)"', ENTRYPOINT)[1]
    assert f"${{OTA_CONSOLE_LISTEN:-{console}}}" in (DOCKER / "healthcheck").read_text()


def test_keeps_the_volumes_that_the_image_has():
    named = dict(reversed(line.split(":")) for line in BROKER["volumes"])
    assert sorted(named) == yaml.safe_load(instruction("VOLUME"))
    assert set(named.values()) == COMPOSE["volumes"].keys()
    for line in uncommented(r"- \./.*")["services"]["broker"]["volumes"]:
        _, target, *_ = line.split(":")
        assert target in named or target.replace("/mosquitto/config", "$CONFIG") in ENTRYPOINT


def test_may_do_no_more_than_it_needs():
    assert BROKER["read_only"] and BROKER["tmpfs"] == ["/tmp"]
    assert BROKER["cap_drop"] == ["ALL"]
    assert BROKER["security_opt"] == ["no-new-privileges:true"]
    assert instruction("USER") == "1883:1883"


def test_its_variables_are_options():
    asked = uncommented("OTA_.*")["services"]["broker"]["environment"].keys()
    assert {"OTA_DOWNLOAD_URL", "OTA_ADMIN_PASSWORD_FILE"} <= asked
    assert asked - OF_ENTRYPOINT <= {f"OTA_{name.upper()}" for name in known_options()}


def test_the_entrypoint_writes_options_that_there_are():
    function = re.search(r"^our_options\(\) \{.*?^\}", ENTRYPOINT, re.MULTILINE | re.DOTALL)[0]
    written = set(re.findall(r'"(?:plugin_opt_)?([a-z_]+) ', function))
    assert {"db_path", "download_listen", "console_listen", "password_file", "admins"} == written
    assert written <= known_options().keys()


def test_the_simulated_device_works(ota, admin):
    device = simulated()
    assert device["image"] == BROKER["image"]
    assert device["depends_on"] == {"broker": {"condition": "service_healthy"}}
    assert re.search("^HEALTHCHECK ", DOCKERFILE, re.MULTILINE)
    program, *words = shlex.split(device["command"])
    assert program == "otasim" and words[:2] == ["-h", "broker"]
    admin.call("createProduct", product="lamp")
    command = [harness.OTASIM, "-h", "127.0.0.1", "-p", str(ota.port), *words[2:]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as sim:
        try:
            wait_until(lambda: admin.call("listDevices", product="lamp")["devices"], "its report")
        finally:
            sim.terminate()
    (seen,) = admin.call("listDevices", product="lamp")["devices"]
    assert (seen["device"], seen["version"]) == ("lamp-17", "0.0.1")


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docker/Dockerfile"])
def test_who_names_a_suite_names_one_that_is_tested(page):
    suites = set(re.findall(r"SUITE=(\w+)", (harness.ROOT / page).read_text()))
    assert suites <= {"bookworm", "trixie", "forky"}
