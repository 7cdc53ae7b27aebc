#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures the plugin beside what it is compared with. Use scripts/bench.

    --quick           short rounds and few of them: about four minutes
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
import inband
import measures
import parts
import report
import rollouts

FULL = SimpleNamespace(
    devices=1_000_000, rounds=7, seconds=2.5, probe_rounds=5, probe_seconds=6, deletion_seconds=40,
    latency_seconds=4, starts=3, callgrind_rounds=2, callgrind_lengths=(4_000, 20_000),
    batches=(100_000, 1_000_000), batch_rounds=3, fleet_rounds=3,
)
QUICK = SimpleNamespace(
    devices=1_000_000, rounds=3, seconds=0.8, probe_rounds=1, probe_seconds=3, deletion_seconds=20,
    latency_seconds=1.5, starts=1, callgrind_rounds=1, callgrind_lengths=(2_000, 8_000),
    batches=(100_000,), batch_rounds=1, fleet_rounds=1,
)


def sections(house, folder, plan, empty):
    """(title, its rows as they come, what it needs of the house: nothing, its fleet, or all)"""
    return [
        ("Foreign traffic", lambda: measures.instructions(folder / "callgrind", plan, empty), ""),
        ("Start and memory", lambda: measures.starting(house, plan), "fleet"),
        ("Foreign rate", lambda: measures.foreign_rate(house, plan), "all"),
        ("Version reports", lambda: measures.version_reports(house, plan), "all"),
        ("Percentages", lambda: measures.percentages(house, plan), "all"),
        ("Status changes", lambda: measures.status_changes(house, plan), "all"),
        ("Answer latency", lambda: measures.answer_latency(house, plan), "all"),
        ("Downloads", lambda: measures.downloads(house, plan), "all"),
        ("While others publish", lambda: measures.while_others_publish(house, plan), "all"),
        ("Batches", lambda: rollouts.making(folder / "batches", plan, empty), ""),
        ("Notices", lambda: rollouts.notices(folder / "batches", plan, empty), ""),
        ("Whole upgrades", lambda: rollouts.upgrades(folder / "batches", plan, empty), ""),
        ("In-band", lambda: inband.rows(folder / "inband", plan, empty), ""),
        ("Memory at the end", lambda: measures.memory_after(house), "all"),
    ]


def make_empty(folder):
    """A database with the plugin's schema, as the plugin makes it."""
    parts.Broker(folder / "empty", "quiet").stop()
    return folder / "empty" / "ota.db"


def make_fleet(house, empty, devices):
    parts.copy_database(empty, house.template)
    began = time.monotonic()
    house.fleet = fill.fill(house.template, devices)
    print(f"{devices:,} devices filled in, {time.monotonic() - began:.0f} s", flush=True)


def run(arguments, folder, plan):
    empty = make_empty(folder)
    house = measures.House(folder / "house")
    done = []
    try:
        for title, rows, needs in sections(house, folder, plan, empty):
            if arguments.only and not any(word in title.lower() for word in arguments.only):
                continue
            if needs and house.fleet is None:
                make_fleet(house, empty, plan.devices)
            if needs == "all" and not house.running:
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
