"""What a server locks before it starts anything, its data folder and its ports, and how others find it there."""

import errno
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from serval.errors import CannotStart
from serval.storage.space import DiskSpace

LOCK_NAME = "serval.lock"
ADDRESS_NAME = "address"
BACKLOG = 1024


def lock_data_folder(folder: Path, *, patience_seconds: float = 2.0) -> int:
    """Make the data folder and lock it; the descriptor holds the lock. Raises CannotStart.

    Every process of the server inherits the descriptor, so a folder is free only when the last of them is gone;
    the patience is for those that are just dying with a killed parent.
    """
    descriptor = open_lock(folder)
    deadline = time.monotonic() + patience_seconds
    while not locked(descriptor):
        if time.monotonic() > deadline:
            raise CannotStart(
                f"the data folder `{folder}` is in use by another server{holder(descriptor)}; "
                "stop it or choose `--data-dir`"
            )
        time.sleep(0.05)
    DiskSpace(folder, min_free_bytes=0).make_room()  # or a server on a full disk could not open what it has
    line = f"{os.getpid()}\n".encode()
    with suppress(OSError):  # on a full disk nobody can read whose the lock is, and all else goes on
        os.truncate(descriptor, os.pwrite(descriptor, line, 0))
    return descriptor


def open_lock(folder: Path) -> int:
    """Make the data folder where there is none, and open its lock file. Raises CannotStart."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(
            f"the data folder `{folder}` cannot be written: {reason(error)}; choose another with `--data-dir`"
        ) from error


def locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder(descriptor: int) -> str:
    """The process that wrote itself into the lock file, as words."""
    written = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f" (process {written})" if written.isdigit() else ""


def listen(host: str, port: int, *, flag: str) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises CannotStart, naming the `flag` that chooses the port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise CannotStart(refusal(error, host, port, flag)) from error
    return listener


def listen_anyway(host: str, port: int, *, flag: str) -> socket.socket:
    """A listening socket; where the port is in use, on a free one. Raises CannotStart."""
    try:
        return listen(host, port, flag=flag)
    except CannotStart as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EADDRINUSE:
            raise
    return listen(host, 0, flag=flag)


def refusal(error: OSError, host: str, port: int, flag: str) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"`{host}` is not an address of this machine: {reason(error)}"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program; choose another with `{flag}`"
    return f"port {port} on {host} cannot be opened: {reason(error)}; choose another with `{flag}`"


def reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def write_address(folder: Path, url: str) -> None:
    """Write it whole or not at all: a command that reads half of it would talk to another server."""
    incoming = folder / f"{ADDRESS_NAME}.new"
    incoming.write_text(f"{url}\n", encoding="ascii")
    incoming.replace(folder / ADDRESS_NAME)


def remove_address(folder: Path) -> None:
    with suppress(FileNotFoundError):
        (folder / ADDRESS_NAME).unlink()


def holding_process(folder: Path) -> int | None:
    """The process that holds the lock of a data folder; None: no server runs there."""
    written = _held_lock(folder)
    return int(written) if written is not None and written.isdigit() else None


def running_server(folder: Path) -> str | None:
    """The base URL of the server that runs in a data folder; None: none runs there, or it is not ready."""
    try:
        url = (folder / ADDRESS_NAME).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return None if _held_lock(folder) is None else url


def _held_lock(folder: Path) -> str | None:
    """What the server that holds the lock of a data folder wrote into it; None: nobody holds it."""
    try:
        with (folder / LOCK_NAME).open("rb") as lock:
            written = lock.read(32).decode(errors="replace").strip()
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return written
    except OSError:
        return None
    return None
