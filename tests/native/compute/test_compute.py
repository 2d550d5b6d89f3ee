"""Expensive predictions: each row run once, small runs merged, models served in turn, no endless wait."""

import json
import time
from typing import Any

import numpy as np
import pytest

from serval._native import Answer, DataPlane, LoadError, Refusal
from support import graphs
from support.compute_queue import (
    MAX_ROWS,
    SLOW,
    SLOW_ROWS,
    Call,
    count,
    echo_plane,
    keep_busy,
    one_thread_plane,
    queued,
)
from support.planes import ask, load, regressor, samples, signature
from support.waiting import wait_until

DEEP = [[3, 3]] * MAX_ROWS
"""Rows that take a pitfall thousands of times what it was measured at."""


def values(answer: Answer) -> Any:
    return json.loads(answer.body)["predictions"]


def test_an_answer_reports_how_long_the_call_waited_in_the_queue() -> None:
    plane = echo_plane()
    before_busy = time.monotonic()
    busy = keep_busy(plane)
    before = time.monotonic()
    waiting = queued(plane, [[1, 2]])
    in_queue = time.monotonic()
    queue_seconds, busy_seconds = waiting.reply().queue_seconds, busy.reply().infer_seconds
    # The other run began after `before_busy` and took that long; the call was in the queue by then at the latest.
    assert before_busy + busy_seconds - in_queue <= queue_seconds <= time.monotonic() - before
    assert queue_seconds > 0


def test_a_call_that_cannot_end_within_its_own_timeout_is_refused() -> None:
    plane = echo_plane()
    busy = keep_busy(plane)
    refused = Call(plane, [[1, 2]], timeout_seconds=1e-9).start().reply()
    assert (refused.code, refused.arguments["limit"]) == ("out_of_time", "0.000000001")
    assert isinstance(busy.reply(), Answer)


def test_a_call_with_a_longer_timeout_outlives_the_timeout_of_the_settings() -> None:
    plane = echo_plane(timeout_seconds=1e-3)
    rows = [[1, 1]] * SLOW_ROWS
    assert Call(plane, rows, model="slow", no_cache=True).start().reply().code == "out_of_time"
    assert isinstance(Call(plane, rows, model="slow", timeout_seconds=60.0).start().reply(), Answer)


def test_a_hundred_equal_calls_are_one_run() -> None:
    plane = echo_plane()
    busy = keep_busy(plane)
    asked = [Call(plane, [[1, 2]]) for _ in range(100)]
    answers = [each.start() for each in asked]
    assert {values(each.reply())[0][0] for each in answers} == {1.0}
    busy.reply()
    assert count(plane, "runs_total") == 2
    assert count(plane, "shared_rows_total") == 99
    assert count(plane, "merged_total") == 0


def test_equal_rows_of_different_calls_are_run_once() -> None:
    plane = echo_plane()
    keep_busy(plane)
    first = queued(plane, [[1, 2], [3, 4]])
    second = queued(plane, [[5, 6], [3, 4], [7, 8], [1, 2]])
    assert values(second.reply()) == [[5, 6], [3, 4], [7, 8], [1, 2]]
    assert values(first.reply()) == [[1, 2], [3, 4]]
    assert count(plane, "shared_rows_total") == 2


def test_calls_with_no_cache_share_no_rows() -> None:
    plane = echo_plane()
    keep_busy(plane)
    for asked in [queued(plane, [[1, 2]], no_cache=True) for _ in range(2)]:
        asked.reply()
    assert count(plane, "shared_rows_total") == 0


def test_when_the_first_of_equal_callers_disconnects_the_others_are_answered() -> None:
    plane = echo_plane()
    keep_busy(plane)
    first = queued(plane, [[1, 2]])
    other = Call(plane, [[1, 2]]).start()
    wait_until(lambda: count(plane, "shared_rows_total") == 1)
    first.later.cancel()
    assert values(other.reply()) == [[1, 2]]


def test_a_queued_call_whose_client_disconnects_is_never_run() -> None:
    plane = echo_plane()
    busy = keep_busy(plane)
    queued(plane, [[1, 2]]).later.cancel()
    wait_until(lambda: count(plane, "queued") == 0)
    busy.reply()
    Call(plane, [[3, 4]]).start().reply()
    assert count(plane, "runs_total") == 2


def test_queued_calls_are_merged_into_one_run_with_equal_bits() -> None:
    width = 4
    weights = np.random.default_rng(1).normal(size=(width, 3)).astype("float32")
    model = graphs.model(
        [graphs.helper.make_node("MatMul", ["numbers", "weights"], ["values"])],
        [graphs.values([None, 3])],
        inputs=[graphs.numbers(width)],
        initializers={"weights": weights},
    )
    plane = one_thread_plane(model, regressor(width, targets=3, is_multi_target=True))
    rows = np.random.default_rng(2).normal(size=(40, width)).tolist()
    alone = [values(Call(plane, [row], no_cache=True).start().reply())[0] for row in rows]
    runs = count(plane, "runs_total")
    busy = keep_busy(plane, 5 * SLOW_ROWS)
    asked = [Call(plane, [row], no_cache=True).start() for row in rows]
    wait_until(lambda: count(plane, "queued") == len(rows))
    assert [values(each.reply())[0] for each in asked] == alone
    busy.reply()
    assert count(plane, "merged_total") == len(rows)
    assert count(plane, "runs_total") == runs + 2


def test_a_row_that_fails_does_not_fail_the_calls_merged_with_it() -> None:
    plane = one_thread_plane(
        graphs.largest(3, has_probabilities=False), signature(3, has_probabilities=False, labels=[[0, 1]])
    )
    keep_busy(plane)
    good, bad, other = (queued(plane, [row]) for row in ([0, 9, 0], [0, 0, 9], [9, 0, 0]))
    assert (values(good.reply()), values(other.reply())) == ([1], [0])
    with pytest.raises(LoadError, match="label 2"):
        bad.reply()
    assert count(plane, "merged_total") == 3


def test_a_call_is_not_delayed_to_be_merged_with_others() -> None:
    plane = echo_plane()
    for row in range(5):
        Call(plane, [[row, 0]]).start().reply()
    assert count(plane, "runs_total") == 5
    assert count(plane, "merged_total") == 0


def test_a_full_queue_of_one_model_refuses_at_once_and_others_still_queue() -> None:
    plane = echo_plane(max_queued_per_model=2)
    keep_busy(plane)
    asked = [queued(plane, [[row, 0]]) for row in range(2)]
    assert Call(plane, [[9, 0]]).start().reply().code == "queue_full"
    slow = queued(plane, [[1, 1]], model="slow")
    for each in [*asked, slow]:
        assert isinstance(each.reply(), Answer)
    assert samples(plane, "serval_refusals_total", code="queue_full") == [1]


def test_the_queues_of_all_models_together_are_bounded() -> None:
    plane = echo_plane(max_queued=1)
    keep_busy(plane)
    asked = queued(plane, [[1, 2]])
    assert Call(plane, [[1, 1]], model="slow").start().reply().code == "queue_full"
    assert isinstance(asked.reply(), Answer)


def test_a_run_estimated_beyond_the_deadline_is_refused_before_it_starts() -> None:
    plane = echo_plane(timeout_seconds=0.01)
    refused = Call(plane, [[1, 1]] * 1000, model="slow").start().reply()
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.arguments["limit"]) == ("out_of_time", "0.01")
    assert float(refused.arguments["seconds"]) > 0.01
    assert count(plane, "runs_total") == 0


def test_a_call_that_would_wait_beyond_the_deadline_is_refused_at_once() -> None:
    plane = echo_plane()
    loaded = load(plane, SLOW, regressor(2, targets=2, is_multi_target=True), np.ones((3, 2)), "ver_2")
    seconds = loaded.fixed_seconds + 1000 * loaded.row_seconds
    # Of twenty runs some are let in and some are not, also where the second plane measures four times as much or a
    # quarter.
    plane = echo_plane(timeout_seconds=4.5 * seconds)
    replies = [
        each.reply() for each in [Call(plane, [[1, 1]] * 1000, model="slow", no_cache=True).start() for _ in range(20)]
    ]
    refused = [reply for reply in replies if isinstance(reply, Refusal) and reply.code == "out_of_time"]
    assert any(float(refusal.arguments["waiting"]) > 0 for refusal in refused)


def runaway_plane(**settings: Any) -> DataPlane:
    """`iris` is measured at next to nothing, and takes seconds for `DEEP`."""
    plane = one_thread_plane(
        graphs.pitfall(), regressor(2, targets=2, is_multi_target=True), **({"timeout_seconds": 0.5} | settings)
    )
    assert isinstance(Call(plane, [[1, 1]]).start().reply(), Answer)
    return plane


def until_it_ran_away(plane: DataPlane) -> tuple[str, float, float]:
    """The id of the only version that runs away, and its seconds expected and used; on a busy machine it is detected
    some time after the deadline."""
    runaways: list[tuple[str, float, float]] = []

    def is_reported() -> bool:
        runaways.extend(plane.models.take_runaways())
        return runaways != []

    wait_until(is_reported)
    [runaway] = runaways
    return runaway


def test_a_runaway_is_refused_at_the_deadline_and_its_version_unloaded() -> None:
    plane = runaway_plane()
    assert Call(plane, DEEP).start().reply().code in {"ran_away", "too_late"}
    version, expected_seconds, used_seconds = until_it_ran_away(plane)
    assert version == "ver_1"
    assert used_seconds > 10 * expected_seconds
    assert ask(plane, '{"input":[1,1]}', waits=False).wait().code == "model_loading"
    assert plane.models.take_runaways() == []
    assert count(plane, "runaways_total") == 1


def test_a_thread_occupied_by_a_runaway_is_replaced() -> None:
    plane = runaway_plane()
    Call(plane, DEEP).start().reply()
    assert isinstance(Call(plane, [[1, 1]], model="slow").start().reply(), Answer)


def test_a_runaway_counts_as_queued_until_it_ends() -> None:
    plane = runaway_plane(max_queued=1)
    Call(plane, DEEP).start().reply()
    assert Call(plane, [[1, 1]], model="slow").start().reply().code == "queue_full"
    wait_until(lambda: isinstance(Call(plane, [[1, 1]], model="slow").start().reply(), Answer))


def test_a_call_behind_a_runaway_of_its_version_runs_only_if_that_is_not_blamed() -> None:
    plane = runaway_plane()
    runs = count(plane, "runs_total")
    deep = Call(plane, DEEP).start()
    wait_until(lambda: count(plane, "runs_total") == runs + 1)
    other = queued(plane, [[1, 5]])
    deep.reply()
    reply = other.reply()
    # Where the deadline found it blameless, the other run was begun by the next thread.
    assert isinstance(reply, Answer) == (count(plane, "runs_total") == runs + 2)
    until_it_ran_away(plane)


def test_a_runaway_is_noticed_after_its_client_has_disconnected() -> None:
    plane = runaway_plane()
    runs = count(plane, "runs_total")
    deep = Call(plane, DEEP).start()
    wait_until(lambda: count(plane, "runs_total") == runs + 1)
    deep.later.cancel()
    until_it_ran_away(plane)
    assert isinstance(Call(plane, [[1, 1]], model="slow").start().reply(), Answer)


def test_a_version_that_ran_away_answers_again_after_a_reload() -> None:
    plane = runaway_plane()
    Call(plane, DEEP).start().reply()
    until_it_ran_away(plane)
    load(plane, graphs.echo(2, "float32"), regressor(2, targets=2, is_multi_target=True), np.ones((3, 2)), "ver_1")
    assert isinstance(Call(plane, [[1, 2]]).start().reply(), Answer)


def test_metrics_of_the_queue_start_at_zero() -> None:
    plane = echo_plane()
    for name in ("queued", "runs_total", "merged_total", "shared_rows_total", "runaways_total"):
        assert count(plane, name) == 0
