"""The data plane's own counters, as Prometheus reads them."""

import json

import numpy as np

from serval._native import DataPlane
from support import graphs
from support.planes import ask, load, new_plane, put_caller, route, samples, signature

LABELS = {"model": "ada/iris", "version": "1"}


def counting_plane(**settings: float) -> DataPlane:
    plane = new_plane(**settings)
    put_caller(plane)
    plane.models.set_routes([route()])
    load(plane, graphs.largest(2), signature(2, labels=[[0, 1]]), np.ones((1, 2)))
    return plane


def test_predictions_rows_hits_and_misses_are_counted() -> None:
    plane = counting_plane()
    for body in ({"input": [0, 1]}, {"inputs": [[0, 1], [1, 2], [3, 4]]}):
        ask(plane, json.dumps(body))
    ask(plane, json.dumps({"input": [5, 6]}), no_cache=True)
    assert samples(plane, "serval_predictions_total", outcome="answered", **LABELS) == [3]
    assert samples(plane, "serval_prediction_rows_total", **LABELS) == [5]
    assert samples(plane, "serval_cache_hits_total", level="l1", **LABELS) == [1]
    assert samples(plane, "serval_cache_hits_total", level="l2", **LABELS) == [0]
    assert samples(plane, "serval_cache_misses_total", **LABELS) == [3]
    assert samples(plane, "serval_cache_entries") == [3]


def test_each_stage_of_a_prediction_has_a_histogram() -> None:
    plane = counting_plane()
    for _ in range(2):
        ask(plane, '{"input":[0,1]}')
    name = "serval_prediction_latency_seconds"
    assert samples(plane, f"{name}_count", **LABELS) == samples(plane, f"{name}_bucket", le="+Inf", **LABELS) == [2]
    name = "serval_prediction_stage_seconds"
    for stage, count in {"parse": 2, "cache": 2, "queue": 0, "infer": 1, "encode": 2}.items():
        assert samples(plane, f"{name}_count", stage=stage, **LABELS) == [count]
        assert samples(plane, f"{name}_bucket", stage=stage, le="+Inf", **LABELS) == [count]
        assert 0 <= samples(plane, f"{name}_sum", stage=stage, **LABELS)[0] < 1


def test_an_expensive_prediction_is_counted_in_the_queue_stage() -> None:
    plane = counting_plane(inline_below_seconds=0.0)
    ask(plane, '{"input":[0,1]}')
    assert samples(plane, "serval_prediction_stage_seconds_count", stage="queue", **LABELS) == [1]


def test_an_owner_sees_metrics_of_own_models_only() -> None:
    plane = counting_plane()
    ask(plane, '{"input":[0,1]}')
    own, others = (plane.metrics(owner).decode() for owner in ("usr_1", "usr_2"))
    assert 'serval_predictions_total{model="ada/iris",version="1",outcome="answered"} 1\n' in own
    assert 'serval_version_load_seconds{version_id="ver_1"}' in own
    assert "serval_refusals_total" not in own
    assert "ada" not in others
    assert "ver_1" not in others
    assert "serval_loaded_versions 0\n" in others


def test_refusals_are_counted_by_reason() -> None:
    plane = counting_plane()
    ask(plane, "", caller=b"\0" * 32)
    ask(plane, "", model="nothing")
    assert samples(plane, "serval_refusals_total", code="unknown_caller") == [1]
    assert samples(plane, "serval_refusals_total", code="unknown_model") == [1]
    assert samples(plane, "serval_refusals_total", code="forbidden") == [0]


def test_loaded_versions_report_their_size_and_load_time() -> None:
    plane = counting_plane()
    assert samples(plane, "serval_loaded_versions") == [1]
    assert samples(plane, "serval_version_resident_bytes", version_id="ver_1")[0] > 0
    assert samples(plane, "serval_version_load_seconds", version_id="ver_1")[0] > 0
    plane.models.unload("ver_1")
    assert samples(plane, "serval_loaded_versions") == [0]
