"""Stores files under the data folder: written whole or not at all."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Self

from serval.errors import TooLarge, Unavailable
from serval.storage.incoming import IncomingFolder


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
        self.root = root
        self._min_free_bytes = min_free_bytes
        self._set_aside = root / "set-aside"
        self._owner = root / "database"
        self._incoming = IncomingFolder(root / "incoming")

    def receive(self, limit_bytes: int) -> Incoming:
        """Open a file for an upload. Raises Unavailable when the disk is nearly full."""
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < self._min_free_bytes:
            raise Unavailable(
                f"The disk has {free_bytes} bytes left, less than the {self._min_free_bytes} that have to stay free "
                "(`min_free_disk_bytes`)."
            )
        descriptor, name = tempfile.mkstemp(dir=self._incoming.path)
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
        return _folders_in(self.root, besides={"incoming", self._set_aside.name})

    def folders_set_aside(self) -> list[str]:
        """Return the folders that were set aside and are still there."""
        return _folders_in(self._set_aside) if self._set_aside.is_dir() else []

    def age_seconds(self, folder: str) -> float:
        """Return the time since something in a folder was written or deleted, by the clock of this machine."""
        return time.time() - self._path(folder).stat().st_mtime

    def set_aside(self, folder: str) -> None:
        """Take a folder away from where it is found, without deleting it."""
        self._set_aside.mkdir(mode=0o700, exist_ok=True)
        self._path(folder).rename(self._set_aside / folder)
        os.utime(self._set_aside / folder)

    def put_back(self, folder: str) -> None:
        """Bring back a folder that was set aside."""
        (self._set_aside / folder).rename(self._path(folder))

    def delete_set_aside(self, folder: str, min_age_seconds: float) -> bool:
        """Delete a folder that was set aside at least so long ago. Returns whether it was."""
        path = self._set_aside / folder
        if time.time() - path.stat().st_mtime < min_age_seconds:
            return False
        shutil.rmtree(path)
        return True

    def owner(self) -> str | None:
        """Return whose files these are, as `set_owner` was told; None: nobody has said."""
        return self._owner.read_text().strip() if self._owner.exists() else None

    def set_owner(self, owner: str) -> None:
        """Remember whose files these are, durably."""
        with self.receive(len(owner) + 1) as incoming:
            incoming.write(f"{owner}\n".encode())
            incoming.move_to(self._owner)

    def _path(self, key: str) -> Path:
        return self.root / key


def _folders_in(folder: Path, besides: AbstractSet[str] = frozenset()) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name not in besides)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
