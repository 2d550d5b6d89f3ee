"""Small ONNX graphs, written by hand: honest ones and hostile ones."""

import itertools
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DTYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def model(
    nodes: list[onnx.NodeProto],
    outputs: list[onnx.ValueInfoProto],
    *,
    inputs: list[onnx.ValueInfoProto] | None = None,
    initializers: dict[str, np.ndarray] | None = None,
    opset: int = 21,
    **extra: Any,
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs or [numbers()], outputs, tensors)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, **extra)


def numbers(columns: int = 2, dtype: str = "float32") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("numbers", DTYPES[dtype], [None, columns])


def values(shape: list[int | None] | None = None, dtype: str = "float32") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("values", DTYPES[dtype], shape)


def echo(columns: int, dtype: str = "float64") -> onnx.ModelProto:
    """A regressor of as many targets as columns that answers with the row itself."""
    return model(
        [helper.make_node("Identity", ["numbers"], ["values"])],
        [values([None, columns], dtype)],
        inputs=[numbers(columns, dtype)],
    )


def largest(classes: int, dtype: str = "float32", *, has_probabilities: bool = True) -> onnx.ModelProto:
    """A classifier that answers with the place of a row's largest number; its probabilities are the row."""
    nodes = [helper.make_node("ArgMax", ["numbers"], ["labels"], axis=1, keepdims=0)]
    outputs = [helper.make_tensor_value_info("labels", TensorProto.INT64, [None])]
    if has_probabilities:
        nodes.append(helper.make_node("Identity", ["numbers"], ["probabilities"]))
        outputs.append(helper.make_tensor_value_info("probabilities", DTYPES[dtype], [None, classes]))
    return model(nodes, outputs, inputs=[numbers(classes, dtype)])


def largest_of(classes: list[int], dtype: str = "float32") -> onnx.ModelProto:
    """A classifier of several targets, which takes as many columns of a row for each as it has classes, and answers
    with the place of the largest; its probabilities are the row."""
    names = [f"target{place}" for place in range(len(classes))]
    nodes = [
        helper.make_node("Split", ["numbers", "sizes"], names, axis=1),
        *(helper.make_node("ArgMax", [name], [f"{name}_label"], axis=1, keepdims=1) for name in names),
        helper.make_node("Concat", [f"{name}_label" for name in names], ["labels"], axis=1),
        helper.make_node("Identity", ["numbers"], ["probabilities"]),
    ]
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.INT64, [None, len(classes)]),
        helper.make_tensor_value_info("probabilities", DTYPES[dtype], [None, sum(classes)]),
    ]
    sizes = {"sizes": np.array(classes, dtype=np.int64)}
    return model(nodes, outputs, inputs=[numbers(sum(classes), dtype)], initializers=sizes)


def labels_alone(classes: list[int], dtype: str = "float32") -> onnx.ModelProto:
    """The same without probabilities."""
    graph = largest_of(classes, dtype)
    graph.graph.node.pop()
    graph.graph.output.pop()
    return graph


def tree_regressor(**changes: Any) -> onnx.ModelProto:
    """One split on the first feature: node 0 with the leaves 1 and 2."""
    attributes: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
        "n_targets": 1,
    }
    node = helper.make_node(
        "TreeEnsembleRegressor", ["numbers"], ["values"], domain="ai.onnx.ml", **(attributes | changes)
    )
    return model([node], [values([None, 1])])


def deep_tree_regressor(depth: int) -> onnx.ModelProto:
    """A tree whose every branch has a leaf on its true side: as deep as it is long."""
    branches, leaves = range(depth), range(depth, 2 * depth + 1)
    modes = ["BRANCH_LEQ"] * depth + ["LEAF"] * (depth + 1)
    true_ids = [depth + place for place in branches] + [0] * (depth + 1)
    false_ids = [place + 1 for place in branches][:-1] + [2 * depth] + [0] * (depth + 1)
    count = 2 * depth + 1
    return tree_regressor(
        nodes_treeids=[0] * count,
        nodes_nodeids=list(range(count)),
        nodes_featureids=[0] * count,
        nodes_values=[0.5] * count,
        nodes_modes=modes,
        nodes_truenodeids=true_ids,
        nodes_falsenodeids=false_ids,
        target_treeids=[0] * (depth + 1),
        target_nodeids=list(leaves),
        target_ids=[0] * (depth + 1),
        target_weights=[1.0] * (depth + 1),
    )


def products(width: int, layers: int) -> onnx.ModelProto:
    """Two columns in, two values out, and much to compute between them."""
    wide, square, narrow = np.ones((2, width)), np.eye(width), np.ones((width, 2))
    names = [f"hidden{layer}" for layer in range(layers + 1)]
    nodes = [helper.make_node("MatMul", ["numbers", "wide"], [names[0]])]
    nodes += [helper.make_node("MatMul", [before, "square"], [after]) for before, after in itertools.pairwise(names)]
    nodes.append(helper.make_node("MatMul", [names[-1], "narrow"], ["values"]))
    weights = {"wide": wide, "square": square, "narrow": narrow}
    return model(
        nodes, [values([None, 2])], initializers={name: weight.astype("float32") for name, weight in weights.items()}
    )


def pitfall(trees: int = 20, depth: int = 2000) -> onnx.ModelProto:
    """A forest of two targets that answers at once where the first number is at most 2, and goes down its whole depth
    where it is above."""
    size, branches = 2 * depth + 1, list(range(depth))
    true_ids = [depth + place for place in branches] + [0] * (depth + 1)
    false_ids = [*branches[1:], 2 * depth] + [0] * (depth + 1)
    leaves = list(range(depth, size))
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["numbers"],
        ["values"],
        domain="ai.onnx.ml",
        nodes_treeids=[tree for tree in range(trees) for _ in range(size)],
        nodes_nodeids=list(range(size)) * trees,
        nodes_featureids=[0] * size * trees,
        nodes_values=[2.0] * size * trees,
        nodes_modes=(["BRANCH_LEQ"] * depth + ["LEAF"] * (depth + 1)) * trees,
        nodes_truenodeids=true_ids * trees,
        nodes_falsenodeids=false_ids * trees,
        target_treeids=[tree for tree in range(trees) for _ in leaves],
        target_nodeids=leaves * trees,
        target_ids=[0] * len(leaves) * trees,
        target_weights=[1.0] * len(leaves) * trees,
        n_targets=2,
    )
    return model([node], [values([None, 2])])


def chain(length: int) -> onnx.ModelProto:
    names = ["numbers", *[f"value{place}" for place in range(length - 1)], "values"]
    nodes = [helper.make_node("Neg", [before], [after]) for before, after in itertools.pairwise(names)]
    return model(nodes, [values([None, 2])])
