"""More predictions than a rate allows, put to two servers at once, and what was let through when."""

import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import numpy as np

from support.http_client import Client
from support.replicas import Replicas

THREADS = 6


class Asked(NamedTuple):
    """A prediction that was asked for: when, until when, and what came of it."""

    sent: float
    answered: float
    status: int


def press(servers: Replicas, path: str, body: bytes, *, seconds: float, first_share: float) -> list[Asked]:
    """Ask both servers on several connections, without a pause; `first_share` of the requests go to the first one."""
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(THREADS) as pool:
        runs = [pool.submit(_ask_on, servers, path, body, until, first_share, seed) for seed in range(THREADS)]
        return list(chain.from_iterable(run.result() for run in runs))


def most_let_through(asked: list[Asked], window_seconds: float) -> int:
    """The most predictions that were surely let through within any window: asked for and answered in it."""
    good = [each for each in asked if each.status == 200]
    sent, answered = (np.sort([getattr(each, moment) for each in good]) for moment in ("sent", "answered"))
    # Of those answered until a window's end, all that were not sent before its beginning.
    counts = np.searchsorted(answered, sent + window_seconds, side="right") - np.arange(len(sent))
    return int(counts.max(initial=0))


def _ask_on(servers: Replicas, path: str, body: bytes, until: float, first_share: float, seed: int) -> list[Asked]:
    choices = random.Random(seed)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {servers.first.key}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    asked = []
    with _connection(servers.first) as first, _connection(servers.second) as second:
        while (sent := time.monotonic()) < until:
            connection = first if choices.random() < first_share else second
            connection.sendall(request)
            status = _status(connection)
            asked.append(Asked(sent, time.monotonic(), status))
    return asked


def _status(connection: socket.socket) -> int:
    """Read one answer: with Python's own client these threads could not ask a thousand times a second."""
    read = b""
    while (end := read.find(b"\r\n\r\n")) < 0:
        read += _more(connection)
    length = int(read[:end].lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
    while len(read) < end + 4 + length:
        read += _more(connection)
    assert len(read) == end + 4 + length
    return int(read[9:12])


def _more(connection: socket.socket) -> bytes:
    more = connection.recv(65536)
    assert more, "it hung up"
    return more


def _connection(client: Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.process.port), timeout=30)
