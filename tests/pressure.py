"""More predictions than a rate allows, put to two servers at once, and what was let through when."""

import http.client
import random
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

from client import Client
from replicas import Replicas

THREADS = 6


class Asked(NamedTuple):
    """A prediction that was asked for: when, until when, and what came of it."""

    sent: float
    answered: float
    status: int
    headers: dict[str, str]


def press(servers: Replicas, path: str, body: bytes, *, seconds: float, first_share: float) -> list[Asked]:
    """Ask both servers on several connections, without a pause; `first_share` of the requests go to the first one."""
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(THREADS) as pool:
        runs = [pool.submit(_ask_on, servers, path, body, until, first_share, seed) for seed in range(THREADS)]
        return list(chain.from_iterable(run.result() for run in runs))


def most_let_through(asked: list[Asked], window_seconds: float) -> int:
    """The most predictions that were surely let through within any window: asked for and answered in it."""
    good = sorted((each for each in asked if each.status == 200), key=lambda each: each.sent)
    counts = [
        sum(1 for each in good[start:] if each.sent <= first.sent + window_seconds and each.answered <= first.sent + window_seconds)
        for start, first in enumerate(good)
    ]
    return max(counts, default=0)


def _ask_on(servers: Replicas, path: str, body: bytes, until: float, first_share: float, seed: int) -> list[Asked]:
    choices = random.Random(seed)
    connections = [_connection(client) for client in (servers.first, servers.second)]
    headers = {"X-API-Key": servers.first.key, "Content-Type": "application/json", "Cache-Control": "no-cache"}
    asked = []
    while (sent := time.monotonic()) < until:
        connection = connections[choices.random() >= first_share]
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        asked.append(Asked(sent, time.monotonic(), answer.status, {name.lower(): value for name, value in answer.getheaders()}))
    for connection in connections:
        connection.close()
    return asked


def _connection(client: Client) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", client.process.port, timeout=30)
