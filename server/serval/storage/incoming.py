"""The folder in which one process receives files. After that process has ended, the next one to start removes it."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "lock"


class IncomingFolder:
    """A folder of this process alone, below one that several processes and servers share."""

    def __init__(self, shared: Path) -> None:
        """Remove the folders of processes that have ended, and make one. Raises OSError."""
        shared.mkdir(parents=True, mode=0o700, exist_ok=True)
        with _locked(shared / LOCK_NAME):
            for folder in shared.iterdir():
                if folder.is_dir() and not _is_in_use(folder):
                    shutil.rmtree(folder)
            self.path = Path(tempfile.mkdtemp(dir=shared))
            self._lock = _open_lock(self.path / LOCK_NAME)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            os.close(self._lock)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_in_use(folder: Path) -> bool:
    """Whether the process whose folder it is holds its lock."""
    descriptor = _open_lock(folder / LOCK_NAME)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
