"""Measures the compute threads through the data plane: expensive models alone and beside an inline one; and forests.

python loadtests/compute.py
"""

import os
import sys
import threading
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import graphs
from support.planes import ask, converted, load, new_plane, predict, put_caller, regressor, route, signature

CONTRACT = regressor(2, targets=2, is_multi_target=True)
MEASURED_SECONDS = 2.0


class Load:
    """Askers that each have one prediction under way, each time of other rows."""

    def __init__(self, plane: Any, askers: int) -> None:
        self._plane, self._lock, self._stops, self._open = plane, threading.Lock(), False, askers
        self._next, self._ended = 0.0, threading.Event()
        self.seconds: list[float] = []
        for _ in range(askers):
            self._ask()

    def _ask(self) -> None:
        self._next += 1
        began = time.monotonic_ns()
        row = np.array([self._next, 1.0]).tobytes()
        reply: Any = predict(self._plane, row, is_list=True, no_cache=True, started_ns=began)
        reply.start(lambda answer: self._told(began, answer))

    def _told(self, began: int, answer: Any) -> None:
        with self._lock:
            if not hasattr(answer, "body"):
                raise RuntimeError(answer)
            self.seconds.append((time.monotonic_ns() - began) / 1e9)
            if not self._stops:
                self._ask()
                return
            self._open -= 1
            if self._open == 0:
                self._ended.set()

    def stop(self) -> None:
        self._stops = True
        self._ended.wait()


def plane_with(model: Any) -> tuple[Any, Any]:
    """A plane whose `dear` is to be kept busy and whose `cheap` is asked beside it."""
    plane = new_plane(inline_below_seconds=0.0005, threads=os.cpu_count() or 1, cache_bytes=0)
    put_caller(plane)
    plane.models.set_routes([route(name="dear"), route("mdl_2", name="cheap", versions={1: "ver_2"})])
    loaded = load(plane, model, CONTRACT, np.ones((3, 2)), "ver_1")
    load(plane, graphs.echo(2, "float32"), CONTRACT, np.ones((3, 2)), "ver_2")
    return plane, loaded


def percentiles(seconds: list[float]) -> str:
    return ", ".join(f"p{share} {np.percentile(seconds, share) * 1e3:.2f} ms" for share in (50, 99))


def weighty(width: int = 1800, layers: int = 10) -> Any:
    """Products by a matrix of its own in each layer: one row costs the way through memory, others with it little
    more."""
    names = ["numbers", *[f"hidden{layer}" for layer in range(layers)], "values"]
    shapes = [(2, width), *[(width, width)] * (layers - 1), (width, 2)]
    random = np.random.default_rng(0)
    weights = {
        f"weights{place}": (random.normal(size=shape) / width**0.5).astype("float32")
        for place, shape in enumerate(shapes)
    }
    nodes = [
        graphs.helper.make_node("MatMul", [before, name], [after])
        for (before, after), name in zip(pairwise(names), weights, strict=True)
    ]
    return graphs.model(nodes, [graphs.values([None, 2])], initializers=weights)


def alone(name: str, model: Any) -> None:
    plane, loaded = plane_with(model)
    print(
        f"{name}: fixed {loaded.fixed_seconds * 1e3:.2f} ms, row {loaded.row_seconds * 1e3:.3f} ms, tile {loaded.tile}"
    )
    for askers in (1, 16, 64):
        under_load = Load(plane, askers)
        time.sleep(MEASURED_SECONDS)
        under_load.stop()
        print(
            f"  {askers} clients: {len(under_load.seconds) / MEASURED_SECONDS:.0f}/s, {percentiles(under_load.seconds)}"
        )


def beside(name: str, model: Any) -> None:
    plane, _ = plane_with(model)
    under_load = Load(plane, 64)
    seconds, end = [], time.monotonic() + MEASURED_SECONDS
    while time.monotonic() < end:
        began = time.monotonic_ns()
        ask(plane, '{"input":[1,2]}', model="cheap", waits=False)
        seconds.append((time.monotonic_ns() - began) / 1e9)
        time.sleep(0.001)
    under_load.stop()
    print(f"cheap beside 64 askers of {name}: {percentiles(seconds)}")


def forests() -> None:
    """ONNX Runtime against scikit-learn, microseconds a row."""
    rows = np.random.default_rng(0).normal(size=(4096, 30))
    classes = (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(int)
    for trees in (100, 300):
        forest = RandomForestClassifier(trees, n_jobs=1, random_state=0).fit(rows, classes)
        model = converted(
            forest, 30, {"label": "labels", "output_label": "labels", "output_probability": "probabilities"}
        )
        plane = new_plane()
        load(plane, model, signature(30, labels=[[0, 1]]), rows[:64])
        print(f"{trees} trees, rows: ONNX Runtime, scikit-learn (us a row)")
        for count in (1, 16, 256, 4096):
            part = rows[:count]
            ours = best(partial(plane.models.run, "ver_1", part.tobytes(), []))
            theirs = best(partial(forest.predict_proba, part))
            print(f"  {count}: {ours / count * 1e6:.2f}, {theirs / count * 1e6:.2f}")


def best(call: Any) -> float:
    shortest, end = float("inf"), time.monotonic() + 1
    while time.monotonic() < end:
        began = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - began)
    return shortest


if __name__ == "__main__":
    alone("a dear model", weighty())
    beside("a dear model", weighty())
    forests()
