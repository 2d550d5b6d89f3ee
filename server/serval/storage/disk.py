"""Stores files under the data folder: written whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Self

from serval.errors import TooLarge, Unavailable


class Incoming:
    """A file on its way in: hashed and counted as it is written, then kept under a key or dropped.

    As a context manager it is dropped at the end of the block, unless it was kept.
    """

    def __init__(self, file: BinaryIO, path: Path, limit_bytes: int) -> None:
        self._file = file
        self._path = path
        self._limit_bytes = limit_bytes
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append a chunk. Raises TooLarge past the limit, before the chunk is written."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limit_bytes:
            raise TooLarge(f"The file is larger than {self._limit_bytes} bytes, the limit set by `max_upload_bytes`.")
        self._hash.update(chunk)
        self._file.write(chunk)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Path]:
        """Yield a local file with all that was written, to be read inside the block."""
        self._file.flush()
        yield self._path

    def move_to(self, target: Path) -> None:
        """Make the file durable and visible under its final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        _sync_folder(target.parent)
        _sync_folder(target.parent.parent)  # it holds the entry of the first, which may be new

    def drop(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class DiskStorage:
    """Files by key, `<folder>/<name>`, below one folder of the disk."""

    def __init__(self, root: Path, min_free_bytes: int) -> None:
        """`min_free_bytes`: an upload is refused when it would leave less than this free on the disk."""
        self._root = root
        self._min_free_bytes = min_free_bytes
        self._incoming = root / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True, mode=0o700)

    def receive(self, limit_bytes: int) -> Incoming:
        """Open a file for an upload. Raises Unavailable when the disk is nearly full."""
        free_bytes = shutil.disk_usage(self._root).free
        if free_bytes < self._min_free_bytes:
            raise Unavailable(
                f"The disk has {free_bytes} bytes left, less than the {self._min_free_bytes} that have to stay free "
                "(`min_free_disk_bytes`)."
            )
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        limit_bytes = min(limit_bytes, free_bytes - self._min_free_bytes + 1)
        return Incoming(os.fdopen(descriptor, "wb"), Path(name), limit_bytes)

    def keep(self, incoming: Incoming, key: str) -> None:
        """Store a received file under a key, durably."""
        incoming.move_to(self._path(key))

    def write(self, key: str, content: bytes) -> None:
        """Store bytes under a key, durably."""
        with self.receive(len(content)) as incoming:
            incoming.write(content)
            self.keep(incoming, key)

    def read(self, key: str) -> bytes:
        return self._path(key).read_bytes()

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[Path]:
        """Yield a local file with the content of a key, to be read inside the block."""
        yield self._path(key)

    def delete(self, key: str) -> None:
        """Delete a key, or all keys below it. Nothing happens where there is none."""
        path = self._path(key)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def folders(self) -> list[str]:
        """Return the first parts of all keys."""
        return sorted(entry.name for entry in self._root.iterdir() if entry.is_dir() and entry != self._incoming)

    def _path(self, key: str) -> Path:
        return self._root / key


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
