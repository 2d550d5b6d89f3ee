"""What a version must be to be loaded, what loading measures, and that loads and runs may overlap."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serval._native import DataPlane, LoadError
from support import graphs
from support.planes import LIBRARY, ask, load, new_plane, put_caller, regressor, route, signature

CONTRACT = signature(2, labels=[["no", "yes"]])
ROWS = np.array([[0.25, 0.75], [1.0, 0.0]])


def test_loading_measures_cost_and_tile() -> None:
    loaded = load(new_plane(), graphs.largest(2), CONTRACT, ROWS)
    assert loaded.tile == 1
    assert 0 < loaded.fixed_seconds < 1e-3
    assert 0 <= loaded.row_seconds < 1e-4
    assert 0 < loaded.resident_bytes < 10_000_000
    assert 0 < loaded.load_seconds < 10


def test_resident_bytes_grow_with_the_model() -> None:
    def resident(megabytes: int) -> int:
        initializers = {
            "v": np.ones((2, 256), np.float32),
            "w": np.ones((256, megabytes * 1024), np.float32),
            "axis": np.array([1], np.int64),
        }
        nodes = [
            helper.make_node("MatMul", ["numbers", "v"], ["some"]),
            helper.make_node("MatMul", ["some", "w"], ["wide"]),
            helper.make_node("ReduceSum", ["wide", "axis"], ["values"]),
        ]
        model = graphs.model(nodes, [graphs.values([None, 1])], initializers=initializers)
        return int(load(new_plane(), model, regressor(2), np.ones((1, 2))).resident_bytes)

    assert resident(8) - resident(1) == pytest.approx(7 << 20, rel=0.2)


def test_run_returns_the_raw_outputs() -> None:
    plane = new_plane()
    load(plane, graphs.largest(2), CONTRACT, ROWS)
    outputs = plane.models.run("ver_1", ROWS.tobytes(), [])
    assert np.frombuffer(outputs.labels, np.int64).tolist() == [1, 0]
    assert np.frombuffer(outputs.scores, np.float32).tolist() == [0.25, 0.75, 1.0, 0.0]


def test_strings_reach_the_graph_unchanged() -> None:
    """Also empty ones, those with a zero byte, and long ones."""
    plane = new_plane()
    words = ["", "a", "a\0b", "é" * 1000]
    encoder = helper.make_node(
        "LabelEncoder",
        ["strings"],
        ["codes"],
        domain="ai.onnx.ml",
        keys_strings=words,
        values_int64s=[10, 11, 12, 13],
        default_int64=-1,
    )
    nodes = [encoder, helper.make_node("Cast", ["codes"], ["values"], to=TensorProto.DOUBLE)]
    strings = helper.make_tensor_value_info("strings", TensorProto.STRING, [None, 1])
    model = graphs.model(nodes, [graphs.values([None, 1], "float64")], inputs=[strings])
    contract = regressor(1, columns=[{"name": "word", "kind": "string", "dtype": "object"}], scores_dtype="float64")
    plane.models.load("ver_1", model.SerializeToString(), json.dumps(contract).encode(), b"", words)
    assert np.frombuffer(plane.models.run("ver_1", b"", [*words, "a\0c", "b"]).scores).tolist() == [
        10,
        11,
        12,
        13,
        -1,
        -1,
    ]


def test_loading_replaces_a_version_and_unloading_removes_it() -> None:
    plane = new_plane()
    load(plane, graphs.largest(2), CONTRACT, ROWS)
    load(
        plane,
        graphs.echo(2),
        regressor(2, targets=2, is_multi_target=True, numbers_dtype="float64", scores_dtype="float64"),
        ROWS,
    )
    assert plane.models.run("ver_1", ROWS.tobytes(), []).labels == b""
    assert plane.models.unload("ver_1")
    assert not plane.models.unload("ver_1")
    with pytest.raises(KeyError):
        plane.models.run("ver_1", ROWS.tobytes(), [])


def wrong_labels(answer: int) -> onnx.ModelProto:
    """A classifier whose label is a constant."""
    nodes = [
        helper.make_node("Shape", ["numbers"], ["shape"], start=0, end=1),
        helper.make_node(
            "ConstantOfShape", ["shape"], ["labels"], value=helper.make_tensor("v", TensorProto.INT64, [1], [answer])
        ),
        helper.make_node("Identity", ["numbers"], ["probabilities"]),
    ]
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    return graphs.model(nodes, outputs)


@pytest.mark.parametrize("label", [2, -1, 2**62])
def test_a_label_index_beyond_the_labels_is_an_error(label: int) -> None:
    with pytest.raises(LoadError, match="label"):
        load(new_plane(), wrong_labels(label), CONTRACT, ROWS)


def test_a_failed_run_is_an_error_and_is_counted(plane: DataPlane) -> None:
    """A label that only some rows bring."""
    contract = signature(3, labels=[["no", "yes"]], has_probabilities=False)
    load(plane, graphs.largest(3, has_probabilities=False), contract, np.array([[1.0, 2.0, 0.0]]))
    assert json.loads(ask(plane, '{"input":[1,2,0]}').body)["prediction"] == "yes"
    with pytest.raises(LoadError, match="label 2, of 2"):
        ask(plane, '{"input":[1,2,3]}')
    assert 'outcome="failed"} 1' in plane.metrics().decode()


@pytest.mark.parametrize(
    ("model", "contract"),
    [
        (graphs.largest(2), signature(2, labels=[[0, 1, 2]])),
        (graphs.largest(2), signature(2, labels=[[0, 1]], has_probabilities=False)),
        (graphs.largest(2), signature(2, labels=[[0, 1]], numbers_dtype="float64")),
        (graphs.largest(2), signature(2, labels=[[0, 1]], scores_dtype="float64")),
        (graphs.largest(2), signature(3, labels=[[0, 1]])),
        (graphs.largest(2), regressor(2)),
        (graphs.largest(2, has_probabilities=False), signature(2, labels=[[0, 1]])),
        (graphs.echo(2), regressor(2, numbers_dtype="float64", scores_dtype="float64")),
        (graphs.echo(2), regressor(2, targets=2, numbers_dtype="float64", scores_dtype="float64")),
        (graphs.largest(2), signature(2, labels=[])),
        (graphs.largest(2), signature(2, labels=[[]])),
        (graphs.largest(2), signature(2, kind="clusterer")),
        (graphs.largest(2), signature(2) | {"surprise": 1}),
        (graphs.largest(2), {"kind": "classifier"}),
    ],
    ids=range(14),
)
def test_a_graph_that_contradicts_its_signature_is_refused(model: onnx.ModelProto, contract: dict[str, Any]) -> None:
    rows = np.ones((2, len(contract.get("columns", [1, 2]))))
    with pytest.raises(LoadError):
        load(new_plane(), model, contract, rows)


def test_a_version_needs_probe_rows() -> None:
    with pytest.raises(LoadError, match="probe row"):
        load(new_plane(), graphs.largest(2), CONTRACT, np.ones((0, 2)))


@pytest.mark.parametrize("numbers", [b"\0" * 8, b"\0" * 15])
def test_incomplete_probe_rows_are_refused(numbers: bytes) -> None:
    with pytest.raises(ValueError, match=r"rows|eights"):
        new_plane().models.load(
            "ver_1", graphs.largest(2).SerializeToString(), json.dumps(CONTRACT).encode(), numbers, []
        )


def test_what_onnx_runtime_refuses_is_a_load_error() -> None:
    model = graphs.model(
        [helper.make_node("MatMul", ["numbers", "w"], ["values"])],
        [graphs.values([None, 2])],
        initializers={"w": np.ones((5, 2), np.float32)},
    )
    with pytest.raises(LoadError, match="ONNX Runtime"):
        load(new_plane(), model, regressor(2, targets=2, is_multi_target=True), ROWS)


def test_a_second_runtime_library_cannot_be_opened() -> None:
    new_plane()
    with pytest.raises(LoadError, match="already open"):
        new_plane(runtime_library=LIBRARY + ".other")


def test_runs_loads_and_unloads_may_overlap() -> None:
    plane = new_plane(cache_bytes=0)
    put_caller(plane)
    plane.models.set_routes([route()])
    load(plane, graphs.largest(2), CONTRACT, ROWS)

    def asking(seed: int) -> int:
        random = np.random.default_rng(seed)
        wrong = 0
        for row in random.random((2000, 2)):
            answer = json.loads(ask(plane, json.dumps({"input": row.tolist()})).body)
            wrong += answer["prediction"] != ("yes" if row[1].astype(np.float32) > row[0].astype(np.float32) else "no")
        return wrong

    def loading(times: int) -> int:
        for place in range(times):
            load(plane, graphs.largest(2), CONTRACT, ROWS)
            load(plane, graphs.largest(2), CONTRACT, ROWS, f"ver_other_{place}")
            plane.models.unload(f"ver_other_{place}")
            plane.models.set_routes([route()])
        return 0

    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(asking, range(4))) == [0] * 4
        running = [threads.submit(asking, seed) for seed in range(4)]
        assert threads.submit(loading, 20).result() == 0
        assert [future.result() for future in running] == [0] * 4
