"""A front without a server behind it: its app is a bare socket, which shows byte for byte what was passed on."""

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serval._native import DataPlane, Front
from serval.auth.key_format import digest, new_key
from serval.port.front import open_front
from serval.settings.settings import Settings
from support import graphs
from support.planes import load, new_plane, put_caller, regressor, route
from support.raw_http import PATIENCE_SECONDS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-From: app\r\n\r\napp"


class App:
    """A listening Unix socket that remembers what it was sent and answers as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heads: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.received = bytearray()
        """Every byte of every connection, in the order of arrival."""
        self.answer = OK
        self.asks_for_bodies = True
        """Answer only what has arrived whole; else after the head."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        pending = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in pending:
                    more = self._read(connection)
                    if not more:
                        return
                    pending += more
                head, _, pending = pending.partition(b"\r\n\r\n")
                self.heads.put(head)
                lower = head.lower()
                if self.asks_for_bodies:
                    if b"\r\nexpect: 100-continue" in lower:
                        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    is_whole = (
                        (lambda body: body.endswith(b"0\r\n\r\n")) if b"transfer-encoding: chunked" in lower else None
                    )
                    length = next(
                        (
                            int(line.split(b":")[1])
                            for line in lower.split(b"\r\n")
                            if line.startswith(b"content-length:")
                        ),
                        0,
                    )
                    while not (is_whole(pending) if is_whole else len(pending) >= length):
                        more = self._read(connection)
                        if not more:
                            return
                        pending += more
                    pending = b"" if is_whole else pending[length:]
                self.may_answer.wait(PATIENCE_SECONDS)
                try:
                    connection.sendall(self.answer)
                except OSError:
                    return  # nobody waits any more
                if not self.asks_for_bodies:
                    return

    def _read(self, connection: socket.socket) -> bytes:
        try:
            more = connection.recv(65536)
        except OSError:
            return b""
        self.received += more
        return more

    def close(self) -> None:
        self.may_answer.set()
        # Closing alone does not wake a thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Fronted:
    """An open front, its app, and a model `iris` that answers a row of two numbers with the row."""

    def __init__(self, plane: DataPlane, front: Front, app: App, port: int, key: str) -> None:
        self.plane = plane
        self.front = front
        self.app = app
        self.port = port
        self.key = key

    def gauge(self, name: str) -> int:
        """A metric of the front that has no labels."""
        return next(
            int(line.split()[1]) for line in self.front.metrics().decode().splitlines() if line.startswith(f"{name} ")
        )

    def prediction(self, body: bytes = b'{"input": [1, 2]}', *more: str, target: str = "/api/v1/predict/iris") -> bytes:
        """A plain request with further lines of its head."""
        lines = [
            f"POST {target} HTTP/1.1",
            "Host: serval",
            f"X-API-Key: {self.key}",
            f"Content-Length: {len(body)}",
            *more,
            "",
            "",
        ]
        return "\r\n".join(lines).encode("latin-1") + body


@contextmanager
def fronted(folder: Path, certificate: tuple[Path, Path] | None = None, **settings: Any) -> Iterator[Fronted]:
    """`certificate`: files of it and of its key; then the front speaks TLS."""
    plane = new_plane()
    key = new_key()
    put_caller(plane, digest(key))
    load(
        plane,
        graphs.echo(2, "float64"),
        regressor(2, targets=2, is_multi_target=True, numbers_dtype="float64", scores_dtype="float64"),
        np.ones((3, 2)),
    )
    plane.models.set_routes([route()])
    app = App(folder / "app.sock")
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        pems = None if certificate is None else (certificate[0].read_bytes(), certificate[1].read_bytes())
        front = open_front(plane, Settings(**settings), listener.fileno(), app.path, pems)
        port = listener.getsockname()[1]
    try:
        yield Fronted(plane, front, app, port, key)
    finally:
        app.close()
        front.stop(0.0)
