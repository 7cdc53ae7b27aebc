# SPDX-License-Identifier: BSD-3-Clause
"""Writes what was seen: RESULTS.md, and lines for who watches."""
import datetime
import os
import platform
import subprocess
from pathlib import Path

HEAD = """<!-- SPDX-License-Identifier: BSD-3-Clause -->
# What was measured

Made by `scripts/bench{quick}`, {date}. What each figure means and how it comes about: [README.md](README.md).
Sides of a comparison run in turn, in alternating order, beside each other on one machine; ratios are taken within a round, and the median of the rounds counts. Where an A/A control (the same thing twice) strays as far from 1.00 as a result does, the result is noise. Absolute figures are this machine's in this hour.

{place}
"""


def number(value, unit):
    if unit in ("x", "x plain"):
        return f"{value:.2f}{unit[1:]}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def spread(row):
    if len(row.values) < 2:
        return ""
    return f"{number(min(row.values), row.unit)} to {number(max(row.values), row.unit)}"


def target(row):
    if row.limit is None:
        return ""
    sign, limit = row.limit
    return f"{'≥' if sign == '>=' else '≤'} {number(limit, row.unit)}"


def line(row):
    cells = [row.what, number(row.seen, row.unit), spread(row), target(row), row.verdict()]
    return f"| {' | '.join(cells)} |"


def say(row):
    parts = [row.what + ":", number(row.seen, row.unit)]
    if row.limit:
        parts.append(f"({target(row)}: {row.verdict()})")
    return " ".join(parts) + (f"\n      {row.note}" if row.note else "")


def table(rows):
    lines = ["| | seen | rounds | target | |", "|---|---|---|---|---|", *map(line, rows)]
    notes = [f"- {row.what.removeprefix('… ')}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes, ""])


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def _packages():
    names = ["mosquitto", "libmosquitto1", "libsqlite3-0", "libmicrohttpd12", "libc6", "nginx-light",
             "valgrind"]
    text = _run("dpkg-query", "-W", "-f=${Package} ${Version}; ", *names)
    return text.splitlines()[0].rstrip("; ") if text else "not Debian's"


def place(folder, root):
    cpu = next((text.split(":", 1)[1].strip() for text in Path("/proc/cpuinfo").read_text().splitlines()
                if text.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    files = _run("findmnt", "-n", "-o", "FSTYPE", "-T", str(folder))
    commit = _run("git", "-C", str(root), "describe", "--always", "--dirty")
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return "\n".join([
        f"- machine: {os.cpu_count()} x {cpu}, {memory:.0f} GiB, Linux {platform.release()}; "
        f"databases on {files}",
        f"- versions: {_packages()}",
        f"- source: {commit}; load average when it began: {load}",
    ])


def write(path, quick, where, sections, took):
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    text = HEAD.format(quick=" --quick" if quick else "", date=now, place=where)
    rows = [row for _, of_section in sections for row in of_section if row.limit]
    missed = [row for row in rows if not row.is_met()]
    text += f"\n{len(rows) - len(missed)} of {len(rows)} targets met; it took {took / 60:.1f} minutes.\n"
    if quick:
        text += "\nA quick run: short rounds and few of them, for finding out whether something broke.\n"
    for title, of_section in sections:
        text += f"\n## {title}\n\n{table(of_section)}"
    path.write_text(text)
