# SPDX-License-Identifier: BSD-3-Clause
"""Faults of the machine under a broker: tests/preload/faults.c, steered through a mapped file."""
import errno
import mmap
import shutil
import struct
from pathlib import Path

# struct control
FIELDS = ("wall_ms", "mono_ms", "writes_left", "write_errno", "writes", "open_errno")
NAMES = ("", "-wal", "-journal")


class Faults:
    """For broker(faults=…). Its fields are attributes, to be read and set at any time."""

    def __init__(self, folder, durable=False, early=0, alone=False):
        """alone: the database itself is meant, not what lies beside it; durable: keep what a power cut would leave, for power_cut(); early: percent of the
        writes that are on the disk before they are synced."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "faults"
        self.path.write_bytes(bytes(8 * len(FIELDS)))
        self.durable = folder / "durable" if durable else None
        self.early, self.alone = early, alone
        if durable:
            self.durable.mkdir()
        with open(self.path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.writes_left = -1

    def fail_writes(self, reason=errno.ENOSPC, after=0):
        """After so many writes to the database, and what lies beside it, each fails."""
        self.write_errno = reason
        self.writes_left = after

    def kill_at_write(self, after):
        self.fail_writes(-1, after)

    def heal(self):
        self.writes_left = -1
        self.open_errno = 0

    def __getattr__(self, name):
        if name not in FIELDS:
            raise AttributeError(name)
        return struct.unpack_from("q", self._map, 8 * FIELDS.index(name))[0]

    def __setattr__(self, name, value):
        if name in FIELDS:
            struct.pack_into("q", self._map, 8 * FIELDS.index(name), int(value))
        else:
            super().__setattr__(name, value)

    def environment(self, file):
        more = {"OTA_FAULTS": str(self.path), "OTA_FAULTS_FILE": str(file),
                "OTA_FAULTS_EARLY": str(self.early)}
        if self.alone:
            more["OTA_FAULTS_ALONE"] = "1"
        if self.durable:
            more["OTA_FAULTS_DURABLE"] = str(self.durable)
        return more

    def power_cut(self, file):
        """After the broker was killed: the files become what was on the disk."""
        for suffix in (*NAMES, "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
            copy = self.durable / f"{Path(file).name}{suffix}"
            if copy.exists():
                shutil.copy(copy, f"{file}{suffix}")
