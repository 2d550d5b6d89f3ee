"""Keeps files under the data folder: written whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from serval.errors import TooLarge, Unavailable


class Incoming:
    """A file on its way in: hashed and counted as it is written, then kept under a key or dropped."""

    def __init__(self, file: BinaryIO, path: Path, limit_bytes: int) -> None:
        self._file = file
        self._path = path
        self._limit_bytes = limit_bytes
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append a chunk. Raises TooLarge past the limit, before the chunk is written."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limit_bytes:
            raise TooLarge(f"The file is larger than {self._limit_bytes} bytes, the limit set by `max_upload_bytes`.")
        self._hash.update(chunk)
        self._file.write(chunk)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def flushed(self) -> Path:
        """Return where all that was written can be read until the file is kept or dropped."""
        self._file.flush()
        return self._path

    def keep(self, target: Path) -> None:
        """Make the file durable and visible under its final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        for folder in (
            target.parent,
            target.parent.parent,
        ):  # the second holds the entry of the first, which may be new
            _sync_folder(folder)

    def drop(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class DiskStorage:
    """Files by key (`<version id>/source`, `<version id>/model.onnx`) in one folder."""

    def __init__(self, root: Path, floor_bytes: int) -> None:
        """`floor_bytes`: uploads are refused when less than this would stay free on the disk."""
        self._root = root
        self._floor_bytes = floor_bytes
        self._incoming = root / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True, mode=0o700)

    def receive(self, limit_bytes: int) -> Incoming:
        """Open a file for an upload. Raises Unavailable when the disk is nearly full."""
        free_bytes = shutil.disk_usage(self._root).free
        if free_bytes < self._floor_bytes:
            raise Unavailable(
                f"The disk has {free_bytes} bytes left, less than the floor of {self._floor_bytes} (`min_free_disk_bytes`)."
            )
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        return Incoming(os.fdopen(descriptor, "wb"), Path(name), min(limit_bytes, free_bytes - self._floor_bytes + 1))

    def write(self, key: str, content: bytes) -> None:
        """Store bytes under a key, durably."""
        incoming = self.receive(len(content))
        incoming.write(content)
        incoming.keep(self.path(key))

    def read(self, key: str) -> bytes:
        return self.path(key).read_bytes()

    def path(self, key: str) -> Path:
        return self._root / key

    def delete(self, key: str) -> None:
        """Forget a key, or all keys below it. Nothing happens where there is none."""
        path = self.path(key)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def folders(self) -> list[str]:
        """Names of the first parts of all keys."""
        return sorted(entry.name for entry in self._root.iterdir() if entry.is_dir() and entry != self._incoming)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
