"""An upload reaches nobody: a listener that hears the same code run free hears nothing from a confined upload."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory


def listener(family: socket.AddressFamily, kind: socket.SocketKind, address: object) -> socket.socket:
    heard = socket.socket(family, kind)
    heard.bind(address)  # type: ignore[arg-type]
    if kind == socket.SOCK_STREAM:
        heard.listen()
    heard.setblocking(False)
    return heard


@pytest.fixture(params=["tcp", "tcp6", "udp", "unix stream", "unix datagram", "abstract"])
def door(request: pytest.FixtureRequest, meadow: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listener, and the code that calls on it."""
    path = str(meadow / "socket")
    heard = {
        "tcp": lambda: listener(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "tcp6": lambda: listener(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
        "udp": lambda: listener(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "unix stream": lambda: listener(socket.AF_UNIX, socket.SOCK_STREAM, path),
        "unix datagram": lambda: listener(socket.AF_UNIX, socket.SOCK_DGRAM, path),
        "abstract": lambda: listener(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{path}"),
    }[request.param]()
    if heard.family == socket.AF_UNIX and request.param != "abstract":
        Path(path).chmod(0o777)
    call = (
        f"import socket; s = socket.socket({int(heard.family)}, {int(heard.type)}); "
        f"s.connect({heard.getsockname()!r}); s.send(b'the loot'); s.close()"
    )
    with heard:
        yield heard, call


def has_heard(door: socket.socket) -> bool:
    try:
        if door.type == socket.SOCK_DGRAM:
            return door.recv(100) == b"the loot"
        connection, _ = door.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def test_a_listener_hears_nothing(laboratory: Laboratory, door: tuple[socket.socket, str]) -> None:
    heard, call = door
    assert laboratory.refusal(call).message == "The file tried to open a connection"
    assert not has_heard(heard)


def test_the_same_code_is_heard_where_it_is_free(free: Callable[[str], str], door: tuple[socket.socket, str]) -> None:
    heard, call = door
    free(call)
    assert has_heard(heard)


def test_an_upload_can_not_listen_itself(laboratory: Laboratory) -> None:
    error = laboratory.refusal("import socket; socket.create_server(('127.0.0.1', 0))")
    assert error.message == "The file tried to open a connection"


def test_an_upload_can_not_ask_for_a_name(laboratory: Laboratory) -> None:
    laboratory.refusal("import socket; socket.getaddrinfo('example.org', 80)")


def test_no_socket_is_left_open_for_the_upload(laboratory: Laboratory) -> None:
    source = """
import os, stat
loot = []
for number in range(256):
    try:
        loot.append(stat.S_ISSOCK(os.fstat(number).st_mode))
    except OSError:
        pass
"""
    kinds = eval(laboratory.attack(source))
    assert kinds
    assert not any(kinds)
