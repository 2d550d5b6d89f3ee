"""The public port: the front of the data plane with Granian behind it, or Granian alone; opened, drained, closed."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from serval.data_plane.plane import Front
from serval.http.asgi import AsgiApp
from serval.log import Log, redirect_logging
from serval.port.certificates import Certificate, CertificateWatch, log_certificate
from serval.port.granian import AppServer
from serval.port.listener import accepted_all, drop_new_connections
from serval.port.sockets import socket_path

PEER = b"x-serval-peer"
SCHEME = b"x-serval-scheme"
LINGER_SECONDS = 0.25
"""How long a client that has just connected may take to send its request to a stopping server."""
CUT_OFF_SECONDS = 1.0
"""How long aborted requests may take to end."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
OpenFront = Callable[[int, Path, tuple[bytes, bytes] | None], Front]
"""Opens a listening socket in the data plane, which leaves to the app on a Unix socket what it does not answer.

With a certificate (PEM of it with its chain, and of its key) the socket speaks TLS. Raises CannotStart.
"""


@asynccontextmanager
async def open_port(
    app: AsgiApp,
    descriptor: int,
    data_dir: Path,
    max_head_bytes: int,
    *,
    open_front: OpenFront | None,
    certificate: Certificate | None,
    log: Log,
) -> AsyncIterator["PublicPort"]:
    """Answer requests from now on, over TLS where there is a certificate; `PublicPort.stop` ends it. Raises
    CannotStart."""
    async with AsyncExitStack() as stack:
        port = PublicPort(
            app, descriptor, data_dir, max_head_bytes, open_front=open_front, certificate=certificate, log=log
        )
        await port.open(stack)
        yield port


class PublicPort:
    """The public socket: answered by the data plane's front, with Granian behind it on a socket of its own, or by
    Granian alone."""

    def __init__(
        self,
        app: AsgiApp,
        descriptor: int,
        data_dir: Path,
        max_head_bytes: int,
        *,
        open_front: OpenFront | None,
        certificate: Certificate | None,
        log: Log,
    ) -> None:
        self._app = app
        self._open_front = open_front
        self._certificate = certificate
        self._data_dir = data_dir
        self._max_head_bytes = max_head_bytes
        self._descriptor = descriptor
        self._listener = socket.socket(fileno=os.dup(descriptor))
        self._log = log
        self._is_closing = False
        self._front: Front | None = None
        self._granian: AppServer | None = None
        self._running: asyncio.Task[None] | None = None
        self._in_flight: set[asyncio.Task[Any]] = set()

    async def open(self, stack: AsyncExitStack) -> None:
        """Answer requests from now on."""
        endpoint: int | Path = self._descriptor
        if self._open_front is not None:
            endpoint = stack.enter_context(socket_path(self._data_dir, f"app-{os.getpid()}.sock"))
            self._granian = AppServer(self._answer, endpoint, self._max_head_bytes)
        else:
            self._granian = AppServer(self._answer, endpoint, self._max_head_bytes, self._certificate)
        redirect_logging(self._log)  # after Granian, which configures `logging` when it is made
        self._running = asyncio.create_task(self._granian.serve())
        if isinstance(endpoint, Path):
            assert self._open_front is not None  # noqa: S101
            while not self._running.done() and not accepts(endpoint):  # noqa: ASYNC110 a socket that is not there has no event
                await asyncio.sleep(0.002)
            certificate = self._certificate
            self._front = self._open_front(
                self._descriptor, endpoint, None if certificate is None else (certificate.chain, certificate.key)
            )
            os.close(self._descriptor)
            if certificate is not None:
                watching = asyncio.create_task(
                    CertificateWatch(certificate, self._front.set_certificate, self._log).run()
                )
                stack.callback(watching.cancel)
        if self._certificate is not None:
            log_certificate(self._certificate, self._log)

    def metrics(self) -> bytes:
        """The metrics of the front as Prometheus text."""
        return b"" if self._front is None else self._front.metrics()

    def beat(self) -> None:
        """The event loop is alive."""
        if self._front is not None:
            self._front.beat()

    async def ended(self) -> None:
        """Return, or raise, when Granian ends without having been stopped."""
        assert self._running is not None  # noqa: S101
        await asyncio.shield(self._running)
        raise RuntimeError("Granian ended unasked")

    def close_after_each_answer(self) -> None:
        """Close keep-alive connections with their next answer, so that clients reconnect elsewhere."""
        self._is_closing = self._front is None
        if self._front is not None:
            self._front.close_after_each_answer()

    async def refuse_new_connections(self) -> None:
        """Refuse new clients; give those that have just connected the time to send a request."""
        drop_new_connections(self._listener)
        while not accepted_all(self._listener):  # noqa: ASYNC110 the kernel has no event for it
            await asyncio.sleep(0.005)
        await asyncio.sleep(LINGER_SECONDS)

    async def stop(self, patience_seconds: float) -> None:
        """Stop accepting and finish requests in flight; abort what is not done in time."""
        assert self._running is not None and self._granian is not None  # noqa: S101, PT018
        self._listener.close()
        if self._front is not None:
            cut_off = await asyncio.to_thread(self._front.stop, patience_seconds)
            if cut_off:
                self._log.warning("requests_aborted", requests=cut_off, after_seconds=patience_seconds)
            patience_seconds = CUT_OFF_SECONDS  # clients of the front have been answered or have disconnected
        self._granian.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({self._running}, timeout=patience_seconds)
        if not self._running.done():
            self._log.warning("requests_aborted", requests=len(self._in_flight), after_seconds=patience_seconds)
            for task in self._in_flight:
                task.cancel()
            await asyncio.wait({self._running}, timeout=CUT_OFF_SECONDS)

    async def _answer(self, scope: Any, receive: Any, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._in_flight.add(task)
        if self._front is not None:
            restore_client(scope)
        try:
            await self._app(scope, receive, closing(send) if self._is_closing else send)
        finally:
            self._in_flight.discard(task)


def accepts(path: Path) -> bool:
    """Whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(os.fspath(path)) == 0


def restore_client(scope: Any) -> None:
    """Put the client's address and scheme where ASGI expects them.

    The front sends them in headers that it strips from clients' requests.
    """
    sent = {name: value.decode() for name, value in scope["headers"] if name in {PEER, SCHEME}}
    scope["headers"] = [header for header in scope["headers"] if header[0] not in sent]
    host, _, port = sent[PEER].rpartition(":")
    scope["client"] = (host.strip("[]"), int(port))
    scope["scheme"] = sent.get(SCHEME, "http")


def closing(send: Send) -> Send:
    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
        await send(message)

    return send_closing
