"""The ring of answered predictions that Python drains."""

import json
import time
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from serval._native import DataPlane, Deferred, PredictionRecord
from support import graphs
from support.planes import ask, load, new_plane, predict, put_caller, regressor, route, signature

ROWS = '{"inputs": [[0, 1], [3, 2], [5, 4]]}'


def seeing_plane(**settings: Any) -> DataPlane:
    plane = new_plane(**settings)
    put_caller(plane, user="usr_2", is_admin=True)
    plane.models.set_routes([route()])
    load(plane, graphs.largest(2), signature(2, labels=[["a", "b"]]), np.ones((1, 2)))
    return plane


def drained(plane: DataPlane) -> list[PredictionRecord]:
    return plane.history.drain(1000)


def test_a_drained_record_names_the_caller_the_owner_and_the_version() -> None:
    plane = seeing_plane()
    answer = ask(plane, '{"input": [0, 1]}', model="mdl_1")
    [seen] = drained(plane)
    assert (seen.user, seen.owner, seen.model, seen.version, seen.version_number) == (
        "usr_2",
        "usr_1",
        "mdl_1",
        "ver_1",
        1,
    )
    assert (seen.rows, seen.cache, seen.latency_seconds, seen.inputs) == (1, "miss", answer.latency_seconds, None)
    assert (seen.is_kept, seen.is_logged) == (True, False)
    assert abs(seen.unix_microseconds / 1e6 - time.time()) < 5
    assert json.loads(seen.predictions) == [json.loads(answer.body)["prediction"]]


@pytest.mark.parametrize(
    "settings",
    [{"inline_below_seconds": 0.0}, {"cache_bytes": 0}, {"cache_bytes": 0, "inline_below_seconds": 0.0}],
    ids=str,
)
def test_every_path_of_a_prediction_writes_an_equal_record(settings: dict[str, Any]) -> None:
    planes = [seeing_plane(keeps_inputs=True), seeing_plane(keeps_inputs=True, **settings)]
    for plane in planes:
        ask(plane, '{"input": [3, 2]}', model="mdl_1")
        ask(plane, ROWS, model="mdl_1")
    one, other = (
        [(seen.rows, seen.digest, seen.inputs, seen.predictions, seen.probabilities) for seen in drained(plane)]
        for plane in planes
    )
    assert one == other
    assert one[1][2] == "[[0.0,1.0],[3.0,2.0],[5.0,4.0]]"


def test_recorded_inputs_are_in_the_order_of_the_columns() -> None:
    plane = new_plane(keeps_inputs=True)
    put_caller(plane)
    plane.models.set_routes([route()])
    kinds = {"name": "string", "is_new": "boolean", "age": "number", "since": "timestamp"}
    columns = [{"name": name, "kind": kind, "dtype": "object"} for name, kind in kinds.items()]
    contract = regressor(4, columns=columns, numbers_dtype="float64", scores_dtype="float64")
    strings = ["x", "\x1a"]
    numbers = np.array([[1.0, 7.5, 1_714_903_200_000_000.0], [np.nan, np.nan, np.nan]])
    plane.models.load("ver_1", of_strings(), json.dumps(contract).encode(), numbers.tobytes(), strings)
    reply = predict(plane, numbers.tobytes(), strings, is_list=True)
    if isinstance(reply, Deferred):
        reply.wait()
    [seen] = drained(plane)
    assert seen.inputs is not None
    assert json.loads(seen.inputs) == [["x", True, 7.5, "2024-05-05T10:00:00Z"], [None, None, None, None]]
    assert seen.probabilities is None


def of_strings() -> bytes:
    """A graph of strings and numbers that answers with the first number."""
    nodes = [
        helper.make_node("Slice", ["numbers", "zero", "one", "axis"], ["values"]),
        helper.make_node("Identity", ["strings"], ["unused"]),
    ]
    inputs = [
        helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, 3]),
        helper.make_tensor_value_info("strings", TensorProto.STRING, [None, 1]),
    ]
    outputs = [helper.make_tensor_value_info("values", TensorProto.DOUBLE, [None, 1])]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("zero", 0), ("one", 1), ("axis", 1))
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def test_refusals_are_not_recorded() -> None:
    plane = seeing_plane()
    ask(plane, '{"input": [0, 1]}', model="nothing")
    ask(plane, '{"input": ["a", 1]}', model="mdl_1")
    assert drained(plane) == []
