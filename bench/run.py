#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures the plugin beside what it is compared with. Use scripts/bench.

    --quick           short rounds, a smaller fleet for nothing: about four minutes
    --only WORD       sections whose title holds the word; may be repeated; writes no file
    --dir FOLDER      where databases are made: on a disk, never in memory (default: build/bench-run)
    --out FILE        default: bench/RESULTS.md
"""
import argparse
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fill
import measures
import parts
import report

FULL = SimpleNamespace(
    devices=1_000_000, rounds=7, seconds=2.5, probe_rounds=5, probe_seconds=6, deletion_seconds=40,
    latency_seconds=4, starts=3, callgrind_rounds=2, callgrind_lengths=(4_000, 20_000),
)
QUICK = SimpleNamespace(
    devices=1_000_000, rounds=3, seconds=0.8, probe_rounds=1, probe_seconds=3, deletion_seconds=20,
    latency_seconds=1.5, starts=1, callgrind_rounds=1, callgrind_lengths=(2_000, 8_000),
)


def sections(house, folder, plan, empty):
    """(title, its rows as they come, whether it needs the house)"""
    return [
        ("Foreign traffic", lambda: measures.instructions(folder / "callgrind", plan, empty), False),
        ("Start and memory", lambda: measures.starting(house, plan), False),
        ("Foreign rate", lambda: measures.foreign_rate(house, plan), True),
        ("Version reports", lambda: measures.version_reports(house, plan), True),
        ("Percentages", lambda: measures.percentages(house, plan), True),
        ("Status changes", lambda: measures.status_changes(house, plan), True),
        ("Answer latency", lambda: measures.answer_latency(house, plan), True),
        ("Downloads", lambda: measures.downloads(house, plan), True),
        ("While others publish", lambda: measures.while_others_publish(house, plan), True),
        ("Memory at the end", lambda: measures.memory_after(house), True),
    ]


def prepare(folder, plan):
    """The plugin makes the schema; gives a small database, the large one and what is in it."""
    empty, template = folder / "empty" / "ota.db", folder / "template" / "ota.db"
    parts.Broker(empty.parent, "quiet").stop()
    parts.copy_database(empty, template)
    began = time.monotonic()
    fleet = fill.fill(template, plan.devices)
    print(f"{plan.devices:,} devices filled in, {time.monotonic() - began:.0f} s", flush=True)
    return empty, template, fleet


def run(arguments, folder, plan):
    empty, template, fleet = prepare(folder, plan)
    house = measures.House(folder / "house", fleet, template)
    done = []
    try:
        for title, rows, at_home in sections(house, folder, plan, empty):
            if arguments.only and not any(word in title.lower() for word in arguments.only):
                continue
            if at_home and not house.running:
                house.start()
            print(f"== {title}", flush=True)
            seen = []
            for row in rows():
                print(f"   {report.say(row)}", flush=True)
                seen.append(row)
            done.append((title, seen))
    finally:
        house.stop()
    return done


def read_arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", type=str.lower)
    parser.add_argument("--dir", type=Path, default=parts.BUILD / "bench-run")
    parser.add_argument("--out", type=Path, default=parts.ROOT / "bench" / "RESULTS.md")
    return parser.parse_args()


def main():
    arguments = read_arguments()
    plan = QUICK if arguments.quick else FULL
    began = time.monotonic()
    folder = arguments.dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    where = report.place(folder, parts.ROOT)
    print(where, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all is ended and removed
    try:
        done = run(arguments, folder, plan)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - began
    if not arguments.only:
        report.write(arguments.out, arguments.quick, where, done, took)
        print(f"written: {arguments.out}")
    print(f"{took / 60:.1f} minutes")


if __name__ == "__main__":
    try:
        main()
    except (parts.Failed, KeyboardInterrupt) as problem:
        sys.exit(f"bench: {problem or 'interrupted'}")
