"""Callers of a running Serval: `SCENARIO` chooses what they do, thresholds set the exit code.

    SCENARIO=mixed SERVAL_KEY=... locust --headless --host http://127.0.0.1:8080 --users 100 --spawn-rate 50 --run-time
    30s

It asks the model `iris`. Locust itself tops out at some thousand requests a second: how fast Serval is, `make bench`
says.
"""

import bisect
import itertools
import os
import random
import uuid
from collections.abc import Callable
from typing import ClassVar

from locust import FastHttpUser, LoadTestShape, between, events
from locust.env import Environment

SCENARIO = os.environ.get("SCENARIO", "mixed")
P95_MS = 200
LEAST_USERS = 100

DISTINCT = 1000
EXPONENT = 1.1
HIT_RATE_TOLERANCE = 0.02
LEAST_HIT_RATE = 0.70


class Repetition:
    """Rows drawn from a Zipf distribution: the k-th of `DISTINCT` with a probability in proportion to 1 / k **
    `EXPONENT`."""

    def __init__(self) -> None:
        weights = [1 / rank**EXPONENT for rank in range(1, DISTINCT + 1)]
        self.chances = [weight / sum(weights) for weight in weights]
        self._cumulated = list(itertools.accumulate(self.chances))
        fresh = uuid.uuid4().int % 10**6
        self._rows = [[5.0 + number / DISTINCT, 3.0, 1.5, 0.1 + fresh / 10**7] for number in range(DISTINCT)]
        self.requests = 0
        self.hits = 0

    def draw(self) -> list[float]:
        return self._rows[bisect.bisect(self._cumulated, random.random() * self._cumulated[-1])]

    def count(self, *, is_hit: bool) -> None:
        self.requests += 1
        self.hits += is_hit

    def expected_hit_rate(self) -> float:
        """1 - E[distinct rows among the requests] / requests: each row misses once, if it is drawn at all."""
        distinct = sum(1 - (1 - chance) ** self.requests for chance in self.chances)
        return 1 - distinct / self.requests


repetition = Repetition()


class Caller(FastHttpUser):
    """Asks, waits a moment, asks again."""

    wait_time = between(0.1, 0.2)
    default_headers: ClassVar = {"X-API-Key": os.environ.get("SERVAL_KEY", "")}

    def ask(
        self, path: str, body: dict[str, object], name: str, is_right: Callable[[dict[str, object]], bool]
    ) -> dict[str, object] | None:
        """Return the answer; a wrong one counts as a failure."""
        with self.client.post(path, json=body, name=name, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {response.text}")
                return None
            answer: dict[str, object] = response.json()
            if not is_right(answer):
                response.failure(f"a wrong answer: {response.text}")
            return answer


def flower() -> list[float]:
    """A row that is hardly ever drawn twice."""
    return [round(random.uniform(low, high), 4) for low, high in ((4.3, 7.9), (2.0, 4.4), (1.0, 6.9), (0.1, 2.5))]


BATCHES = [[flower() for _ in range(count)] for count in (10, 100, 500) for _ in range(10)]


def is_one(answer: dict[str, object]) -> bool:
    return answer["prediction"] in {0, 1, 2}


def single(caller: Caller) -> None:
    caller.ask("/predict", {"model_name": "iris", "features": flower()}, "one row, short", is_one)


def single_in_full(caller: Caller) -> None:
    caller.ask("/api/v1/predict/iris", {"input": flower()}, "one row", is_one)


def batch(caller: Caller) -> None:
    rows = random.choice(BATCHES)
    caller.ask(
        "/api/v1/predict/iris",
        {"inputs": rows},
        f"{len(rows)} rows",
        lambda answer: len(answer["predictions"]) == len(rows),
    )


def look_around(caller: Caller) -> None:
    caller.client.get("/api/v1/models/iris", name="the model")
    caller.client.get("/health/ready", name="ready")


def repeated(caller: Caller) -> None:
    answer = caller.ask("/predict", {"model_name": "iris", "features": repetition.draw()}, "one row, repeated", is_one)
    if answer is not None:
        repetition.count(is_hit=bool(answer["cache_hit"]))


MIXED = {single: 6, single_in_full: 3, batch: 1, look_around: 1}
SCENARIOS = {
    "single": {single: 1},
    "batch": {batch: 1},
    "mixed": MIXED,
    "soak": MIXED,
    "spike": {single: 1},
    "repeated": {repeated: 1},
}
Caller.tasks = list(itertools.chain.from_iterable([task] * weight for task, weight in SCENARIOS[SCENARIO].items()))


if SCENARIO == "spike":

    class Spike(LoadTestShape):
        """A third of the time with 100 users, a third with three times as many, a third with 100 again."""

        def tick(self) -> tuple[int, float] | None:
            third = float(os.environ.get("SECONDS", "30")) / 3
            stage = int(self.get_run_time() / third)
            return None if stage > 2 else ((100, 300, 100)[stage], 300.0)


crowds: list[int] = []


@events.spawning_complete.add_listener
def note_users(user_count: int, **_: object) -> None:
    crowds.append(user_count)


@events.quitting.add_listener
def judge(environment: Environment, **_: object) -> None:
    """Say of each threshold whether it holds; one that does not makes the exit code 1."""
    total = environment.stats.total
    p95 = total.get_response_time_percentile(0.95) or 0.0
    failed = total.num_failures + len(environment.stats.errors) + len(environment.runner.exceptions)
    thresholds = {
        f"{total.num_requests} requests, {failed} errors": total.num_requests > 0 and failed == 0,
        f"p95 {p95:.0f} ms, below {P95_MS}": p95 < P95_MS,
        f"{max(crowds, default=0)} users, at least {LEAST_USERS}": max(crowds, default=0) >= LEAST_USERS,
    }
    if SCENARIO == "repeated" and repetition.requests:
        rate, expected = repetition.hits / repetition.requests, repetition.expected_hit_rate()
        close = abs(rate - expected) <= HIT_RATE_TOLERANCE
        thresholds[f"hit rate {rate:.3f}, within {HIT_RATE_TOLERANCE} of {expected:.3f}"] = close
        thresholds[f"hit rate {rate:.3f}, above {LEAST_HIT_RATE}"] = rate > LEAST_HIT_RATE
    for text, holds in thresholds.items():
        print(f"{SCENARIO}: {text}: {'holds' if holds else 'MISSED'}")
    environment.process_exit_code = 0 if all(thresholds.values()) else 1
