"""Dear predictions: each row run once, small runs merged, every model in its turn, none waiting without end."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from native.test_metrics import samples
from serval._native import Answer, DataPlane, LoadError, Refusal
from support import graphs
from support.planes import ask, load, new_plane, predict, put_caller, regressor, route, signature

SLOW = graphs.products(1000, 8)
PLACES = {"iris": ("mdl_1", "ver_1"), "slow": ("mdl_2", "ver_2")}
SLOW_ROWS = 5000
"""So many take a second or two."""


def dear_plane(model: Any, contract: dict[str, Any], **settings: Any) -> DataPlane:
    """A plane of one compute thread, whose `iris` is to be tested and whose `slow` keeps that thread busy; nothing is
    cheap."""
    plane = new_plane(**({"inline_below_seconds": 0.0, "threads": 1, "max_rows": len(DEEP)} | settings))
    put_caller(plane)
    plane.models.set_routes([route(), route("mdl_2", name="slow", versions={1: "ver_2"})])
    load(plane, model, contract, np.ones((3, len(contract["columns"]))), "ver_1")
    load(plane, SLOW, regressor(2, targets=2, is_multi_target=True), np.ones((3, 2)), "ver_2")
    return plane


def echoing(**settings: Any) -> DataPlane:
    return dear_plane(graphs.echo(2, "float32"), regressor(2, targets=2, is_multi_target=True), **settings)


DEEP = [[3, 3]] * 60_000
"""Rows that take a pitfall thousands of times what it was measured at."""


class Asked:
    """A prediction under way, of rows that need no reading."""

    def __init__(self, plane: DataPlane, rows: Any, model: str = "iris", *, no_cache: bool = False) -> None:
        self._replies: list[Any] = []
        self._told = threading.Event()
        numbers = np.asarray(rows, dtype=np.float64).tobytes()
        self.later: Any = predict(
            plane, numbers, model=PLACES[model][0], version=PLACES[model][1], is_list=True, no_cache=no_cache
        )

    def start(self) -> "Asked":
        self.later.start(self._done)
        return self

    def _done(self, reply: Any) -> None:
        self._replies.append(reply)
        self._told.set()

    def reply(self) -> Any:
        assert self._told.wait(20)
        if isinstance(self._replies[0], Exception):
            raise self._replies[0]
        return self._replies[0]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def count(plane: DataPlane, name: str) -> float:
    return samples(plane, f"serval_compute_{name}")[0]


def keep_busy(plane: DataPlane, rows: int = SLOW_ROWS) -> Asked:
    """Start a run that holds the only thread for a while."""
    runs = count(plane, "runs_total")
    asked = Asked(plane, [[1, 1]] * rows, model="slow", no_cache=True).start()
    until(lambda: count(plane, "runs_total") == runs + 1)
    return asked


def waiting(plane: DataPlane, rows: Any, **settings: Any) -> Asked:
    """Ask, and return when the question waits for the thread."""
    before = count(plane, "waiting")
    asked = Asked(plane, rows, **settings).start()
    until(lambda: count(plane, "waiting") == before + 1)
    return asked


def values(answer: Answer) -> Any:
    return json.loads(answer.body)["predictions"]


def test_an_answer_says_how_long_it_waited_for_its_turn() -> None:
    plane = echoing()
    busy = keep_busy(plane)
    asked = Asked(plane, [[1, 2]]).start()
    waited_seconds, busy_seconds = asked.reply().queue_seconds, busy.reply().infer_seconds
    assert 0.2 * busy_seconds < waited_seconds < 20


def test_a_hundred_equal_calls_are_run_once() -> None:
    plane = echoing()
    busy = keep_busy(plane)
    asked = [Asked(plane, [[1, 2]]) for _ in range(100)]
    answers = [each.start() for each in asked]
    assert {values(each.reply())[0][0] for each in answers} == {1.0}
    busy.reply()
    assert count(plane, "runs_total") == 2
    assert count(plane, "shared_rows_total") == 99
    assert count(plane, "merged_total") == 0


def test_rows_are_shared_one_by_one() -> None:
    plane = echoing()
    keep_busy(plane)
    first = waiting(plane, [[1, 2], [3, 4]])
    second = waiting(plane, [[5, 6], [3, 4], [7, 8], [1, 2]])
    assert values(second.reply()) == [[5, 6], [3, 4], [7, 8], [1, 2]]
    assert values(first.reply()) == [[1, 2], [3, 4]]
    assert count(plane, "shared_rows_total") == 2


def test_calls_that_ask_for_no_cache_share_nothing() -> None:
    plane = echoing()
    keep_busy(plane)
    for asked in [waiting(plane, [[1, 2]], no_cache=True) for _ in range(2)]:
        asked.reply()
    assert count(plane, "shared_rows_total") == 0


def test_where_the_first_of_equal_calls_goes_the_others_get_their_answer() -> None:
    plane = echoing()
    keep_busy(plane)
    first = waiting(plane, [[1, 2]])
    other = Asked(plane, [[1, 2]]).start()
    until(lambda: count(plane, "shared_rows_total") == 1)
    first.later.cancel()
    assert values(other.reply()) == [[1, 2]]


def test_a_call_whose_client_has_gone_is_never_run() -> None:
    plane = echoing()
    busy = keep_busy(plane)
    waiting(plane, [[1, 2]]).later.cancel()
    until(lambda: count(plane, "waiting") == 0)
    busy.reply()
    Asked(plane, [[3, 4]]).start().reply()
    assert count(plane, "runs_total") == 2


def test_runs_that_wait_are_merged_and_keep_their_bits() -> None:
    width = 4
    weights = np.random.default_rng(1).normal(size=(width, 3)).astype("float32")
    model = graphs.model(
        [graphs.helper.make_node("MatMul", ["numbers", "weights"], ["values"])],
        [graphs.values([None, 3])],
        inputs=[graphs.numbers(width)],
        initializers={"weights": weights},
    )
    plane = dear_plane(model, regressor(width, targets=3, is_multi_target=True))
    rows = np.random.default_rng(2).normal(size=(40, width)).tolist()
    alone = [values(Asked(plane, [row], no_cache=True).start().reply())[0] for row in rows]
    runs = count(plane, "runs_total")
    busy = keep_busy(plane, 5 * SLOW_ROWS)
    asked = [Asked(plane, [row], no_cache=True).start() for row in rows]
    until(lambda: count(plane, "waiting") == len(rows))
    assert [values(each.reply())[0] for each in asked] == alone
    busy.reply()
    assert count(plane, "merged_total") == len(rows)
    assert count(plane, "runs_total") == runs + 2


def test_a_bad_row_fails_alone() -> None:
    plane = dear_plane(
        graphs.largest(3, has_probabilities=False), signature(3, has_probabilities=False, labels=[[0, 1]])
    )
    keep_busy(plane)
    good, bad, other = (waiting(plane, [row]) for row in ([0, 9, 0], [0, 0, 9], [9, 0, 0]))
    assert (values(good.reply()), values(other.reply())) == ([1], [0])
    with pytest.raises(LoadError, match="label 2"):
        bad.reply()
    assert count(plane, "merged_total") == 3


def test_nothing_waits_for_company() -> None:
    plane = echoing()
    for row in range(5):
        Asked(plane, [[row, 0]]).start().reply()
    assert count(plane, "runs_total") == 5
    assert count(plane, "merged_total") == 0


def test_a_full_line_refuses_at_once_and_another_model_waits_on() -> None:
    plane = echoing(max_queued_per_model=2)
    keep_busy(plane)
    asked = [waiting(plane, [[row, 0]]) for row in range(2)]
    assert Asked(plane, [[9, 0]]).start().reply().code == "queue_full"
    slow = waiting(plane, [[1, 1]], model="slow")
    for each in [*asked, slow]:
        assert isinstance(each.reply(), Answer)
    assert samples(plane, "serval_refusals_total", code="queue_full") == [1]


def test_all_models_together_are_bounded() -> None:
    plane = echoing(max_queued=1)
    keep_busy(plane)
    asked = waiting(plane, [[1, 2]])
    assert Asked(plane, [[1, 1]], model="slow").start().reply().code == "queue_full"
    assert isinstance(asked.reply(), Answer)


def test_a_run_that_can_not_end_in_time_is_refused_before_it_starts() -> None:
    plane = echoing(timeout_seconds=0.01)
    refused = Asked(plane, [[1, 1]] * 1000, model="slow").start().reply()
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.arguments["limit"]) == ("out_of_time", "0.01")
    assert float(refused.arguments["seconds"]) > 0.01
    assert count(plane, "runs_total") == 0


def test_a_run_whose_turn_comes_too_late_is_refused_before_it_waits() -> None:
    plane = echoing()
    loaded = load(plane, SLOW, regressor(2, targets=2, is_multi_target=True), np.ones((3, 2)), "ver_2")
    seconds = loaded.fixed_seconds + 1000 * loaded.row_seconds
    # Of twenty runs some are let in and some are not, also where the second plane measures four times as much or a
    # quarter.
    plane = echoing(timeout_seconds=4.5 * seconds)
    replies = [
        each.reply() for each in [Asked(plane, [[1, 1]] * 1000, model="slow", no_cache=True).start() for _ in range(20)]
    ]
    refused = [reply for reply in replies if isinstance(reply, Refusal) and reply.code == "out_of_time"]
    assert any(float(refusal.arguments["waiting"]) > 0 for refusal in refused)


def runaway_plane(**settings: Any) -> DataPlane:
    """`iris` is measured at next to nothing, and takes seconds for `DEEP`."""
    plane = dear_plane(
        graphs.pitfall(), regressor(2, targets=2, is_multi_target=True), **({"timeout_seconds": 0.5} | settings)
    )
    assert isinstance(Asked(plane, [[1, 1]]).start().reply(), Answer)
    return plane


def until_it_ran_away(plane: DataPlane) -> tuple[str, float, float]:
    """What is told of the only version that runs away. Where others keep the machine busy, that is seen some time after
    the deadline."""
    told: list[tuple[str, float, float]] = []

    def is_told() -> bool:
        told.extend(plane.models.take_runaways())
        return told != []

    until(is_told)
    [runaway] = told
    return runaway


def test_a_run_that_does_not_end_is_refused_and_its_version_asked_no_more() -> None:
    plane = runaway_plane()
    assert Asked(plane, DEEP).start().reply().code in {"ran_away", "too_late"}
    version, expected_seconds, used_seconds = until_it_ran_away(plane)
    assert version == "ver_1"
    assert used_seconds > 10 * expected_seconds
    assert ask(plane, '{"input":[1,1]}', waits=False).wait().code == "model_loading"
    assert plane.models.take_runaways() == []
    assert count(plane, "runaways_total") == 1


def test_a_thread_that_is_left_behind_is_replaced() -> None:
    plane = runaway_plane()
    Asked(plane, DEEP).start().reply()
    assert isinstance(Asked(plane, [[1, 1]], model="slow").start().reply(), Answer)


def test_a_run_left_behind_keeps_its_place_until_it_ends() -> None:
    plane = runaway_plane(max_queued=1)
    Asked(plane, DEEP).start().reply()
    assert Asked(plane, [[1, 1]], model="slow").start().reply().code == "queue_full"
    until(lambda: isinstance(Asked(plane, [[1, 1]], model="slow").start().reply(), Answer))


def test_a_run_that_waits_behind_a_runaway_of_its_version_is_begun_only_while_that_is_blameless() -> None:
    plane = runaway_plane()
    runs = count(plane, "runs_total")
    deep = Asked(plane, DEEP).start()
    until(lambda: count(plane, "runs_total") == runs + 1)
    other = waiting(plane, [[1, 5]])
    deep.reply()
    reply = other.reply()
    # Where the deadline found it blameless, the other run was begun by the next thread.
    assert isinstance(reply, Answer) == (count(plane, "runs_total") == runs + 2)
    until_it_ran_away(plane)


def test_a_run_that_does_not_end_is_noticed_when_its_client_has_gone() -> None:
    plane = runaway_plane()
    runs = count(plane, "runs_total")
    deep = Asked(plane, DEEP).start()
    until(lambda: count(plane, "runs_total") == runs + 1)
    deep.later.cancel()
    until_it_ran_away(plane)
    assert isinstance(Asked(plane, [[1, 1]], model="slow").start().reply(), Answer)


def test_a_version_that_ran_away_is_asked_again_once_it_was_loaded_anew() -> None:
    plane = runaway_plane()
    Asked(plane, DEEP).start().reply()
    until_it_ran_away(plane)
    load(plane, graphs.echo(2, "float32"), regressor(2, targets=2, is_multi_target=True), np.ones((3, 2)), "ver_1")
    assert isinstance(Asked(plane, [[1, 2]]).start().reply(), Answer)


def test_figures_of_the_queue_begin_at_nothing() -> None:
    plane = echoing()
    for name in ("waiting", "runs_total", "merged_total", "shared_rows_total", "runaways_total"):
        assert count(plane, name) == 0
