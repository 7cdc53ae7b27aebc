# SPDX-License-Identifier: BSD-3-Clause
"""A broker that is killed with -9 at random moments: what it acknowledged is there afterwards,
and nothing is there by halves.

Every device, and the admin, does one thing after the other, and keeps a model of what was
acknowledged. At most one thing each is under way when the broker dies: that one may have happened
or not, and is then sent again, as a device or otactl would.

OTA_KILL9_ROUNDS  how often it is killed (default 10)
OTA_SEED          of an earlier run: the same things in the same order (the moment at which the
                  broker dies depends on the machine, too)
"""
import pytest

import campaign
from kill9_run import kill_again_and_again, run_campaign, short_rounds


@pytest.mark.slow_asan
def test_what_was_acknowledged_survives_a_kill(consoles, tmp_path):
    rounds = short_rounds(10)
    total = kill_again_and_again(consoles, tmp_path, rounds, campaign.seed())
    print(f"{rounds} rounds: {total}")
    assert sum(loads["whole"] for loads in total.downloads.values())


@pytest.mark.campaign
def test_kill9(consoles, tmp_path):
    run_campaign("kill9", consoles, tmp_path, 100)
