# SPDX-License-Identifier: BSD-3-Clause
"""The harness tells the truth: proved on brokers without our plugin."""
import subprocess

import pytest

import harness

STUB = """
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <mosquitto.h>
#include <stdlib.h>
int mosquitto_plugin_version(int n, const int *v) { (void)n; (void)v; return 5; }
int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **data, struct mosquitto_opt *o, int n)
{
    char *bytes = malloc(1);
    (void)id; (void)data; (void)o;
    bytes[n + 1] = 1;
    free(bytes);
    return 0;
}
int mosquitto_plugin_cleanup(void *data, struct mosquitto_opt *o, int n)
{
    (void)data; (void)o; (void)n;
    return 0;
}
"""


@pytest.fixture
def plain(broker):
    return broker(plugin=False, options={})


def test_messages_arrive(plain):
    reader = plain.client("reader")
    assert reader.subscribe("a/#", 1) == 1
    plain.client("writer").publish("a/b", {"x": 1})
    assert reader.wait_message(lambda m: m.topic == "a/b").payload == b'{"x":1}'


def test_v5_client(plain):
    reader = plain.client("reader", v5=True)
    assert reader.subscribe("a/#", 1) == 1
    reader.publish("a/b", b"x")
    reader.wait_message(lambda m: m.topic == "a/b")


def test_waiting_ends_with_a_reason(plain):
    with pytest.raises(AssertionError, match="no such message in 0.05 s"):
        plain.client("reader").wait_message(lambda m: True, timeout=0.05)


def test_restart_keeps_port_and_clients_return(plain):
    client = plain.client("reader")
    client.subscribe("a", 1)
    plain.restart()
    client.wait_reconnected(since=1)
    plain.client("writer").publish("a", b"x")
    client.wait_message(lambda m: m.topic == "a")


def test_will_of_a_dropped_client(plain):
    reader = plain.client("reader")
    reader.subscribe("will", 1)
    plain.client("other", will=("will", b"gone", 1)).drop()
    reader.wait_message(lambda m: m.topic == "will")


def test_passwords(broker):
    plain = broker(plugin=False, users={"anna": "secret"})
    assert plain.client("anna", password="secret").connect_code == 0
    assert plain.client("anna", password="wrong").connect_code == 5
    assert plain.client("bert").connect_code == 5


def heard_of(client, *topics):
    """Publishes to each of the topics and gives those that come back; the last one must."""
    client.subscribe("#")
    for topic in topics:
        client.publish(topic, b"x")
    client.wait_message(lambda m: m.topic == topics[-1])
    return [m.topic for m in client.messages]


def test_acl_file(broker):
    plain = broker(plugin=False, acl="pattern readwrite device/%u/#\n")
    assert heard_of(plain.client("anna"), "device/bert/x", "device/anna/x") == ["device/anna/x"]


def test_tls_names_clients_by_certificate(broker, certificates):
    # by name: in an ACL of 2.1 %u is one level, and this name has two
    acl = "user testProduct/testDevice0\ntopic readwrite device/testProduct/testDevice0/#\n"
    plain = broker(plugin=False, tls=certificates, acl=acl)
    client = plain.client(tls="testProduct/testDevice0")
    own, other = "device/testProduct/testDevice0/x", "device/testProduct/testDevice1/x"
    assert heard_of(client, other, own) == [own]


def test_wrong_configuration_is_told(broker):
    with pytest.raises(harness.BrokerDied, match="nonsense"):
        broker(plugin=False, config="nonsense true")


def test_death_is_told(tmp_path):
    plain = harness.Broker(tmp_path, plugin=False).start()
    plain.process.kill()
    plain.process.wait()
    with pytest.raises(harness.BrokerDied, match="died by itself, status -9"):
        plain.close()


def test_kill9_is_no_death(plain):
    plain.kill9()
    plain.start()


def test_ports_differ():
    ports = [harness.free_port() for _ in range(5)]
    assert len(set(ports)) == 5


@pytest.mark.skipif(not harness.ASAN_PRELOAD, reason="not a sanitizer run")
def test_sanitizer_report_is_found(tmp_path):
    source, library = tmp_path / "stub.c", tmp_path / "stub.so"
    source.write_text(STUB)
    build = ["gcc", "-g", "-fPIC", "-shared", "-fsanitize=address", source, "-o", library]
    subprocess.run(build, check=True)
    plain = harness.Broker(tmp_path / "broker", plugin=False, config=f"plugin {library}")
    with pytest.raises(harness.BrokerDied):
        plain.start()
    with pytest.raises(harness.BrokerDied, match="heap-buffer-overflow"):
        plain.close()
