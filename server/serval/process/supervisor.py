"""The parent process: holds the folder, the sockets and Valkey, keeps one serving process alive, stops all in order."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from serval.log import Log
from serval.process.handover import ServeConfig
from serval.process.locks import listen, listen_anyway, lock_data_folder, remove_address, write_address
from serval.process.serving_process import ServingProcess, exit_fields, startup_failure
from serval.process.sidecar import Sidecar
from serval.process.valkey import Valkey
from serval.settings.settings import Settings

SERVING_COMMAND = (sys.executable, "-m", "serval.process.child")
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.2, 10.0
STEADY_SECONDS = 60.0
"""A serving process that ran for this long restarts without a pause."""
GRACE_SECONDS = 5.0
"""How long the serving process may take to close everything after its requests are done."""


class Supervisor:
    """One server: `run` returns the exit code of the command."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        *,
        command: Sequence[str] = SERVING_COMMAND,
        sidecar: Sequence[str] | None = None,
        is_metrics_port_chosen: bool = True,
    ) -> None:
        """`command` starts the serving process. If nobody chose the metrics port, a free one replaces it where it is
        in use. `sidecar` is a command started when the server first answers, with its
        address and key in the environment; when it fails, the server stops."""
        self._settings = settings
        self._log = log
        self._command = command
        self._is_metrics_port_chosen = is_metrics_port_chosen
        self._sidecar = None if sidecar is None else Sidecar(sidecar, self._on_sidecar_failure)
        self._exit_code = 0
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()
        self._lock = -1
        self._listeners: list[socket.socket] = []

    async def run(self, watch: Path | None = None) -> int:
        """Serve until a signal. Raises CannotStart where the first serving process does not get ready.

        `watch`: a folder of code whose changes restart the serving process.
        """
        async with AsyncExitStack() as stack:
            self._lock = lock_data_folder(self._settings.data_dir)
            stack.callback(os.close, self._lock)
            remove_address(self._settings.data_dir)  # of a server that was killed
            public = stack.enter_context(listen(self._settings.host, self._settings.port, flag="--port"))
            metrics = stack.enter_context(self._listen_for_metrics())
            self._listeners = [public, metrics]
            self._take_signals()
            settings = msgspec.structs.replace(
                self._settings,
                data_dir=self._settings.data_dir.resolve(),
                port=public.getsockname()[1],
                metrics_port=metrics.getsockname()[1],
                redis_url=self._settings.redis_url or await self._start_valkey(stack),
            )
            stack.callback(remove_address, settings.data_dir)
            if watch is not None:
                watcher = asyncio.create_task(self._watch(watch))
                stack.callback(watcher.cancel)
            if self._sidecar is not None:
                stack.push_async_callback(self._sidecar.stop)
            await self._keep_alive(settings, public, metrics)
        self._log.info("stopped", code=self._exit_code)
        return self._exit_code

    def _listen_for_metrics(self) -> socket.socket:
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if self._is_metrics_port_chosen:
            return listen(host, port, flag="--metrics-port")
        listener = listen_anyway(host, port, flag="--metrics-port")
        if (instead := listener.getsockname()[1]) != port:
            self._log.warning("metrics_port_in_use", port=port, instead=instead)
        return listener

    async def _start_valkey(self, stack: AsyncExitStack) -> str:
        valkey = Valkey(
            self._settings.data_dir / "valkey", self._lock, self._log, min_free_bytes=self._settings.min_free_disk_bytes
        )
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
            os._exit(128 + number)  # the kernel kills the children with this process
        self._log.info("stopping", signal=number.name)
        self._stop()

    def _stop(self) -> None:
        for listener in self._listeners:  # or clients would wait in the queue of a socket that only this process holds
            listener.close()
        self._stopping.set()

    async def _keep_alive(self, settings: Settings, public: socket.socket, metrics: socket.socket) -> None:
        pause = 0.0
        is_first = True
        while not self._stopping.is_set():
            config = ServeConfig(
                settings=settings,
                parent=os.getpid(),
                public_descriptor=public.fileno(),
                metrics_descriptor=metrics.fileno(),
                control_descriptor=-1,
                is_first=is_first,
            )
            child = await ServingProcess.start(self._command, config, self._lock)
            code = await self._supervise(child, settings)
            if self._stopping.is_set():
                self._exit_code = self._exit_code or code
            elif is_first and not child.is_ready and code >= 0:
                # A child that exits by itself cannot start; one that was killed is tried again.
                self._exit_code = startup_failure(code)
                return
            else:
                is_first = is_first and not child.is_ready
                pause = await self._pause_before_restart(child, code, pause)

    async def _supervise(self, child: ServingProcess, settings: Settings) -> int:
        """Wait until the child exits, by itself or because the server stops. Returns its exit code."""
        beats = asyncio.create_task(child.listen(settings.stall_seconds, self._log))
        ready = asyncio.create_task(self._log_ready(child, settings))
        exited = asyncio.create_task(child.process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        reloading = asyncio.create_task(self._reloading.wait())
        try:
            await asyncio.wait({exited, stopping, reloading}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and not exited.done():
                return await self._drain(child, settings)
            if reloading.done() and not exited.done():
                self._reloading.clear()
                child.process.send_signal(signal.SIGHUP)
            return await exited
        finally:
            for task in (beats, ready, exited, stopping, reloading):
                task.cancel()
            child.close()

    async def _drain(self, child: ServingProcess, settings: Settings) -> int:
        patience = settings.drain_pause_seconds + settings.drain_seconds + GRACE_SECONDS
        if await child.end(patience):
            return 0 if child.process.returncode in {0, -signal.SIGTERM} else 1
        self._log.error("serving_process_killed", after_seconds=patience)
        return 1

    async def _log_ready(self, child: ServingProcess, settings: Settings) -> None:
        await child.ready.wait()
        url = url_of(settings)
        try:
            write_address(settings.data_dir, url)
        except OSError as error:  # commands in the folder do not find it then, and everybody else does
            self._log.warning("address_not_written", reason=error.strerror)
        self._log.info(
            "ready",
            url=url,
            docs=f"{url}/docs",
            metrics_port=settings.metrics_port,
            key_file=str(settings.admin_key_file),
            process=child.process.pid,
        )
        if self._sidecar is not None:
            self._sidecar.start(url, settings.admin_key_file)

    def _on_sidecar_failure(self) -> None:
        if not self._stopping.is_set():
            self._exit_code = 1
            self._stop()

    async def _pause_before_restart(self, child: ServingProcess, code: int, pause: float) -> float:
        """Log why the child exited and back off, longer each time. Returns the pause."""
        if code == 0:
            self._log.info("serving_process_restarting")
            return 0.0
        if child.age_seconds() > STEADY_SECONDS:
            pause = 0.0
        next_pause = min(max(2 * pause, MIN_BACKOFF_SECONDS), MAX_BACKOFF_SECONDS)
        self._log.error("serving_process_exited", **exit_fields(code), next_in_seconds=next_pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), next_pause)
        return next_pause

    async def _watch(self, folder: Path) -> None:
        known = modification_times(folder)
        while True:
            await asyncio.sleep(0.5)
            if (now := modification_times(folder)) != known:
                self._log.info("code_changed", file=str(max(now.items() ^ known.items(), key=lambda item: item[1])[0]))
                known = now
                self._reloading.set()


def url_of(settings: Settings) -> str:
    """Where a client on this machine finds the API."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 only compared
    scheme = "http" if settings.tls_cert_file is None else "https"
    return f"{scheme}://[{host}]:{settings.port}" if ":" in host else f"{scheme}://{host}:{settings.port}"


def modification_times(folder: Path) -> dict[Path, int]:
    """Each Python file below a folder with its modification time in nanoseconds."""
    mtimes = {}
    for path in folder.rglob("*.py"):
        with contextlib.suppress(FileNotFoundError):
            mtimes[path] = path.stat().st_mtime_ns
    return mtimes
