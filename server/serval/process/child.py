"""The serving process: one event loop with the app on the socket that the parent bound, and an orderly end."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serval.errors import CannotStart, ServalError
from serval.log import Log, open_log
from serval.process import handover
from serval.process.handover import ServeConfig
from serval.process.parent_death import die_with_parent
from serval.settings.settings import Settings
from serval.storage.space import NO_SPACE, full_to_start

if TYPE_CHECKING:
    from serval.http.asgi import AsgiApp
    from serval.port.public_port import OpenFront, PublicPort

BEAT_SECONDS = 0.5


@dataclass(frozen=True)
class Serving:
    """An app with all that it needs open."""

    app: "AsgiApp"
    render_metrics: Callable[[], bytes]
    """Prometheus text, for operators."""
    begin_drain: Callable[[], None]
    """Makes the readiness probe fail from now on."""
    open_front: "OpenFront | None" = None
    """None: the app has the public port for itself."""


OpenApp = Callable[[ServeConfig, Log], AbstractAsyncContextManager[Serving]]


@asynccontextmanager
async def open_serval(config: ServeConfig, log: Log) -> AsyncIterator[Serving]:
    """Open Serval. Raises CannotStart or Unavailable where the database or Redis is unreachable."""
    gc.disable()  # each collection would walk all that is imported, which stays for good
    from serval.app import build_app
    from serval.port.front import front_opener
    from serval.wiring import open_service

    gc.freeze()
    gc.enable()
    await prepare_database(config)
    async with open_service(config.settings, log) as service:
        yield Serving(
            app=build_app(service),
            render_metrics=service.core.render_metrics,
            begin_drain=service.probes.stop,
            open_front=front_opener(service.core.plane, config.settings) if config.settings.front else None,
        )


async def prepare_database(config: ServeConfig) -> None:
    """Check a database that is a file, and migrate the embedded one; an operator migrates a database of their own.
    Raises CannotStart, Unavailable."""
    from serval.db.engine import database_url
    from serval.db.integrity import check_at_start
    from serval.db.migrate import current_revision, migrate, newest_revision

    settings = config.settings
    url = database_url(settings.database_url, settings.data_dir)
    if config.is_first:
        await check_at_start(url)
    if settings.database_url is None:
        if config.is_first:
            await migrate(url)
        return
    installed, required = await current_revision(url), newest_revision()
    if installed != required:
        raise CannotStart(
            f"the database is at revision {installed or 'none'} and this Serval needs {required}; run `serval migrate`"
        )


def run_child(*, open_app: OpenApp = open_serval) -> int:
    """Serve by the configuration on standard input until a signal. Returns the exit code."""
    import uvloop

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which stops us in order
    config = handover.decode(sys.stdin.buffer.read())
    die_with_parent(config.parent)
    settings = config.settings
    log = open_log(level=settings.log_level, form=settings.log_format, min_free_bytes=settings.min_free_disk_bytes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(config, open_app, log))
        except ServalError as error:
            sys.stderr.write(f"serval: {error.message}\n")
            return handover.ALREADY_REPORTED
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            sys.stderr.write(f"serval: {full_to_start(config.settings.data_dir)}\n")
            return handover.ALREADY_REPORTED
        finally:
            log.close()
    return 0


async def serve(config: ServeConfig, open_app: OpenApp, log: Log) -> None:
    """Open everything, answer until a signal says stop, close everything in order."""
    from serval.port.certificates import read_certificate
    from serval.port.public_port import open_port

    certificate = read_certificate(config.settings)
    control = Control(config.control_descriptor)
    stop = Stop()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(control.close)
        serving = await stack.enter_async_context(open_app(config, log))
        port = await stack.enter_async_context(
            open_port(
                serving.app,
                config.public_descriptor,
                config.settings.data_dir,
                config.settings.max_head_bytes,
                open_front=serving.open_front,
                certificate=certificate,
                log=log,
            )
        )
        await stack.enter_async_context(
            metrics_listener(config.metrics_descriptor, lambda: serving.render_metrics() + port.metrics())
        )
        control.on_beat(port.beat)
        control.ready()
        await first_of(stop.asked.wait(), port.ended())
        log.info("draining")
        await drain(config.settings, serving, port, is_reload=stop.is_reload)


async def drain(settings: Settings, serving: Serving, port: "PublicPort", *, is_reload: bool) -> None:
    """Report not ready, wait for load balancers, refuse new connections, finish requests in flight."""
    serving.begin_drain()
    port.close_after_each_answer()
    if not is_reload:
        await asyncio.sleep(settings.drain_pause_seconds)
        await port.refuse_new_connections()
    await port.stop(settings.drain_seconds)


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait for one of them; an error of that one is raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


class Stop:
    """The signals that stop this process: SIGTERM for good, SIGHUP for a successor on the same socket."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.is_reload = False
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ask, False)
        loop.add_signal_handler(signal.SIGHUP, self._ask, True)

    def _ask(self, is_reload: bool) -> None:
        self.is_reload = is_reload
        self.asked.set()


class Control:
    """The channel to the parent: heartbeats go up; end of file means that the parent has exited."""

    def __init__(self, descriptor: int) -> None:
        self._channel = socket.socket(fileno=descriptor)
        self._channel.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._on_readable)
        self._on_beat: Callable[[], None] = _nothing
        self._beating = loop.create_task(self._beat())

    def on_beat(self, call: Callable[[], None]) -> None:
        """Call something with each beat from now on."""
        self._on_beat = call

    def ready(self) -> None:
        self._channel.send(handover.READY)

    async def close(self) -> None:
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating

    async def _beat(self) -> None:
        while True:
            with suppress(BlockingIOError):  # a parent that does not read has beats enough
                self._channel.send(handover.BEAT)
            self._on_beat()
            await asyncio.sleep(BEAT_SECONDS)

    def _on_readable(self) -> None:
        if not self._channel.recv(64):
            os._exit(1)


def _nothing() -> None:
    """Before the port is open a heartbeat does nothing else."""


@asynccontextmanager
async def metrics_listener(descriptor: int, render: Callable[[], bytes]) -> AsyncIterator[None]:
    """Operators' metrics, on a socket of their own."""
    from serval.port.metrics_listener import answer_scrapes

    server = await asyncio.start_server(answer_scrapes(render), sock=socket.socket(fileno=descriptor), limit=8192)
    async with server:
        yield


if __name__ == "__main__":
    sys.exit(run_child())
