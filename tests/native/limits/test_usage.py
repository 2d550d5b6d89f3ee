"""Usage of keys: reported to the database, held against a quota, refunded if nothing was answered."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from serval._native import Answer, DataPlane, Deferred, LoadError, Refusal
from support import graphs
from support.compute_queue import Call, echo_plane, keep_busy, queued
from support.planes import KEY, ask, load, new_plane, predict, put_caller, rates_of, route, signature
from support.waiting import wait_until

ROW = '{"input": [1, 0, 0]}'
FAILS = '{"input": [0, 0, 9]}'
"""A row whose label is none of the signature's."""
NEXT_YEAR = time.time() + 365 * 86_400
MANY_TIMES_A_DAY = [("user:usr_1", 1000, 86_400)]


def metered(**settings: Any) -> DataPlane:
    """A plane whose only model fails for `FAILS`."""
    plane = new_plane(**settings)
    plane.models.set_routes([route()])
    load(
        plane,
        graphs.largest(3, has_probabilities=False),
        signature(3, has_probabilities=False, labels=[[0, 1]]),
        np.array([[1, 0, 0]]),
    )
    return plane


def put_key(plane: DataPlane, used: int, allowed: int, ends_at: float = NEXT_YEAR, **settings: Any) -> None:
    put_caller(plane, **({"key": "key_1", "quota": (used, allowed, ends_at)} | settings))


def answered(plane: DataPlane, tries: int, **settings: Any) -> int:
    replies = [ask(plane, ROW, **settings) for _ in range(tries)]
    assert {reply.code for reply in replies if isinstance(reply, Refusal)} <= {"quota_exceeded"}
    return sum(isinstance(reply, Answer) for reply in replies)


def uses(plane: DataPlane) -> dict[str, int]:
    return {key: predictions for key, _, predictions in plane.callers.take_usage()}


def test_a_key_predicts_as_often_as_its_quota_has_left() -> None:
    plane = metered()
    put_key(plane, used=7, allowed=10)
    assert answered(plane, 20) == 3
    refused = ask(plane, ROW)
    assert refused.code == "quota_exceeded"
    assert refused.arguments.keys() == {"limit", "retry_after_seconds"}
    assert refused.arguments["limit"] == "10"
    assert int(refused.arguments["retry_after_seconds"]) == pytest.approx(NEXT_YEAR - time.time(), abs=10)


def test_a_quota_of_zero_allows_no_prediction() -> None:
    plane = metered()
    put_key(plane, used=0, allowed=0)
    assert answered(plane, 3) == 0


def test_the_quota_of_a_past_month_refuses_nothing() -> None:
    plane = metered()
    put_key(plane, used=10, allowed=10, ends_at=time.time())
    assert answered(plane, 3) == 3


def test_a_quota_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="only a key has a quota"):
        put_caller(metered(), quota=(0, 1, NEXT_YEAR))


def test_predictions_without_a_key_are_not_counted() -> None:
    plane = metered()
    put_caller(plane)
    assert answered(plane, 3) == 3
    assert plane.callers.take_usage() == []


def test_answers_are_reported_once_with_the_time_of_the_last() -> None:
    plane = metered()
    put_caller(plane, key="key_1")
    before = time.time()
    ask(plane, '{"inputs": [[1, 0, 0], [0, 1, 0]]}')
    answered(plane, 2)
    ((key, last_at, predictions),) = plane.callers.take_usage()
    assert (key, predictions) == ("key_1", 3)
    assert before <= last_at <= time.time()
    assert plane.callers.take_usage() == []


def test_a_key_keeps_its_meter_when_it_is_checked_again_or_revoked() -> None:
    plane = metered()
    other = hashlib.sha256(b"the same key, written otherwise").digest()
    for digest in (KEY, other):
        put_key(plane, used=0, allowed=4, digest=digest)
        assert answered(plane, 1, caller=digest) == 1
    plane.callers.revoke_user("usr_1")
    assert uses(plane) == {"key_1": 2}
    put_key(plane, used=2, allowed=4)
    assert answered(plane, 5) == 2


def test_usage_on_other_servers_counts_against_the_quota() -> None:
    plane = metered()
    put_key(plane, used=0, allowed=10)
    answered(plane, 2)
    assert uses(plane) == {"key_1": 2}
    answered(plane, 1)
    plane.callers.set_usage("key_1", 6)
    assert answered(plane, 10) == 3
    plane.callers.set_usage("key_of_nobody", 6)


def test_a_check_with_an_outdated_count_takes_nothing_back() -> None:
    plane = metered()
    put_key(plane, used=0, allowed=5)
    answered(plane, 3)
    uses(plane)
    put_key(plane, used=0, allowed=5)
    assert answered(plane, 10) == 2


def test_a_failed_run_is_refunded() -> None:
    plane = metered()
    put_key(plane, used=0, allowed=1, limits=[("user:usr_1", 1, 3600)])
    for _ in range(3):
        with pytest.raises(LoadError, match="label 2"):
            ask(plane, FAILS)
    assert plane.callers.take_usage() == []
    assert isinstance(ask(plane, ROW), Answer)


def test_a_failed_run_on_a_compute_thread_is_refunded() -> None:
    plane = metered(inline_below_seconds=0.0)
    put_key(plane, used=0, allowed=1, limits=[("user:usr_1", 1, 3600)])
    for _ in range(3):
        with pytest.raises(LoadError, match="label 2"):
            ask(plane, FAILS)
    assert plane.callers.take_usage() == []
    assert isinstance(ask(plane, ROW), Answer)


@pytest.mark.parametrize("inline_below_seconds", [10.0, 0.0], ids=["inline", "deferred"])
def test_a_prediction_that_is_not_charged_takes_nothing_of_rate_quota_and_usage(inline_below_seconds: float) -> None:
    plane = metered(inline_below_seconds=inline_below_seconds, cache_bytes=0)
    put_key(plane, used=0, allowed=1, limits=[("user:usr_1", 1, 3600)])
    replies = [ask(plane, ROW, is_charged=False) for _ in range(3)]
    assert [(type(reply), reply.rate) for reply in replies] == [(Answer, None)] * 3
    assert plane.callers.take_usage() == []
    assert isinstance(ask(plane, ROW), Answer)
    assert ask(plane, ROW).code == "quota_exceeded"
    assert isinstance(ask(plane, ROW, is_charged=False), Answer)
    assert uses(plane) == {"key_1": 1}


@pytest.mark.parametrize("inline_below_seconds", [10.0, 0.0], ids=["inline", "deferred"])
def test_a_failed_run_that_was_not_charged_gives_nothing_back(inline_below_seconds: float) -> None:
    plane = metered(inline_below_seconds=inline_below_seconds)
    put_caller(plane, limits=[("user:usr_1", 1, 3600)])
    assert isinstance(ask(plane, ROW), Answer)
    with pytest.raises(LoadError, match="label 2"):
        ask(plane, FAILS, is_charged=False)
    assert ask(plane, ROW).code == "rate_limited"


def test_a_prediction_over_the_rate_is_not_charged_to_the_quota() -> None:
    plane = metered()
    put_key(plane, used=0, allowed=2, limits=[("user:usr_1", 1, 3600)])
    assert isinstance(ask(plane, ROW), Answer)
    assert ask(plane, ROW).code == "rate_limited"
    put_key(plane, used=0, allowed=2)
    assert answered(plane, 5) == 1


def test_a_prediction_over_the_quota_is_not_charged_to_the_rate() -> None:
    plane = metered()
    put_key(plane, used=0, allowed=1, limits=MANY_TIMES_A_DAY)
    assert [ask(plane, ROW).rate.remaining, answered(plane, 5)] == [999, 0]
    put_key(plane, used=0, allowed=2, limits=MANY_TIMES_A_DAY)
    assert ask(plane, ROW).rate.remaining == 998


def test_a_prediction_refused_for_a_full_queue_is_refunded() -> None:
    plane = echo_plane(max_queued_per_model=1)
    put_key(plane, used=0, allowed=3, limits=[("user:usr_1", 3, 3600)])
    busy = keep_busy(plane)
    waiting = queued(plane, [[1, 2]])
    assert Call(plane, [[9, 0]]).start().reply().code == "queue_full"
    assert all(isinstance(call.reply(), Answer) for call in (busy, waiting))
    assert isinstance(Call(plane, [[3, 4]]).start().reply(), Answer)
    refused = plane.rates.charge(rates_of([("user:usr_1", 3, 3600)]))
    assert isinstance(refused, Refusal)
    assert uses(plane) == {"key_1": 3}


def test_a_pending_prediction_is_charged_and_refunded_if_it_is_cancelled() -> None:
    plane = echo_plane()
    put_key(plane, used=0, allowed=2)
    busy = keep_busy(plane)
    waiting = queued(plane, [[1, 2]])
    refused: Any = predict(plane, np.ones(2).tobytes())
    assert refused.code == "quota_exceeded"
    waiting.later.cancel()

    def is_free() -> bool:
        return isinstance(predict(plane, np.ones(2).tobytes()), Deferred)

    wait_until(is_free)
    assert isinstance(busy.reply(), Answer)
    assert uses(plane) == {"key_1": 1}


def test_threads_use_up_a_quota_exactly_and_every_answer_is_reported() -> None:
    plane = metered()
    put_key(plane, used=0, allowed=3000)
    told: list[int] = []
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.is_set():
            told.append(uses(plane).get("key_1", 0))

    with ThreadPoolExecutor(3) as threads:
        telling = threads.submit(tell)
        through = sum(threads.map(lambda _: answered(plane, 2000), range(2)))
        is_over.set()
        telling.result()
    assert through == 3000
    assert sum(told) + uses(plane).get("key_1", 0) == 3000
