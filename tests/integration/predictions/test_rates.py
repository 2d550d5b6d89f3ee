"""Rates of predictions, on one server and shared by two."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from support.backends import Redis, without
from support.http_client import Client, serving
from support.rate_load import Asked, most_let_through, press
from support.replicas import ROW, Replicas, constant, replicas
from support.waiting import wait_until

LIMIT = 150
LEASE_SECONDS = 0.1
"""What each replica may let through beyond the rate, as so much time's worth of it."""
LEASE = LIMIT * LEASE_SECONDS
TRIES = 5
BODY = json.dumps(ROW).encode()
PATH = "/api/v1/predict/limited"


@contextmanager
def sharing(folders: pytest.TempPathFactory, limit: int) -> Iterator[Replicas]:
    """Two servers that share a rate, and a model `limited` that both answer."""
    with replicas(folders, SERVAL_PREDICT_RATE=str(limit)) as both:
        assert both.first.upload("limited", constant(1)).status_code == 201
        wait_until(lambda: both.second.predict("limited", ROW).status_code == 200)
        yield both


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with sharing(tmp_path_factory, LIMIT) as both:
        yield both


def statuses(asked: list[Asked]) -> set[int]:
    return {each.status for each in asked}


def let_through(asked: list[Asked]) -> int:
    return sum(each.status == 200 for each in asked)


def assert_holds(
    press_once: Callable[[], list[Asked]], *, window_seconds: float, at_most: float, at_least: float
) -> None:
    """No window of any try lets more through than `at_most`; a whole try lets `at_least` through, but for those that a
    busy machine held up."""
    for _ in range(TRIES):
        asked = press_once()
        assert statuses(asked) == {200, 429}
        assert most_let_through(asked, window_seconds=window_seconds) <= at_most
        if let_through(asked) >= at_least:
            return
    raise AssertionError(f"the last of {TRIES} tries let {let_through(asked)} through, not {at_least}")


@pytest.mark.parametrize("first_share", [0.5, 0.95])
def test_two_servers_share_a_rate(servers: Replicas, first_share: float) -> None:
    assert_holds(
        lambda: press(servers, PATH, BODY, seconds=3, first_share=first_share),
        window_seconds=1,
        at_most=LIMIT + 2 * LEASE,
        at_least=0.7 * 3 * LIMIT,
    )


@contextmanager
def paused(redis: Redis) -> Iterator[None]:
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


@pytest.mark.parametrize("away", [without, paused])
def test_without_redis_each_server_enforces_its_part_of_the_rate(
    servers: Replicas, away: Callable[[Redis], AbstractContextManager[None]]
) -> None:
    with away(servers.redis):
        assert_holds(
            lambda: press(servers, PATH, BODY, seconds=3, first_share=1.0),
            window_seconds=1,
            at_most=LIMIT / 2 + 2 * LEASE,
            at_least=0.6 * 3 * LIMIT / 2,
        )
        servers.first.process.until("rates_partitioned")
    servers.first.process.until("rates_shared")


@pytest.mark.slow
@pytest.mark.parametrize("first_share", [0.5, 0.95])
def test_a_thousand_a_second_hold_in_any_ten_seconds(
    tmp_path_factory: pytest.TempPathFactory, first_share: float
) -> None:
    with sharing(tmp_path_factory, 1000) as servers:
        assert_holds(
            lambda: press(servers, PATH, BODY, seconds=25, first_share=first_share),
            window_seconds=10,
            at_most=1000 * (10 + 2 * LEASE_SECONDS),
            at_least=0.8 * 25 * 1000,
        )


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that lets each user predict twice a second."""
    with serving(tmp_path_factory.mktemp("serval") / "data", {"SERVAL_PREDICT_RATE": "2"}) as client:
        assert client.upload("limited", constant(1)).status_code == 201
        yield client


def test_a_prediction_over_the_rate_is_refused_with_retry_after(limited: Client) -> None:
    refused = next(
        answer for answer in iter(lambda: limited.predict("limited", ROW), None) if answer.status_code != 200
    )
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit-policy"] == '"user";q=2;w=1'
    assert refused.headers["ratelimit"] == '"user";r=0;t=1'


def test_a_rate_of_predictions_limits_no_other_request(limited: Client) -> None:
    assert {limited.http.get("/api/v1/models").status_code for _ in range(20)} == {200}
