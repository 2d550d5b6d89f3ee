"""Exports a fitted predictor as a graph."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from onnx import ModelProto, TensorProto

from serval.conversion.export.emitter import Emitter
from serval.conversion.export.features import Features, Table, TableColumn
from serval.conversion.export.graph import Graph
from serval.conversion.export.rules import (
    bayes,
    calibration,
    compose,
    dummies,
    encoding,
    functions,
    imputing,
    iterative,
    kernels,
    linear,
    multiclass,
    neighbors,
    networks,
    older,
    projections,
    splines,
    transforms,
    trees,
    voting,
    wrappers,
)
from serval.conversion.export.tensor import Tensor, model_of
from serval.conversion.export.timestamp_columns import entered
from serval.conversion.signature import Signature, input_positions

MODULES = (
    linear,
    trees,
    bayes,
    neighbors,
    kernels,
    voting,
    multiclass,
    calibration,
    wrappers,
    networks,
    older,
    dummies,
    transforms,
    functions,
    imputing,
    iterative,
    projections,
    splines,
    encoding,
    compose,
)


class ExportedModel(NamedTuple):
    """`interesting`: for each input column, values around which the answer may change."""

    model: ModelProto
    interesting: dict[int, set[float]]


def emitter(columns: Sequence[str] = (), *, has_narrow_trees: bool = False) -> Emitter:
    """Knows the rules of every family."""
    return Emitter([module.FAMILY for module in MODULES], columns, has_narrow_trees=has_narrow_trees)


def export(estimator: Any, signature: Signature, *, has_narrow_trees: bool = False) -> ExportedModel:
    """The graph of a signature, which computes what the estimator does. Raises NotConvertible."""
    graph = Graph()
    graph.nulls = {index: column.missing for index, column in enumerate(signature.columns) if column.missing}
    emit = emitter([column.name for column in signature.columns], has_narrow_trees=has_narrow_trees)
    outputs = predictions(emit, estimator, signature, _features(graph, signature))
    model = model_of(graph, outputs, shapes(signature))
    _narrow_input(model)
    return ExportedModel(model, graph.interesting)


def predictions(emit: Emitter, estimator: Any, signature: Signature, x: Features) -> dict[str, Tensor]:
    """The outputs of a signature by name. Raises NotConvertible."""
    if signature.kind == "regressor":
        return {"values": emit.predict(estimator, x).cast("float64")}
    answers = {"labels": emit.predict(estimator, x).cast("int64")}
    if signature.has_probabilities:
        answers["probabilities"] = emit.predict_proba(estimator, x).cast("float64")
    return answers


def shapes(signature: Signature) -> dict[str, list[int | None]]:
    """Of each output; None is the number of rows."""
    answers: list[int | None] = [None, signature.targets] if signature.is_multi_target else [None]
    return {"values": answers, "labels": answers, "probabilities": [None, signature.score_width]}


def _features(graph: Graph, signature: Signature) -> Features:
    """Numbers alone as a matrix; with strings or unused columns, a table."""
    places = input_positions(signature)
    columns = {
        kind: [index for index, place in enumerate(places) if place is not None and place.is_string == kind]
        for kind in (False, True)
    }
    numbers = Tensor.input(graph, "numbers", "float64", columns[False]) if columns[False] else None
    strings = Tensor.input(graph, "strings", "string", columns[True]) if columns[True] else None
    if numbers is not None:
        numbers = entered(numbers, [(index, signature.columns[index]) for index in columns[False]])
    if numbers is not None and len(columns[False]) == len(places):
        return numbers
    sources = {False: numbers, True: strings}
    return Table(
        tuple(
            TableColumn(None, 0) if place is None else TableColumn(sources[place.is_string], place.offset)
            for place in places
        )
    )


def _narrow_input(model: ModelProto) -> None:
    """Take numbers as float32 where the graph does nothing with them but cast them to it."""
    users = [node for node in model.graph.node if "numbers" in node.input]
    if not users or any(node.op_type != "Cast" or node.attribute[0].i != TensorProto.FLOAT for node in users):
        return
    made = {node.output[0] for node in users}
    for node in users:
        model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = ["numbers" if name in made else name for name in node.input]
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def numbers_dtype(model: ModelProto) -> str:
    takes_float32 = any(value.type.tensor_type.elem_type == TensorProto.FLOAT for value in model.graph.input)
    return "float32" if takes_float32 else "float64"
