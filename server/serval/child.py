"""The serving process: one event loop with the app on the socket that the parent bound, and an orderly end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from serval import handover
from serval.errors import CannotStart, ServalError
from serval.handover import Orders
from serval.kin import die_with_parent
from serval.log import Log, open_log, take_over_logging
from serval.settings import Settings

BEAT_SECONDS = 0.5
LINGER_SECONDS = 0.25
"""What a client that has just connected may take to send its request before a stopping server hangs up."""
CUT_OFF_SECONDS = 1.0
"""What requests that were cut off may take to notice."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
"""`(scope, receive, send)`."""


@dataclass(frozen=True)
class Serving:
    """An app with all that it needs open."""

    app: AsgiApp
    render_metrics: Callable[[], bytes]
    """Prometheus text, for operators."""
    begin_drain: Callable[[], None]
    """From now on the app says that it is not ready."""


OpenApp = Callable[[Orders, Log], AbstractAsyncContextManager[Serving]]


@asynccontextmanager
async def open_serval(orders: Orders, log: Log) -> AsyncIterator[Serving]:
    """Serval itself. Raises CannotStart or Unavailable when what it stands on is out of reach."""
    from serval.app import build_app
    from serval.wiring import open_wiring

    await prepare_database(orders)
    async with open_wiring(orders.settings, log) as wiring:
        yield Serving(app=build_app(wiring), render_metrics=wiring.render_metrics, begin_drain=wiring.probes.stop)


async def prepare_database(orders: Orders) -> None:
    """Bring the embedded database up to date; one of the operator's own is theirs to migrate. Raises CannotStart, Unavailable."""
    from serval.db.engine import database_url
    from serval.db.migrate import current_revision, migrate, newest_revision

    settings = orders.settings
    url = database_url(settings.database_url, settings.data_dir)
    if settings.database_url is None:
        if orders.is_first:
            await migrate(url)
        return
    found, needed = await current_revision(url), newest_revision()
    if found != needed:
        raise CannotStart(f"the database is at revision {found or 'none'} and this Serval needs {needed}; run `serval migrate`")


def run_child(*, open_app: OpenApp = open_serval) -> int:
    """Serve as the orders on standard input say, until told to stop. Returns the exit code."""
    import uvloop

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which stops us in order
    orders = handover.decode(sys.stdin.buffer.read())
    die_with_parent(orders.parent)
    log = open_log(level=orders.settings.log_level, form=orders.settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(orders, open_app, log))
        except ServalError as error:
            sys.stderr.write(f"serval: {error.message}\n")
            return handover.ALREADY_TOLD
        finally:
            log.close()
    return 0


async def serve(orders: Orders, open_app: OpenApp, log: Log) -> None:
    """Open everything, answer until a signal says stop, close everything in order."""
    control = Control(orders.control_descriptor)
    stop = Stop()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(control.close)
        serving = await stack.enter_async_context(open_app(orders, log))
        front = Front(serving.app, orders.public_descriptor, log)
        await stack.enter_async_context(metrics_listener(orders.metrics_descriptor, serving.render_metrics))
        front.start()
        control.ready()
        await first_of(stop.asked.wait(), front.ended())
        log.info("draining")
        await drain(orders.settings, serving, front, is_reload=stop.is_reload)


async def drain(settings: Settings, serving: Serving, front: "Front", *, is_reload: bool) -> None:
    """Say so, wait for those who route to us, refuse new connections, finish what is under way."""
    serving.begin_drain()
    front.close_after_each_answer()
    if not is_reload:
        await asyncio.sleep(settings.drain_pause_seconds)
        await front.refuse_new_connections()
    await front.stop(settings.drain_seconds)


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait for one of them; an error of that one is raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


class Stop:
    """The signals that end this process: SIGTERM for good, SIGHUP to make way for its successor on the same socket."""

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
    """The line to the parent: beats go up, its end means that the parent has gone."""

    def __init__(self, descriptor: int) -> None:
        self._line = socket.socket(fileno=descriptor)
        self._line.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._line, self._on_readable)
        self._beating = loop.create_task(self._beat())

    def ready(self) -> None:
        self._line.send(handover.READY)

    async def close(self) -> None:
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating

    async def _beat(self) -> None:
        while True:
            with suppress(BlockingIOError):  # a parent that does not read has beats enough
                self._line.send(handover.BEAT)
            await asyncio.sleep(BEAT_SECONDS)

    def _on_readable(self) -> None:
        if not self._line.recv(64):
            os._exit(1)


class Front:
    """Granian on a socket that is already listening."""

    def __init__(self, app: AsgiApp, descriptor: int, log: Log) -> None:
        from serval.granian import server_on

        self._app = app
        self._is_closing = False
        self._listener = socket.socket(fileno=os.dup(descriptor))
        self._log = log
        self._server = server_on(descriptor, self._answer)
        self._running: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        take_over_logging(log)  # after Granian, which configures `logging` when it is made

    def start(self) -> None:
        self._running = asyncio.create_task(self._server.serve())

    async def ended(self) -> None:
        """Returns, or raises, when Granian ends without having been asked."""
        assert self._running is not None  # noqa: S101
        await asyncio.shield(self._running)
        raise RuntimeError("Granian ended unasked")

    def close_after_each_answer(self) -> None:
        """Tell keep-alive clients with their next answer to connect anew, which leads them elsewhere."""
        self._is_closing = True

    async def refuse_new_connections(self) -> None:
        """Keep out who is not connected yet; give who has just connected the time to ask."""
        from serval.listener import accepted_all, drop_new_connections

        drop_new_connections(self._listener)
        while not accepted_all(self._listener):  # noqa: ASYNC110 the kernel has no event for it
            await asyncio.sleep(0.005)
        await asyncio.sleep(LINGER_SECONDS)

    async def stop(self, patience_seconds: float) -> None:
        """Stop accepting and finish what is under way; what is not done in time is cut off."""
        assert self._running is not None  # noqa: S101
        self._listener.close()
        self._server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({self._running}, timeout=patience_seconds)
        if not self._running.done():
            self._log.warning("requests_cut_off", requests=len(self._under_way), after_seconds=patience_seconds)
            for task in self._under_way:
                task.cancel()
            await asyncio.wait({self._running}, timeout=CUT_OFF_SECONDS)

    async def _answer(self, scope: Any, receive: Any, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._under_way.add(task)
        try:
            await self._app(scope, receive, closing(send) if self._is_closing else send)
        finally:
            self._under_way.discard(task)


def closing(send: Send) -> Send:
    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
        await send(message)

    return send_closing


@asynccontextmanager
async def metrics_listener(descriptor: int, render: Callable[[], bytes]) -> AsyncIterator[None]:
    """Operators' metrics, on a socket of their own."""
    from serval.metrics_listener import answer_scrapes

    server = await asyncio.start_server(answer_scrapes(render), sock=socket.socket(fileno=descriptor), limit=8192)
    async with server:
        yield


if __name__ == "__main__":
    sys.exit(run_child())
