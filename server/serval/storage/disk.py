"""Stores files under the data folder: written whole or not at all."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from serval.errors import ServalError, TooLarge
from serval.storage.incoming import IncomingFolder
from serval.storage.space import DiskSpace


class Incoming:
    """A file on its way in: hashed and counted as it is written, then kept under a key or dropped.

    As a context manager it is dropped at the end of the block, unless it was kept.
    """

    def __init__(self, file: BinaryIO, path: Path, limit: "Limit", space: DiskSpace) -> None:
        self._file = file
        self._path = path
        self._limit = limit
        self._space = space
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append a chunk. Raises what the limit says past it, before the chunk is written; DiskFull."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limit.size_bytes:
            raise self._limit.refusal()
        self._hash.update(chunk)
        with self._translated_errors():
            self._file.write(chunk)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Path]:
        """Yield a local file with all that was written, to be read inside the block."""
        with self._translated_errors():
            self._file.flush()
        yield self._path

    def move_to(self, target: Path) -> None:
        """Make the file durable and visible under its final name. Raises DiskFull."""
        with self._translated_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(target)
            _sync_folder(target.parent)
            _sync_folder(target.parent.parent)  # it holds the entry of the first, which may be new

    def drop(self) -> None:
        with suppress(OSError):  # what was not written yet, on a full disk
            self._file.close()
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._space.failure(error) from error


class Limit(NamedTuple):
    """How long a file may become, and the error of one that would be longer."""

    size_bytes: int
    refusal: Callable[[], ServalError]


def of_uploads(max_bytes: int) -> Limit:
    """What the settings say of one file."""
    return Limit(
        max_bytes,
        lambda: TooLarge(f"The file is larger than {max_bytes} bytes, the limit set by `max_upload_bytes`."),
    )


class DiskStorage:
    """Files by key, `<folder>/<name>`, below one folder of the disk."""

    def __init__(self, root: Path, space: DiskSpace) -> None:
        """`space`: of the disk; a file is refused when it would leave less free than has to stay free."""
        self.root = root
        self._space = space
        self._set_aside = root / "set-aside"
        self._owner = root / "database"
        self._incoming = IncomingFolder(root / "incoming")

    def receive(self, limit: Limit) -> Incoming:
        """Open a file for an upload. Raises DiskFull when the disk is nearly full, Unavailable where it
        takes nothing."""
        may_write_bytes = self._space.check()
        of_disk = Limit(may_write_bytes, lambda: self._space.refusal(self._space.free_bytes()))
        try:
            descriptor, name = tempfile.mkstemp(dir=self._incoming.path)
        except OSError as error:
            raise self._space.failure(error) from error
        return Incoming(
            os.fdopen(descriptor, "wb"), Path(name), min(limit, of_disk, key=lambda each: each.size_bytes), self._space
        )

    def keep(self, incoming: Incoming, key: str) -> None:
        """Store a received file under a key, durably."""
        incoming.move_to(self._path(key))

    def write(self, key: str, content: bytes) -> None:
        """Store bytes under a key, durably. Raises DiskFull."""
        with self.receive(of_uploads(len(content))) as incoming:
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

    def size_bytes(self, folder: str) -> int:
        """Return the size of all files in a folder; 0 where there is none."""
        path = self._path(folder)
        return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else 0

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
        """Remember whose files these are, durably. Raises DiskFull."""
        with self.receive(of_uploads(len(owner) + 1)) as incoming:
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
