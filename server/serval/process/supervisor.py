"""The parent: holds the folder, the sockets and Valkey, keeps one serving process alive, and ends all of it in order."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from serval.errors import CannotStart
from serval.log import Log
from serval.process import handover
from serval.process.handover import ServeConfig
from serval.process.locks import claim_folder, listen
from serval.process.parent_death import command_of_kin
from serval.process.valkey import Valkey, end
from serval.settings.settings import Settings

SERVING_COMMAND = (sys.executable, "-m", "serval.process.child")
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0
STEADY_SECONDS = 60.0
"""A serving process that was up so long and dies is started again without a pause."""
GRACE_SECONDS = 5.0
"""What the serving process may take to close everything after its requests are done."""


class Supervisor:
    """One server: `run` returns the exit code of the command."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        *,
        command: Sequence[str] = SERVING_COMMAND,
        companion: Sequence[str] | None = None,
    ) -> None:
        """`command` starts the serving process. `companion` is started when it first answers, with the server's address
        and key
        in its environment; when it fails, the server ends."""
        self._settings = settings
        self._log = log
        self._command = command
        self._companion = companion
        self._companion_task: asyncio.Task[None] | None = None
        self._exit_code = 0
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()
        self._lock = -1
        self._listeners: list[socket.socket] = []

    async def run(self, watch: Path | None = None) -> int:
        """Serve until a signal. Raises CannotStart when it does not come up. `watch`: a folder of code; its changes
        restart the child."""
        async with AsyncExitStack() as stack:
            self._lock = claim_folder(self._settings.data_dir)
            stack.callback(os.close, self._lock)
            public = stack.enter_context(listen(self._settings.host, self._settings.port, flag="--port"))
            metrics = stack.enter_context(
                listen(self._settings.metrics_host, self._settings.metrics_port, flag="--metrics-port")
            )
            self._listeners = [public, metrics]
            self._take_signals()
            settings = msgspec.structs.replace(
                self._settings,
                data_dir=self._settings.data_dir.resolve(),
                port=public.getsockname()[1],
                metrics_port=metrics.getsockname()[1],
                redis_url=self._settings.redis_url or await self._start_valkey(stack),
            )
            if watch is not None:
                watcher = asyncio.create_task(self._watch(watch))
                stack.callback(watcher.cancel)
            stack.push_async_callback(self._leave_companion)
            await self._keep_serving(settings, public, metrics)
        self._log.info("stopped", code=self._exit_code)
        return self._exit_code

    async def _start_valkey(self, stack: AsyncExitStack) -> str:
        valkey = Valkey(self._settings.data_dir / "valkey", self._lock, self._log)
        stack.push_async_callback(valkey.stop)
        await valkey.start()
        return valkey.url

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._log.warning("exiting_immediately", signal=number.name)
            self._log.close()
            os._exit(128 + number)  # the kernel ends our kin with us
        self._log.info("stopping", signal=number.name)
        self._stop()

    def _stop(self) -> None:
        for listener in self._listeners:  # or a client would wait in the queue of a socket that only we keep open
            listener.close()
        self._stopping.set()

    async def _keep_serving(self, settings: Settings, public: socket.socket, metrics: socket.socket) -> None:
        pause = 0.0
        is_first = True
        while not self._stopping.is_set():
            orders = ServeConfig(
                settings=settings,
                parent=os.getpid(),
                public_descriptor=public.fileno(),
                metrics_descriptor=metrics.fileno(),
                control_descriptor=-1,
                is_first=is_first,
            )
            child = await Child.start(self._command, orders, self._lock)
            code = await self._live_with(child, settings)
            if self._stopping.is_set():
                self._exit_code = self._exit_code or code
            elif is_first and not child.is_ready and code >= 0:
                self._exit_code = told(
                    code
                )  # one that ends by itself can not start; one that was killed is tried again
                return
            else:
                is_first = is_first and not child.is_ready
                pause = await self._before_the_next(child, code, pause)

    async def _live_with(self, child: "Child", settings: Settings) -> int:
        """Until it ends, by itself or because it is told to. Returns its exit code."""
        beats = asyncio.create_task(child.listen(settings.stall_seconds, self._log))
        ready = asyncio.create_task(self._greet(child, settings))
        gone = asyncio.create_task(child.process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        reloading = asyncio.create_task(self._reloading.wait())
        try:
            await asyncio.wait({gone, stopping, reloading}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and not gone.done():
                return await self._drain(child, settings)
            if reloading.done() and not gone.done():
                self._reloading.clear()
                child.process.send_signal(signal.SIGHUP)
            return await gone
        finally:
            for task in (beats, ready, gone, stopping, reloading):
                task.cancel()
            child.close()

    async def _drain(self, child: "Child", settings: Settings) -> int:
        patience = settings.drain_pause_seconds + settings.drain_seconds + GRACE_SECONDS
        if await end(child.process, patience):
            return 0 if child.process.returncode in {0, -signal.SIGTERM} else 1
        self._log.error("serving_process_killed", after_seconds=patience)
        return 1

    async def _greet(self, child: "Child", settings: Settings) -> None:
        await child.ready.wait()
        url = url_of(settings)
        self._log.info(
            "ready",
            url=url,
            docs=f"{url}/docs",
            metrics_port=settings.metrics_port,
            key_file=str(settings.admin_key_file),
            process=child.process.pid,
        )
        if self._companion is not None and self._companion_task is None:
            self._companion_task = asyncio.create_task(self._accompany(self._companion, settings))

    async def _accompany(self, command: Sequence[str], settings: Settings) -> None:
        address = {
            "SERVAL_URL": url_of(settings),
            "SERVAL_KEY": settings.admin_key_file.read_text(encoding="ascii").strip(),
        }
        process = await asyncio.create_subprocess_exec(
            *command_of_kin(command),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # standard output is the log's
            start_new_session=True,
            env=without_settings() | address,
        )
        try:
            if await process.wait() != 0 and not self._stopping.is_set():
                self._exit_code = 1
                self._stop()
        except asyncio.CancelledError:
            await end(process, GRACE_SECONDS)
            raise

    async def _leave_companion(self) -> None:
        if self._companion_task is not None:
            self._companion_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._companion_task

    async def _before_the_next(self, child: "Child", code: int, pause: float) -> float:
        """Tell why there is to be another one, and wait longer each time. Returns the pause."""
        if code == 0:
            self._log.info("serving_process_restarting")
            return 0.0
        if child.age_seconds() > STEADY_SECONDS:
            pause = 0.0
        next_pause = min(max(2 * pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._log.error("serving_process_exited", **ending(code), next_in_seconds=next_pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), next_pause)
        return next_pause

    async def _watch(self, folder: Path) -> None:
        seen = changes_in(folder)
        while True:
            await asyncio.sleep(0.5)
            if (now := changes_in(folder)) != seen:
                self._log.info("code_changed", file=str(max(now.items() ^ seen.items(), key=lambda item: item[1])[0]))
                seen = now
                self._reloading.set()


class Child:
    """A serving process and the line to it."""

    def __init__(self, process: Process, line: socket.socket) -> None:
        self.process = process
        self.ready = asyncio.Event()
        self._line = line
        self._born = asyncio.get_running_loop().time()

    @classmethod
    async def start(cls, command: Sequence[str], orders: ServeConfig, lock: int) -> "Child":
        ours, theirs = socket.socketpair()
        orders = msgspec.structs.replace(orders, control_descriptor=theirs.fileno())
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                pass_fds=[orders.public_descriptor, orders.metrics_descriptor, orders.control_descriptor, lock],
                start_new_session=True,
                env=without_settings(),
            )
        ours.setblocking(False)
        child = cls(process, ours)
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it died at once; whoever waits for it sees that
            await give(process, handover.encode(orders))
        return child

    @property
    def is_ready(self) -> bool:
        return self.ready.is_set()

    def age_seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._born

    async def listen(self, stall_seconds: float, log: Log) -> None:
        """Take its beats; kill it when they stop."""
        loop = asyncio.get_running_loop()
        try:
            while beats := await asyncio.wait_for(loop.sock_recv(self._line, 64), stall_seconds):
                if handover.READY in beats:
                    self.ready.set()
        except TimeoutError:
            log.error("serving_process_stalled", without_a_beat_seconds=stall_seconds)
            self.process.kill()
        except ConnectionResetError:
            return

    def close(self) -> None:
        self._line.close()


async def give(process: Process, data: bytes) -> None:
    """Write all of the process's standard input."""
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(data)
    await process.stdin.drain()
    process.stdin.close()


def without_settings() -> dict[str, str]:
    """The environment without what the settings, and the secrets among them, came from."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SERVAL_")}


def told(code: int) -> int:
    """The exit code after a serving process that never got ready; unless it has said why itself, it is said here."""
    if code != handover.ALREADY_TOLD:
        raise CannotStart(
            f"the serving process ended before it was ready ({', '.join(f'{k} {v}' for k, v in ending(code).items())})"
        )
    return 1


def url_of(settings: Settings) -> str:
    """Where a client on this machine finds the API."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 only compared
    scheme = "http" if settings.tls_cert_file is None else "https"
    return f"{scheme}://[{host}]:{settings.port}" if ":" in host else f"{scheme}://{host}:{settings.port}"


def ending(code: int) -> dict[str, object]:
    """How a process ended, as fields of a log line."""
    return {"code": code} if code >= 0 else {"signal": signal.Signals(-code).name}


def changes_in(folder: Path) -> dict[Path, int]:
    """Each Python file below a folder, and when it changed last."""
    found = {}
    for path in folder.rglob("*.py"):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return found
