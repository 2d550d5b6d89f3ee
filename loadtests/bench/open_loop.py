"""An open loop: requests leave when their time has come, whether or not the ones before were answered."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from statistics import median, quantiles
from urllib.parse import urlsplit

from bench.contenders import Target, features


@dataclass
class Seen:
    """What became of the requests."""

    seconds: float
    answered_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    others: int = 0

    @property
    def answered(self) -> int:
        return len(self.answered_ms)

    @property
    def refused(self) -> int:
        return len(self.refused_ms)

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return self.answered / self.seconds

    @property
    def answered_p50_ms(self) -> float:
        return median(self.answered_ms or [0.0])

    @property
    def refused_p99_ms(self) -> float:
        return quantiles(self.refused_ms, n=100)[98] if self.refused > 1 else 0.0


def offer(target: Target, requests_per_second: float, seconds: float) -> Seen:
    """Send rows of the iris columns, all different, at a steady rate. Answers that come after `seconds` count for
    nothing."""
    return asyncio.run(_offer(target, requests_per_second, seconds))


async def _offer(target: Target, requests_per_second: float, seconds: float) -> Seen:
    client = _Client(target, Seen(seconds))
    began = time.monotonic()
    async with asyncio.timeout(seconds + 60), asyncio.TaskGroup() as group:
        for number in range(int(requests_per_second * seconds)):
            await asyncio.sleep(max(0.0, began + number / requests_per_second - time.monotonic()))
            group.create_task(client.ask(until=began + seconds))
    client.close()
    return client.seen


class _Client:
    """Connections that are kept, as many as there are requests under way."""

    def __init__(self, target: Target, seen: Seen) -> None:
        self.seen = seen
        self._target = target
        self._address = urlsplit(target.url)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, until: float) -> None:
        began = time.monotonic()
        try:
            status = await self._status()
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        ended = time.monotonic()
        if status == 503:
            self.seen.refused_ms.append((ended - began) * 1e3)
        elif status != 200:
            self.seen.others += 1
        elif ended <= until:
            self.seen.answered_ms.append((ended - began) * 1e3)

    async def _status(self) -> int:
        reader, writer = (
            self._free.pop()
            if self._free
            else await asyncio.open_connection(self._address.hostname, self._address.port)
        )
        row = [random.uniform(0, 8) for _ in range(4)]
        body = json.dumps(features(row) | {"model_name": self._target.model}).encode()
        head = (
            f"POST {self._target.path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nX-API-Key: {self._target.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        if b"connection: close" in answer:
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
