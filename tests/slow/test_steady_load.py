"""Steady load on warm models while everything around them changes, stops, hangs or dies."""

import os
import pickle
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support.backends import Postgres, Redis, free_port, valkey
from support.crashes import children
from support.http_client import Client, serving
from support.steady_load import Row, Steady

pytestmark = pytest.mark.slow

IRIS = load_iris()
ROWS: list[Row] = IRIS.data[::7].tolist()


@dataclass
class Scene:
    """A server on a PostgreSQL and a Redis of its own, with a model of two versions."""

    client: Client
    database: Postgres
    redis: Redis
    expected: dict[int, Any]

    def steady(self) -> Steady:
        return Steady(self.client.process.port, self.client.key, "iris", ROWS, self.expected)


@pytest.fixture(scope="module")
def scene(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as stack:
        redis = stack.enter_context(valkey(tmp_path_factory.mktemp("redis")))
        settings = {
            "SERVAL_DATABASE_URL": database.url(), "SERVAL_REDIS_URL": redis.url, "SERVAL_PORT": str(free_port()),
        }  # fmt: skip
        client = stack.enter_context(serving(tmp_path_factory.mktemp("serval") / "data", settings))
        yield Scene(client, database, redis, {number: put_live(client, number) for number in (1, 2)})


def put_live(client: Client, number: int) -> Any:
    """Upload a version of the model. Returns what it answers for the rows."""
    model = LogisticRegression(C=10.0**number, max_iter=1000).fit(IRIS.data, IRIS.target)
    assert client.upload("iris", pickle.dumps(model)).status_code == 201
    return model.predict_proba(ROWS)


def promote(client: Client, number: int) -> None:
    assert client.http.post(f"/api/v1/models/iris/versions/{number}/promote").status_code == 200


def serving_process(client: Client) -> int:
    parent = client.process.popen.pid
    (found,) = [pid for pid in children(parent) if b"serval.process.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


def test_promotions_fail_no_prediction(scene: Scene) -> None:
    with scene.steady() as steady:
        for number in (1, 2) * 5:
            promote(scene.client, number)
            steady.await_more(200)
    assert (steady.wrong, steady.cut_off, steady.refused) == ([], 0, 0)


def test_outages_of_redis_fail_no_prediction(scene: Scene) -> None:
    with scene.steady() as steady:
        steady.await_more(200)
        scene.redis.stop()
        steady.await_more(1000)
        scene.redis.start()
        steady.await_more(200)
        os.kill(scene.redis.pid, signal.SIGSTOP)
        steady.await_more(1000)
        os.kill(scene.redis.pid, signal.SIGCONT)
        steady.await_more(200)
    assert (steady.wrong, steady.cut_off, steady.refused) == ([], 0, 0)


def test_an_outage_of_the_database_fails_no_prediction(scene: Scene) -> None:
    with scene.steady() as steady:
        steady.await_more(200)
        scene.database.stop()
        until = time.monotonic() + 10  # of the 30 s that a caller is believed
        while time.monotonic() < until:
            steady.await_more(100)
        scene.database.start()
        steady.await_more(200)
    assert (steady.wrong, steady.cut_off, steady.refused) == ([], 0, 0)


def test_a_killed_serving_process_cuts_off_only_requests_under_way(scene: Scene) -> None:
    with scene.steady() as steady:
        steady.await_more(200)
        os.kill(serving_process(scene.client), signal.SIGKILL)
        steady.await_more(200)
    assert steady.wrong == []
    assert steady.cut_off <= 2 * len(steady.seen), "more than the request at hand, and one that connected to the dead"
    print(f"the longest gap was {steady.longest_gap_seconds:.2f} s")  # noqa: T201 a figure for the notes
    assert steady.longest_gap_seconds < 15


def test_a_restart_refuses_connections_but_fails_no_accepted_request(tmp_path: Path) -> None:
    settings = {"SERVAL_PORT": str(free_port()), "SERVAL_DRAIN_PAUSE_SECONDS": "0.5"}
    with serving(tmp_path / "data", settings) as client:
        expected = {1: put_live(client, 1)}
        steady = Steady(client.process.port, client.key, "iris", ROWS, expected)
        steady.await_more(200)
    with serving(tmp_path / "data", settings), steady:
        steady.await_more(200)
    assert (steady.wrong, steady.cut_off) == ([], 0)
