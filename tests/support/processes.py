"""Real server processes for tests: started, listened to, signalled, and shown to be gone."""

import http.client
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60.0


class Running:
    """A server process and what it says."""

    def __init__(self, command: list[str], settings: dict[str, str], **more: Any) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SERVAL_")} | settings
        self.popen = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **more
        )
        self.events: list[dict[str, Any]] = []
        self.errors = b""
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._listeners = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._collect, daemon=True),
        ]
        for listener in self._listeners:
            listener.start()

    def _listen(self) -> None:
        assert self.popen.stdout
        for line in self.popen.stdout:
            self._heard.put(line)
        self._heard.put(b"")

    def _collect(self) -> None:
        assert self.popen.stderr
        self.errors = self.popen.stderr.read()

    def until(self, event: str) -> dict[str, Any]:
        """Wait until the log tells of an event."""
        while (line := self._next(event))["event"] != event:
            pass
        return line

    def told(self, event: str) -> dict[str, Any]:
        """The log's first line of an event, read already or not: the lines of two processes have no order."""
        return next((line for line in self.events if line["event"] == event), None) or self.until(event)

    def until_line(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait until the log tells of an event with these fields."""
        while True:
            line = self.until(event)
            if fields.items() <= line.items():
                return line

    def _next(self, awaited: str) -> dict[str, Any]:
        line = self._heard.get(timeout=PATIENCE_SECONDS)
        if not line:
            self.ended()  # or what it said last may not have been read
            raise AssertionError(f"it ended before {awaited!r}: {self.events} {self.errors.decode()}")
        self.events.append(json.loads(line))
        return self.events[-1]

    def ready(self) -> "Running":
        self.port = int(self.until("ready")["url"].rpartition(":")[2])
        return self

    def get(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        code = self.popen.wait(PATIENCE_SECONDS)
        for listener in self._listeners:
            listener.join(PATIENCE_SECONDS)
        return code

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.ended()
        for stream in (self.popen.stdout, self.popen.stderr):
            assert stream
            stream.close()


@contextmanager
def running(command: list[str], settings: dict[str, str], **more: Any) -> Iterator[Running]:
    server = Running(command, settings, **more)
    try:
        yield server
    finally:
        server.close()


def processes_using(folder: Path) -> set[int]:
    """The processes that hold a file of a data folder open (its lock, at least)."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            open_files = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(name.startswith(str(folder.resolve())) for name in open_files):
            found.add(int(process.name))
    return found


def gone(pid: int) -> bool:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE_SECONDS)[0])
    finally:
        os.close(descriptor)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)


PYTHON = sys.executable
