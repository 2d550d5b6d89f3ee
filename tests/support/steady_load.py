"""Clients that ask one model without a pause, and know what every answer has to be."""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import numpy as np

from support.waiting import wait_until

Row = list[float]


@dataclass
class PredictionRecord:
    """What a client has seen."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    """Answers that were wrong, and statuses other than 200."""
    cut_off: int = 0
    """Connections that ended in the middle of a request."""
    refused: int = 0
    """Connections that nobody accepted."""
    longest_gap_seconds: float = 0.0
    slowest_seconds: float = 0.0


class Steady:
    """Threads that ask on keep-alive connections, and connect anew at once when one ends."""

    def __init__(
        self, port: int, key: str, model: str, rows: list[Row], expected: dict[int, Any], clients: int = 4
    ) -> None:
        """`expected`: for each version number, what `predict_proba` says of the rows. Float64 `[rows, classes]`."""
        self._port, self._model = port, model
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}
        self._bodies = [json.dumps({"input": row}).encode() for row in rows]
        self._expected = expected
        self._ended = threading.Event()
        self.seen = [PredictionRecord() for _ in range(clients)]
        self._threads = [threading.Thread(target=self._ask_on, args=(seen,)) for seen in self.seen]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def right(self) -> int:
        return sum(seen.right for seen in self.seen)

    @property
    def wrong(self) -> list[str]:
        return [text for seen in self.seen for text in seen.wrong]

    @property
    def cut_off(self) -> int:
        return sum(seen.cut_off for seen in self.seen)

    @property
    def refused(self) -> int:
        return sum(seen.refused for seen in self.seen)

    @property
    def longest_gap_seconds(self) -> float:
        return max(seen.longest_gap_seconds for seen in self.seen)

    @property
    def slowest_seconds(self) -> float:
        return max(seen.slowest_seconds for seen in self.seen)

    def await_more(self, answers: int) -> None:
        """Wait until every client has had some more right answers."""
        goals = [seen.right + answers for seen in self.seen]
        wait_until(lambda: all(seen.right >= goal for seen, goal in zip(self.seen, goals, strict=True)))

    def _ask_on(self, seen: PredictionRecord) -> None:
        connection = self._connect()
        last = time.monotonic()
        for number in count():
            if self._ended.is_set():
                connection.close()
                return
            row = number % len(self._bodies)
            started = time.monotonic()
            try:
                connection.request("POST", f"/api/v1/predict/{self._model}", self._bodies[row], self._headers)
                response = connection.getresponse()
                body = response.read()
            except ConnectionRefusedError:
                seen.refused += 1
                connection.close()
            except (OSError, http.client.HTTPException):
                seen.cut_off += 1
                connection.close()
                connection = self._connect()
            else:
                self._judge(seen, row, response.status, body)
                now = time.monotonic()
                seen.slowest_seconds = max(seen.slowest_seconds, now - started)
                seen.longest_gap_seconds = max(seen.longest_gap_seconds, now - last)
                last = now

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def _judge(self, seen: PredictionRecord, row: int, status: int, body: bytes) -> None:
        if status != 200:
            seen.wrong.append(f"{status} {body.decode()}")
            return
        answer = json.loads(body)
        expected = self._expected[answer["model_version"]][row]
        if np.allclose(list(answer["probabilities"].values()), expected, rtol=0, atol=1e-5):
            seen.right += 1
        else:
            seen.wrong.append(body.decode())
