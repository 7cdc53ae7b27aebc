# SPDX-License-Identifier: BSD-3-Clause
"""Faults of the machine under a broker: tests/preload/faults.c, steered through a mapped file."""
import mmap
import shutil
import struct
from pathlib import Path

FIELDS = ("wall_ms", "mono_ms", "writes_left", "writes")  # struct control
NAMES = ("", "-wal", "-journal")


class Faults:
    """For broker(faults=…). Its fields are attributes, to be read and set at any time."""

    def __init__(self, folder, durable=False, early=0):
        """durable: keep what a power cut would leave, for power_cut(); early: percent of the
        writes that are on the disk before they are synced."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "faults"
        self.path.write_bytes(bytes(8 * len(FIELDS)))
        self.durable = folder / "durable" if durable else None
        self.early = early
        if durable:
            self.durable.mkdir()
        with open(self.path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.writes_left = -1

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
