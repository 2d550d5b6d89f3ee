"""An upload cannot connect: a listener that receives from the unconfined code receives nothing from an upload."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory


def listening_socket(family: socket.AddressFamily, kind: socket.SocketKind, address: object) -> socket.socket:
    listener = socket.socket(family, kind)
    listener.bind(address)  # type: ignore[arg-type]
    if kind == socket.SOCK_STREAM:
        listener.listen()
    listener.setblocking(False)
    return listener


@pytest.fixture(params=["tcp", "tcp6", "udp", "unix stream", "unix datagram", "abstract"])
def target(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listener, and the code that connects to it."""
    path = str(open_folder / "socket")
    listener = {
        "tcp": lambda: listening_socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "tcp6": lambda: listening_socket(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
        "udp": lambda: listening_socket(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "unix stream": lambda: listening_socket(socket.AF_UNIX, socket.SOCK_STREAM, path),
        "unix datagram": lambda: listening_socket(socket.AF_UNIX, socket.SOCK_DGRAM, path),
        "abstract": lambda: listening_socket(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{path}"),
    }[request.param]()
    if listener.family == socket.AF_UNIX and request.param != "abstract":
        Path(path).chmod(0o777)
    call = (
        f"import socket; s = socket.socket({int(listener.family)}, {int(listener.type)}); "
        f"s.connect({listener.getsockname()!r}); s.send(b'payload'); s.close()"
    )
    with listener:
        yield listener, call


def has_received(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_DGRAM:
            return listener.recv(100) == b"payload"
        connection, _ = listener.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def test_an_upload_cannot_connect_to_a_listener(laboratory: Laboratory, target: tuple[socket.socket, str]) -> None:
    listener, call = target
    assert laboratory.refusal(call).message.startswith("The file tried to open a connection")
    assert not has_received(listener)


def test_the_same_code_connects_to_a_listener_if_unconfined(
    unconfined: Callable[[str], str], target: tuple[socket.socket, str]
) -> None:
    listener, call = target
    unconfined(call)
    assert has_received(listener)


def test_an_upload_cannot_listen_on_a_port(laboratory: Laboratory) -> None:
    error = laboratory.refusal("import socket; socket.create_server(('127.0.0.1', 0))")
    assert error.message.startswith("The file tried to open a connection")


def test_an_upload_cannot_resolve_a_host_name(laboratory: Laboratory) -> None:
    laboratory.refusal("import socket; socket.getaddrinfo('example.org', 80)")


def test_no_socket_is_left_open_for_the_upload(laboratory: Laboratory) -> None:
    source = """
import os, stat
result = []
for number in range(256):
    try:
        result.append(stat.S_ISSOCK(os.fstat(number).st_mode))
    except OSError:
        pass
"""
    kinds = eval(laboratory.attack(source))
    assert kinds
    assert not any(kinds)
