"""The free space of the data folder's disk: what has to stay free, and a reserve for what has to work without any."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

from serval.errors import DiskFull, Unavailable

RESERVE_BYTES = 8 << 20
"""Kept in a file that is given back when the disk is full: what SQLite takes to open, and to delete a model."""
PART_BYTES = 2 << 20
"""So much of it is given back at a time: others who fill the disk may take it."""
LEAST_RESERVE_BYTES = 256 << 10
"""Where there is less than twice as much free, there is nothing to keep."""
FULL_BELOW_BYTES = 1 << 20
"""With less free space a disk is full: what is written next may fail."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The disk is full, or what the server's user may take of it."""


Level = Literal["ok", "low", "full"]


def full_to_start(folder: Path) -> str:
    """The sentence of a server that cannot start on a full disk."""
    return f"the disk of the data folder `{folder}` is full, and a start needs a few MiB: make room"


class DiskSpace:
    """Tells whether more may be written, and keeps the reserve."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        """`min_free_bytes`: with less free space, nothing is written that can wait or be refused."""
        self.folder = folder
        self.min_free_bytes = min_free_bytes
        self._reserve = folder / "reserve"

    def free_bytes(self) -> int:
        """Return the free space, without the reserve. Raises OSError."""
        return shutil.disk_usage(self.folder).free

    def is_low(self) -> bool:
        """Whether less is free than has to stay free."""
        return self.free_bytes() < self.min_free_bytes

    def is_full(self) -> bool:
        """Whether what is written next may fail."""
        return self.free_bytes() < FULL_BELOW_BYTES

    def level(self) -> Level:
        """Return `ok`, `low` where less is free than has to stay free, or `full`."""
        free_bytes = self.free_bytes()
        if free_bytes < FULL_BELOW_BYTES:
            return "full"
        return "low" if free_bytes < self.min_free_bytes else "ok"

    def check(self) -> int:
        """Return how many bytes may be written. Raises DiskFull where less is free than has to stay free."""
        free_bytes = self.free_bytes()
        if free_bytes < self.min_free_bytes or not free_bytes:
            raise self.refusal(free_bytes)
        return free_bytes - self.min_free_bytes

    def refusal(self, free_bytes: int) -> DiskFull:
        return DiskFull(
            f"The disk of the data folder has {free_bytes} bytes left; {self.min_free_bytes} have to stay free "
            "(`min_free_disk_bytes`). Delete models with `?purge=true`, or ask the operator to make room."
        )

    def failure(self, error: OSError) -> Unavailable:
        """The error of a write that failed: the disk is full, or takes nothing for another reason."""
        if error.errno in NO_SPACE:
            return self.refusal(self.free_bytes())
        return Unavailable(f"The data folder cannot be written: {error.strerror or error}. Ask the operator.")

    def make_room(self) -> None:
        """Give a part of the reserve back where the disk is full, for something that frees space or must not fail."""
        if self.is_full() and self._reserve.exists():
            os.truncate(self._reserve, max(0, self._reserve.stat().st_size - PART_BYTES))

    def keep_reserve(self) -> None:
        """Take what is missing of the reserve, and never more than half of what is free. Nothing is taken where that is
        impossible."""
        with suppress(OSError):
            size_bytes = self._reserve.stat().st_size if self._reserve.exists() else 0
            wanted_bytes = min(RESERVE_BYTES, (size_bytes + self.free_bytes()) // 2)
            if wanted_bytes > size_bytes and wanted_bytes >= LEAST_RESERVE_BYTES:
                descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, wanted_bytes)
                finally:
                    os.close(descriptor)
