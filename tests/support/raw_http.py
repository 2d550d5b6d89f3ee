"""Bytes on a connection of their own: requests that no library would send, and the answers told apart."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE_SECONDS = 20.0
VARIES = {
    "request_id",
    "version",
    "latency_ms",
    "uptime_seconds",
    "instance",
    "timestamp",
    "created_at",
    "last_used_at",
    "used_this_month",
    "updated_at",
    "seconds",
}
"""Members of an answer that differ between two equal questions."""
OF_THE_CONNECTION = {
    "date",
    "server",
    "server-timing",
    "x-request-id",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
}
"""Headers that do so, or that speak of the connection."""
OF_THE_APP = {"referrer-policy", "content-security-policy", "cache-control"}
"""Headers for pages, which the front does not send: it answers in JSON alone."""


@dataclass(frozen=True)
class Reply:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")

    def meaning(self) -> tuple[int, dict[str, str], Any]:
        """What two servers have to say alike: status, headers and body, without ids and times."""
        headers = {name: value for name, value in self.headers.items() if name not in OF_THE_CONNECTION | OF_THE_APP}
        if "json" in headers.get("content-type", "") and self.body:
            return self.status, headers, _without_what_varies(json.loads(self.body))
        return self.status, headers, self.body


def _without_what_varies(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _without_what_varies(value) for name, value in document.items() if name not in VARIES}
    return [_without_what_varies(item) for item in document] if isinstance(document, list) else document


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        yield connection


def exchanged(port: int, request: bytes, *, shut: bool = False) -> bytes:
    """Everything that the server says to some bytes until it hangs up; `shut`: nothing follows them."""
    with connected(port) as connection:
        said = b""
        try:
            connection.sendall(request)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                said += more
        except (ConnectionResetError, BrokenPipeError):
            pass  # it hung up before it had read everything: what it said before counts
        return said


def replies(said: bytes) -> list[Reply]:
    """The answers in what a server said, but for `100 Continue`. Answers to HEAD are not understood."""
    found = []
    while said:
        head, end, said = said.partition(b"\r\n\r\n")
        assert end, head
        status, *lines = head.decode("latin-1").split("\r\n")
        assert status.startswith("HTTP/1."), status
        code = int(status.split(" ")[1])
        if code == 100:
            continue
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body, said = _body(code, headers, said)
        found.append(Reply(code, headers, body))
    return found


def _body(status: int, headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
    if status in {204, 304}:
        return b"", rest
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size, 16)
            body, rest = body + rest[:count], rest[count + 2 :]
            if count == 0:
                return body, rest
    length = int(headers.get("content-length", len(rest)))
    assert len(rest) >= length
    return rest[:length], rest[length:]


def next_reply(connection: socket.socket) -> Reply:
    """The next answer of a connection that stays open; only those with a `Content-Length`."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += _more(connection)
    head = said.partition(b"\r\n\r\n")[0]
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    while len(said) < len(head) + 4 + length:
        said += _more(connection)
    assert len(said) == len(head) + 4 + length
    return replies(said)[0]


def _more(connection: socket.socket) -> bytes:
    more = connection.recv(1)
    assert more, "the server hung up"
    return more


def hangs_up(connection: socket.socket) -> bytes:
    """Wait until the server hangs up; what it said before."""
    said = b""
    try:
        while more := connection.recv(65536):
            said += more
    except ConnectionResetError:
        pass
    return said
