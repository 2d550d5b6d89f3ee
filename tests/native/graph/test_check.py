"""A hostile ONNX graph is refused before ONNX Runtime reads it; an honest one loads."""

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from serval._native import GraphError, LoadError, check_graph
from support import graphs
from support.planes import load, new_plane, regressor

node = helper.make_node


def refusal(model: onnx.ModelProto | bytes) -> str:
    with pytest.raises(GraphError) as raised:
        check_graph(model if isinstance(model, bytes) else model.SerializeToString())
    return str(raised.value)


def external(name: str = "w") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="etc/passwd")
    return tensor


def only(*nodes: onnx.NodeProto, **settings: Any) -> onnx.ModelProto:
    return graphs.model(list(nodes), [graphs.values()], **settings)


def inner_graph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(
        list(nodes), "inner", [], [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)]
    )


def with_initializer(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = only(node("Add", ["numbers", "w"], ["values"]))
    model.graph.initializer.append(tensor)
    return model


def only_location_changed() -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.data_location = TensorProto.EXTERNAL
    return with_initializer(tensor)


def only_entries() -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.external_data.add(key="location", value="etc/passwd")
    return with_initializer(tensor)


def sparse(values: onnx.TensorProto) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(values, helper.make_tensor("indices", TensorProto.INT64, [2], [0, 1]), [2])


def sparse_initializer() -> onnx.ModelProto:
    model = only(node("Add", ["numbers", "w"], ["values"]))
    model.graph.sparse_initializer.append(sparse(external()))
    return model


def function(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 21)]
    made = helper.make_function("own", "Twice", ["x"], ["y"], list(nodes), imports)
    model = only(node("Twice", ["numbers"], ["values"], domain="own"), functions=[made])
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def training() -> onnx.ModelProto:
    model = graphs.echo(2)
    model.training_info.add()
    return model


EXTERNAL = {
    "initializer": lambda: with_initializer(external()),
    "initializer by its location alone": only_location_changed,
    "initializer by its entries alone": only_entries,
    "sparse initializer": sparse_initializer,
    "constant": lambda: only(node("Constant", [], ["c"], value=external()), node("Add", ["numbers", "c"], ["values"])),
    "sparse constant": lambda: only(
        node("Constant", [], ["c"], sparse_value=sparse(external())), node("Add", ["numbers", "c"], ["values"])
    ),
    "tensor list": lambda: only(node("Add", ["numbers", "numbers"], ["values"], extra=[external()])),
    "value of a fill": lambda: only(
        node("Shape", ["numbers"], ["s"]), node("ConstantOfShape", ["s"], ["values"], value=external())
    ),
    "tree weights": lambda: graphs.tree_regressor(nodes_values_as_tensor=external("v")),
    "subgraph": lambda: only(
        node(
            "If",
            ["c"],
            ["values"],
            then_branch=inner_graph(node("Constant", [], ["inside"], value=external())),
            else_branch=inner_graph(),
        )
    ),
    "function": lambda: function(node("Constant", [], ["c"], value=external()), node("Add", ["x", "c"], ["y"])),
}


@pytest.mark.parametrize("make", EXTERNAL.values(), ids=EXTERNAL.keys())
def test_data_in_another_file_is_refused(make: Callable[[], onnx.ModelProto]) -> None:
    refusal(make())


@pytest.mark.parametrize("place", ["", "/"], ids=["below the folder", "absolute"])
def test_data_in_another_file_is_never_read(place: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\x01" * 8)
    tensor = external()
    tensor.external_data[0].value = place + str(tmp_path / "secret").lstrip("/")
    with pytest.raises(GraphError, match="another file"):
        load(new_plane(), with_initializer(tensor), regressor(2), np.ones((1, 2)))


CONTROL = {
    "If": lambda: only(node("If", ["c"], ["values"], then_branch=inner_graph(), else_branch=inner_graph())),
    "Loop in Loop": lambda: only(
        node(
            "Loop",
            ["n", "", "numbers"],
            ["values"],
            body=inner_graph(node("Loop", ["n", "", "numbers"], ["inside"], body=inner_graph())),
        )
    ),
    "Scan": lambda: only(node("Scan", ["numbers"], ["values"], body=inner_graph(), num_scan_inputs=1)),
    "SequenceMap": lambda: only(node("SequenceMap", ["numbers"], ["values"], body=inner_graph())),
    "an innocent operator with a graph": lambda: only(node("Identity", ["numbers"], ["values"], body=inner_graph())),
    "a list of graphs": lambda: only(node("Identity", ["numbers"], ["values"], bodies=[inner_graph()])),
}


@pytest.mark.parametrize("make", CONTROL.values(), ids=CONTROL.keys())
def test_a_graph_inside_a_node_is_refused(make: Callable[[], onnx.ModelProto]) -> None:
    assert "graph" in refusal(make())


@pytest.mark.parametrize(
    "operator",
    ["If", "Scan", "NonZero", "RandomNormal", "Optional", "SequenceInsert", "Unique", "ZipMap", "Nonsense", ""],
)
def test_an_operator_off_the_list_is_refused(operator: str) -> None:
    assert "not one of the operators" in refusal(only(node(operator, ["numbers"], ["values"])))


def looping(
    *,
    rounds: Any = 5,
    body: list[onnx.NodeProto] | None = None,
    carried: tuple[str, str] = ("numbers", "next"),
    outputs: tuple[str, ...] = ("values",),
    spare: int = 0,
) -> onnx.ModelProto:
    """A loop that adds one to its rows, or has another body."""
    own = body or [
        node("Add", ["received", "received"], ["doubled"]),
        node("ScatterElements", ["received", "places", "doubled"], ["next"], axis=1),
    ]
    own += [node("Identity", ["received"], [f"spare{index}"]) for index in range(spare)]
    inner = helper.make_graph(
        [*own, node("Identity", ["is_open"], ["goes_on"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("is_open", TensorProto.BOOL, []),
            helper.make_tensor_value_info("received", TensorProto.FLOAT, [None, None]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info(carried[1], TensorProto.FLOAT, [None, None]),
        ],
    )
    model = only(
        node("ArgMax", ["numbers"], ["places"], axis=1, keepdims=1),
        node("Loop", ["rounds", "start", carried[0]], list(outputs), body=inner),
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(rounds), "rounds"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "start"))
    return model


def test_a_bounded_loop_that_keeps_its_shapes_is_taken() -> None:
    check_graph(looping().SerializeToString())


LOOPS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "grows by joining": (
        lambda: looping(body=[node("Concat", ["received", "received"], ["next"], axis=1)]),
        "operators that the body",
    ),
    "grows by spreading": (
        lambda: looping(body=[node("Add", ["received", "places"], ["next"])]),
        "change the shape",
    ),
    "scatters into another": (
        lambda: looping(body=[node("ScatterElements", ["numbers", "places", "received"], ["next"], axis=1)]),
        "change the shape",
    ),
    "multiplies matrices": (
        lambda: looping(body=[node("MatMul", ["received", "received"], ["next"])]),
        "operators that the body",
    ),
    "rounds without end": (lambda: looping(rounds=1 << 40), "steps in all"),
    "rounds times nodes": (lambda: looping(rounds=30_000, spare=40), "steps in all"),
    "no round": (lambda: looping(rounds=0), "constant number of rounds"),
    "several numbers": (lambda: looping(rounds=[3, 4]), "constant number of rounds"),
    "an output for each round": (lambda: looping(outputs=("values", "more")), "carry each of its values"),
    "a value of its own outside": (
        lambda: looping(carried=("doubled", "next")),
        "no earlier node makes",
    ),
    "carries what is not there": (lambda: looping(carried=("nothing", "next")), "no earlier node makes"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_any_other_loop_is_refused(name: str) -> None:
    make, rule = LOOPS[name]
    assert rule in refusal(make())


def test_rounds_that_depend_on_a_row_are_refused() -> None:
    model = looping()
    model.graph.node[1].input[0] = "places"
    assert "constant number of rounds" in refusal(model)


def test_what_a_loop_makes_inside_is_unknown_after_it() -> None:
    model = looping(outputs=("looped",))
    model.graph.node.append(node("Add", ["looped", "doubled"], ["values"]))
    assert "no earlier node makes" in refusal(model)


def test_the_message_names_the_node_and_the_rule() -> None:
    assert (
        refusal(only(node("NonZero", ["numbers"], ["values"], name="count")))
        == "node `count` (NonZero): is not one of the operators that Serval runs"
    )


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.training", "own", "ai.onnx.ml "])
def test_another_domain_is_refused(domain: str) -> None:
    assert "domain" in refusal(only(node("Identity", ["numbers"], ["values"], domain=domain)))
    imported = graphs.echo(2)
    imported.opset_import.append(helper.make_opsetid(domain, 1))
    assert "domain" in refusal(imported)


def test_functions_and_training_are_refused() -> None:
    assert "functions" in refusal(function(node("Add", ["x", "x"], ["y"])))
    assert "training" in refusal(training())


@pytest.mark.parametrize("length", [1001, 15_000])
def test_a_long_chain_is_refused(length: int) -> None:
    assert "chain" in refusal(graphs.chain(length))


def test_the_longest_chain_loads_on_a_small_stack() -> None:
    outcome: list[Any] = []

    def work() -> None:
        outcome.append(
            load(new_plane(), graphs.chain(1000), regressor(2, targets=2, is_multi_target=True), np.ones((2, 2))).tile
        )

    before = threading.stack_size(2 << 20)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert outcome == [1]


def test_too_many_nodes_are_refused() -> None:
    nodes = [node("Neg", ["numbers"], [f"n{place}"]) for place in range(20_001)]
    assert "nodes" in refusal(graphs.model(nodes, [graphs.values()]))


def test_nodes_out_of_order_are_refused() -> None:
    assert "no earlier node" in refusal(only(node("Neg", ["a"], ["values"]), node("Neg", ["numbers"], ["a"])))
    assert "no earlier node" in refusal(only(node("Add", ["numbers", "values"], ["values"])))
    assert "there already" in refusal(only(node("Neg", ["numbers"], ["values"]), node("Neg", ["numbers"], ["values"])))


def constant(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def as_integers(name: str) -> list[onnx.NodeProto]:
    """A row's numbers as int64 of one dimension."""
    return [node("Cast", ["numbers"], ["wide"], to=TensorProto.INT64), node("Reshape", ["wide", "flat"], [name])]


FLAT = {"flat": constant([-1])}
BY_VALUE = {
    "ConstantOfShape": [node("ConstantOfShape", ["n"], ["values"])],
    "Expand": [node("Expand", ["numbers", "n"], ["values"])],
    "Tile": [node("Tile", ["numbers", "n"], ["values"])],
    "Range": [node("Squeeze", ["n"], ["m"]), node("Range", ["m", "m", "m"], ["values"])],
    "Pad": [node("Pad", ["numbers", "n"], ["values"])],
    "OneHot": [node("OneHot", ["n", "n", "n"], ["values"])],
    "Reshape": [node("Reshape", ["numbers", "n"], ["values"])],
    "TopK": [node("TopK", ["numbers", "n"], ["values", "places"])],
    "Slice": [node("Slice", ["numbers", "n", "n"], ["values"])],
    "through the shape's arithmetic": [
        node("Shape", ["numbers"], ["s"]),
        node("Mul", ["s", "n"], ["t"]),
        node("Expand", ["numbers", "t"], ["values"]),
    ],
}


@pytest.mark.parametrize("nodes", BY_VALUE.values(), ids=BY_VALUE.keys())
def test_a_shape_that_depends_on_values_of_a_row_is_refused(nodes: list[onnx.NodeProto]) -> None:
    assert "values of a row" in refusal(only(*as_integers("n"), *nodes, initializers=FLAT))


def test_a_shape_that_explodes_at_some_number_of_rows_is_refused() -> None:
    nodes = [
        node("Shape", ["numbers"], ["s"]),
        node("Equal", ["s", "seventy_seven"], ["is_it"]),
        node("Cast", ["is_it"], ["one"], to=TensorProto.INT64),
        node("Mul", ["one", "many"], ["t"]),
        node("ConstantOfShape", ["t"], ["values"]),
    ]
    initializers = {"seventy_seven": constant([77, 77]), "many": constant([10**6, 10**6])}
    assert "values of a row" in refusal(only(*nodes, initializers=initializers))


@pytest.mark.parametrize("factors", [[-1, 1], [1 << 40, 1]], ids=["shrinks with the rows", "wraps around"])
def test_a_shape_that_does_not_grow_with_the_rows_is_refused(factors: list[int]) -> None:
    nodes = [
        node("Shape", ["numbers"], ["s"]),
        node("Mul", ["s", "f"], ["t"]),
        node("ConstantOfShape", ["t"], ["values"]),
    ]
    refusal(only(*nodes, initializers={"f": constant(factors)}))


BY_CONSTANT = {
    "ConstantOfShape": ([node("ConstantOfShape", ["n"], ["values"])], [2**30]),
    "ConstantOfShape of many": ([node("ConstantOfShape", ["n"], ["values"])], [2**10] * 4),
    "Expand": ([node("Expand", ["numbers", "n"], ["values"])], [2**20, 2**10, 2]),
    "Tile": ([node("Tile", ["numbers", "n"], ["values"])], [2**15, 2**15]),
    "Pad": ([node("Pad", ["numbers", "n"], ["values"])], [0, 0, 0, 2**31]),
}


@pytest.mark.parametrize(("nodes", "asked"), BY_CONSTANT.values(), ids=BY_CONSTANT.keys())
def test_a_constant_shape_of_gigabytes_is_refused(nodes: list[onnx.NodeProto], asked: list[int]) -> None:
    assert "elements" in refusal(only(*nodes, initializers={"n": constant(asked)}))


def test_a_constant_node_is_as_bounded_as_an_initializer() -> None:
    value = numpy_helper.from_array(constant([2**30]), "value")
    assert "elements" in refusal(
        only(node("Constant", [], ["n"], value=value), node("ConstantOfShape", ["n"], ["values"]))
    )
    assert "elements" in refusal(
        only(node("Constant", [], ["n"], value_ints=[2**30]), node("ConstantOfShape", ["n"], ["values"]))
    )


def test_a_shape_made_of_the_number_of_rows_loads() -> None:
    nodes = [
        node("Shape", ["numbers"], ["s"]),
        node("Gather", ["s", "first"], ["rows"]),
        node("Concat", ["rows", "two"], ["t"], axis=0),
        node("ConstantOfShape", ["t"], ["zeros"]),
        node("Add", ["zeros", "numbers"], ["values"]),
    ]
    model = only(*nodes, initializers={"first": constant([0]), "two": constant([2])})
    check_graph(model.SerializeToString())


TREES: dict[str, dict[str, Any]] = {
    "a cycle": {"nodes_truenodeids": [0, 0, 0]},
    "a cycle beside the root": {
        "nodes_treeids": [0] * 5,
        "nodes_nodeids": [0, 1, 2, 3, 4],
        "nodes_featureids": [0] * 5,
        "nodes_values": [0.5] * 5,
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "BRANCH_LEQ"],
        "nodes_truenodeids": [1, 0, 0, 4, 3],
        "nodes_falsenodeids": [2, 0, 0, 4, 3],
    },
    "two parents": {"nodes_falsenodeids": [1, 0, 0]},
    "a child out of range": {"nodes_truenodeids": [7, 0, 0]},
    "a child of another tree": {"nodes_treeids": [0, 1, 0]},
    "a root that is not first": {
        "nodes_nodeids": [1, 0, 2],
        "nodes_truenodeids": [2, 1, 0],
        "nodes_falsenodeids": [2, 2, 0],
    },
    "a node twice": {"nodes_nodeids": [0, 1, 1]},
    "a feature below zero": {"nodes_featureids": [-1, 0, 0]},
    "an unknown mode": {"nodes_modes": ["BRANCH_LEQ", "LEAF", "TWIG"]},
    "a short list": {"nodes_values": [0.5]},
    "a target out of range": {"target_ids": [0, 1]},
    "a target below zero": {"target_ids": [0, -1]},
    "a weight on a node that is not there": {"target_nodeids": [1, 9]},
    "a weight on a branch": {"target_nodeids": [1, 0]},
    "too few weights": {"target_weights": [1.0]},
    "too many targets": {"n_targets": 10**9},
    "base values of another number": {"base_values": [0.0, 1.0]},
    "hitrates of another number": {"nodes_hitrates": [1.0]},
}


@pytest.mark.parametrize("changes", TREES.values(), ids=TREES.keys())
def test_nodes_that_form_no_tree_are_refused(changes: dict[str, Any]) -> None:
    assert "TreeEnsembleRegressor" in refusal(graphs.tree_regressor(**changes))


@pytest.mark.parametrize(("depth", "is_fine"), [(2000, True), (2001, False)])
def test_trees_are_at_most_2000_deep(depth: int, is_fine: bool) -> None:
    model = graphs.deep_tree_regressor(depth)
    if is_fine:
        load(new_plane(), model, regressor(2), np.ones((1, 2)))
    else:
        assert "too deep" in refusal(model)


def test_a_tree_that_reads_past_the_row_is_refused() -> None:
    with pytest.raises(GraphError, match="width 2, not AtLeast\\(8\\)"):
        load(new_plane(), graphs.tree_regressor(nodes_featureids=[7, 0, 0]), regressor(2), np.ones((1, 2)))


def test_a_tree_that_reads_past_the_output_of_a_node_is_refused() -> None:
    tree = graphs.tree_regressor(nodes_featureids=[2, 0, 0]).graph.node[0]
    for widths, is_fine in ([2, 1], True), ([1, 1], False):
        tree.input[0] = "wide"
        initializers = {f"w{place}": np.ones((1, width), np.float32) for place, width in enumerate(widths)}
        spread = [node("MatMul", ["first", f"w{place}"], [f"p{place}"]) for place in range(2)]
        nodes = [
            node("Gather", ["numbers", "one"], ["first"], axis=1),
            *spread,
            node("Concat", ["p0", "p1"], ["wide"], axis=1),
            tree,
        ]
        model = graphs.model(nodes, [graphs.values([None, 1])], initializers=initializers | {"one": constant([0])})
        if is_fine:
            load(new_plane(), model, regressor(2), np.ones((1, 2)))
        else:
            with pytest.raises(GraphError, match="width 2"):
                load(new_plane(), model, regressor(2), np.ones((1, 2)))


def svm(**changes: Any) -> onnx.ModelProto:
    attributes: dict[str, Any] = {
        "kernel_type": "RBF",
        "kernel_params": [0.5, 0.0, 3.0],
        "n_supports": 2,
        "coefficients": [1.0, -1.0],
        "support_vectors": [0.0, 0.0, 1.0, 1.0],
        "rho": [0.1],
    }
    return graphs.model(
        [node("SVMRegressor", ["numbers"], ["values"], domain="ai.onnx.ml", **(attributes | changes))],
        [graphs.values([None, 1])],
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"coefficients": [1.0]},
        {"rho": [0.1, 0.2]},
        {"n_supports": 1000},
        {"support_vectors": [0.0] * 3},
        {"support_vectors": [0.0] * 400},
        {"kernel_params": [0.5]},
    ],
    ids=str,
)
def test_support_vectors_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(GraphError):
        load(new_plane(), svm(**changes), regressor(2), np.ones((1, 2)))


def test_support_vectors_that_fit_load() -> None:
    load(new_plane(), svm(), regressor(2), np.ones((1, 2)))


@pytest.mark.parametrize("coefficients", [1, 3, 4000])
def test_coefficients_that_do_not_fit_are_refused(coefficients: int) -> None:
    linear = node(
        "LinearRegressor",
        ["numbers"],
        ["values"],
        domain="ai.onnx.ml",
        coefficients=[1.0] * coefficients,
        intercepts=[0.0],
    )
    with pytest.raises(GraphError):
        load(new_plane(), graphs.model([linear], [graphs.values([None, 1])]), regressor(2), np.ones((1, 2)))


def test_a_field_written_twice_is_refused() -> None:
    bytes_ = graphs.echo(2).SerializeToString()
    assert "twice" in refusal(bytes_ + bytes_)


@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_damaged_models_are_refused_or_pass_without_a_crash(place: int, byte: int, is_cut: bool) -> None:
    whole = bytearray(graphs.tree_regressor().SerializeToString())
    place %= len(whole)
    whole[place] = byte
    damaged = bytes(whole[:place] if is_cut else whole)
    try:
        check_graph(damaged)
    except GraphError:
        return
    with contextlib.suppress(GraphError, LoadError):
        new_plane().models.load("ver_1", damaged, json.dumps(regressor(2)).encode(), np.ones((1, 2)).tobytes(), [])


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_pass_without_a_crash(data: bytes) -> None:
    with contextlib.suppress(GraphError):
        check_graph(data)
