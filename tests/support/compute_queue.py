"""A plane of one compute thread, a run that keeps that thread busy, and predictions that wait for it."""

import threading
from typing import Any

import numpy as np

from serval._native import DataPlane
from support import graphs
from support.planes import load, new_plane, predict, put_caller, regressor, route, samples
from support.waiting import WITHIN_SECONDS, wait_until

SLOW = graphs.products(1000, 8)
VERSIONS = {"iris": ("mdl_1", "ver_1"), "slow": ("mdl_2", "ver_2")}
SLOW_ROWS = 5000
"""So many take a second or two."""
MAX_ROWS = 60_000


def one_thread_plane(model: Any, contract: dict[str, Any], **settings: Any) -> DataPlane:
    """A plane of one compute thread, whose `iris` is to be tested and whose `slow` keeps that thread busy; no call is
    inline."""
    plane = new_plane(**({"inline_below_seconds": 0.0, "threads": 1, "max_rows": MAX_ROWS} | settings))
    put_caller(plane)
    plane.models.set_routes([route(), route("mdl_2", name="slow", versions={1: "ver_2"})])
    load(plane, model, contract, np.ones((3, len(contract["columns"]))), "ver_1")
    load(plane, SLOW, regressor(2, targets=2, is_multi_target=True), np.ones((3, 2)), "ver_2")
    return plane


def echo_plane(**settings: Any) -> DataPlane:
    return one_thread_plane(graphs.echo(2, "float32"), regressor(2, targets=2, is_multi_target=True), **settings)


class Call:
    """A prediction of rows that need no decoding."""

    def __init__(
        self,
        plane: DataPlane,
        rows: Any,
        model: str = "iris",
        *,
        no_cache: bool = False,
        timeout_seconds: float | None = None,
    ) -> None:
        self._replies: list[Any] = []
        self._is_done = threading.Event()
        numbers = np.asarray(rows, dtype=np.float64).tobytes()
        model_id, version = VERSIONS[model]
        self.later: Any = predict(
            plane,
            numbers,
            model=model_id,
            version=version,
            is_list=True,
            no_cache=no_cache,
            timeout_seconds=timeout_seconds,
        )

    def start(self) -> "Call":
        self.later.start(self._done)
        return self

    def _done(self, reply: Any) -> None:
        self._replies.append(reply)
        self._is_done.set()

    def reply(self) -> Any:
        assert self._is_done.wait(WITHIN_SECONDS)
        if isinstance(self._replies[0], Exception):
            raise self._replies[0]
        return self._replies[0]


def count(plane: DataPlane, name: str) -> float:
    return samples(plane, f"serval_compute_{name}")[0]


def keep_busy(plane: DataPlane, rows: int = SLOW_ROWS) -> Call:
    """Start a run that holds the only thread for a while."""
    runs = count(plane, "runs_total")
    asked = Call(plane, [[1, 1]] * rows, model="slow", no_cache=True).start()
    wait_until(lambda: count(plane, "runs_total") == runs + 1)
    return asked


def queued(plane: DataPlane, rows: Any, **settings: Any) -> Call:
    """Ask, and return when the call is in the queue."""
    before = count(plane, "queued")
    asked = Call(plane, rows, **settings).start()
    wait_until(lambda: count(plane, "queued") == before + 1)
    return asked
