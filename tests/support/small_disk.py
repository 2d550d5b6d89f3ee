"""A small disk for a data folder, to be filled to the last byte.

It is a file system in memory, mounted in a mount namespace of its own, by root or, in a user namespace, by anybody.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from support.http_client import SERVAL, UNMEASURED, Client
from support.processes import Running

BLOCK = bytes(4096)


class SmallDisk:
    """A mounted disk: servers run on it, and its files are reached from outside."""

    def __init__(self, mount_point: Path, size_bytes: int) -> None:
        mount_point.mkdir()
        self._mount_point = mount_point
        is_root = os.geteuid() == 0
        mount = f"mount -t tmpfs -o size={size_bytes} tmpfs '{mount_point}' && echo mounted && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", *([] if is_root else ["--user", "--map-root-user"]), "--mount", "sh", "-c", mount],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"mounted\n"
        entered = [] if is_root else ["--user", "--preserve-credentials"]
        self._enter = ["nsenter", "--target", str(self._holder.pid), *entered, "--mount"]
        self.folder = Path(f"/proc/{self._holder.pid}/root{mount_point}")
        """Where this process sees the disk."""

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.folder / "filled").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(BLOCK)

    def clear(self) -> None:
        """Give back what `fill` has taken."""
        (self.folder / "filled").unlink()

    @contextmanager
    def serving(self, settings: Mapping[str, str]) -> Iterator[Client]:
        """Run `serval serve` with its data on the disk until the block ends."""
        environ = {
            "SERVAL_DATA_DIR": str(self._mount_point / "data"),
            "SERVAL_PORT": "0",
            "SERVAL_METRICS_PORT": "0",
            "SERVAL_LOG_FORMAT": "json",
            "SERVAL_DRAIN_PAUSE_SECONDS": "0",
            "SERVAL_API_RATE": "unlimited",
            "SERVAL_CONVERT_PRELOAD": "false",
            "SERVAL_MIN_FREE_DISK_BYTES": "0",
            **UNMEASURED,
            **settings,
        }
        server = Running([*self._enter, sys.executable, SERVAL, "serve"], environ)
        try:
            client = Client(server.ready(), self.folder / "data")
            try:
                yield client
            finally:
                client.close()
        finally:
            server.popen.terminate()
            server.ended()
            server.close()

    def close(self) -> None:
        self._holder.communicate()


@contextmanager
def small_disk(mount_point: Path, size_bytes: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(mount_point, size_bytes)
    try:
        yield disk
    finally:
        disk.close()
