# SPDX-License-Identifier: BSD-3-Clause
"""test_kill9.py, and the power goes as well: what wasn't synced is lost with the broker, but for
some of it, as a disk may have it. With option synchronous full nothing acknowledged is lost."""
import asyncio
import itertools

import pytest

import campaign
from faults import Faults
from harness import Broker, BrokerDied
from kill9_file import Found
from kill9_run import Run, kill_again_and_again, make, run_campaign, short_rounds


@pytest.fixture
def durable(tmp_path):
    """Makes the faults of a disk that keeps what was synced, and some of what wasn't."""
    numbers = itertools.count()
    return lambda: Faults(tmp_path / f"faults{next(numbers)}", durable=True, early=20)


@pytest.mark.slow_asan
def test_with_synchronous_full_it_survives_a_power_cut(consoles, tmp_path, durable):
    rounds, seed = short_rounds(5), campaign.seed()
    total = kill_again_and_again(
        consoles, tmp_path, rounds, seed, durable, synchronous="full"
    )
    print(f"{rounds} rounds: {total}")


async def lose_one_round(run):
    """How many acknowledged versions are gone, of how many; the file is whole nevertheless."""
    run.broker.start()
    await run.connect()
    await run.work_and_die(0.5)
    kept = {name: device["versions"] for name, device in Found(run.broker.db_path).devices.items()}
    acknowledged = {actor.name: actor.model["versions"] for actor in run.actors}
    lost = 0
    for name, versions in acknowledged.items():
        there = kept.get(name, [])[: len(versions)]
        assert there == versions[: len(there)], f"{name}: a gap: {there}, {versions}"
        lost += len(versions) - len(there)
    return lost, sum(map(len, acknowledged.values()))


def lose(consoles, folder, seed, faults):
    """The same with synchronous normal: it shows that something was at stake. A checkpoint may have
    synced everything at the very last moment, but not again and again."""
    for attempt in range(10):
        one = make(consoles, folder, faults, synchronous="normal")
        lost, acknowledged = asyncio.run(lose_one_round(Run(one, f"{seed} {attempt}")))
        if lost:
            break
    return lost, acknowledged


@pytest.mark.slow_asan
def test_with_synchronous_normal_a_power_cut_takes_the_last_moments(consoles, tmp_path, durable):
    lost, acknowledged = lose(consoles, tmp_path, campaign.seed(), durable)
    print(f"{lost} of {acknowledged} acknowledged versions are lost")
    assert lost > 0, "the test before shows nothing"


@pytest.mark.slow_asan
def test_the_power_goes_at_the_first_start(durable, tmp_path):
    """At any write: there is a database or there is none, and the next start doesn't mind."""
    told = set()
    for after in (0, 1, 2, 5, 10, 20, 30, 40):
        one = Broker(tmp_path / f"first{after}", options={"synchronous": "full"}, faults=durable())
        one.faults.kill_at_write(after)
        with pytest.raises(BrokerDied):
            one.start()
        one.faults.power_cut(one.db_path)
        one.faults.heal()
        since = len(one.log)
        one.start()
        told.add(any("is a new database" in line for line in one.log[since:]))
        one.admin().call("createProduct", product="p")
        one.kill9()
        one.faults.power_cut(one.db_path)
        one.start()
        assert len(one.admin().call("listProducts")["products"]) == 1
        one.close()
    assert True in told, "it died too late each time"


@pytest.mark.campaign
def test_power_cut(consoles, tmp_path, durable):
    def control(seed):
        lost, acknowledged = lose(consoles, tmp_path, seed, durable)
        return f"one round with synchronous normal lost {lost} of {acknowledged} versions"

    run_campaign(
        "power_cut", consoles, tmp_path, 100, control, faults=durable, synchronous="full"
    )
