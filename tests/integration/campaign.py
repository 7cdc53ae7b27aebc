# SPDX-License-Identifier: BSD-3-Clause
"""What campaigns share: seed, count, and the row in docs/reliability.md."""
import os
import platform
import random
import subprocess
import time

from common import MOSQUITTO, ROOT

RELIABILITY = ROOT / "docs" / "reliability.md"


def seed():
    """OTA_SEED, or a new one; printed, so that a failure can be run again."""
    chosen = os.environ.get("OTA_SEED") or str(random.randrange(10**6))
    print(f"OTA_SEED={chosen}")
    return chosen


def count(preset):
    return int(os.environ.get("OTA_CAMPAIGN_N", preset))


def _first_line(*command):
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return (run.stdout + run.stderr).strip().partition("\n")[0]


def _commit():
    """What was run. The rows that runs add don't make it another thing."""
    changed = _first_line("git", "status", "--porcelain", "--", ".", ":!docs/reliability.md")
    return _first_line("git", "rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def record(name, number, result):
    """Adds the row of a run that was really made to docs/reliability.md."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"
    row = [time.strftime("%Y-%m-%d"), _commit(), name, str(number),
           f"{machine}; {_first_line(MOSQUITTO, '-h')}", result]
    lines = RELIABILITY.read_text().split("\n")
    at = lines.index("|---|---|---|---|---|---|", lines.index("## Results")) + 1
    while lines[at].startswith("|"):
        at += 1
    lines.insert(at, "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    RELIABILITY.write_text("\n".join(lines))
