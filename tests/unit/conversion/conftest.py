"""Runs the graph of a fitted model beside the model itself."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.base import is_classifier

from serval._native import check_graph
from serval.conversion.export.features import Features, Table, TableColumn
from serval.conversion.export.graph import Graph
from serval.conversion.export.predictors import emitter
from serval.conversion.export.tensor import Tensor, model_of
from serval.conversion.signature import MISSING_STRING
from support.estimators import Case, Rows, margins, probabilities

Answers = dict[str, np.ndarray]


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def is_text(column: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def features_of(rows: Rows, graph: Graph) -> tuple[Features, dict[str, np.ndarray]]:
    """The features of a graph and its inputs: `numbers` float64, `strings` with `MISSING_STRING` if missing."""
    if isinstance(rows, np.ndarray):
        return Tensor.input(graph, "numbers", "float64", range(rows.shape[1])), {
            "numbers": np.asarray(rows, dtype=np.float64)
        }
    is_string = [is_text(rows[name]) for name in rows]
    feed = {"numbers": rows.loc[:, ~np.array(is_string)].to_numpy(np.float64)}
    numbers = Tensor.input(graph, "numbers", "float64", np.flatnonzero(~np.array(is_string)).tolist())
    if not any(is_string):
        return numbers, feed
    text = rows.loc[:, is_string].astype(object)
    feed["strings"] = text.where(text.notna(), MISSING_STRING).to_numpy()
    strings = Tensor.input(graph, "strings", "string", np.flatnonzero(is_string).tolist())
    positions = [
        sum(is_string[:index]) if is_text_column else index - sum(is_string[:index])
        for index, is_text_column in enumerate(is_string)
    ]
    return Table(
        tuple(
            TableColumn(strings if is_text_column else numbers, position)
            for is_text_column, position in zip(is_string, positions, strict=True)
        )
    ), feed


def run_graph(make: Callable[[Features], dict[str, Tensor]], rows: Rows) -> Answers:
    """The outputs of the nodes that `make` writes, for these rows."""
    graph = Graph()
    x, feed = features_of(rows, graph)
    outputs = make(x)
    model = model_of(graph, outputs, dict.fromkeys(outputs))
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"}
    check_graph(model.SerializeToString())
    return dict(zip(outputs, session(model.SerializeToString()).run(list(outputs), feed), strict=True))


def outputs_of(model: Any, x: Features, *, has_probabilities: bool) -> dict[str, Tensor]:
    emit = emitter()
    if not is_classifier(model):
        return {"values": emit.predict(model, x)}
    labels = {"labels": emit.predict(model, x)}
    return labels | ({"probabilities": emit.predict_proba(model, x)} if has_probabilities else {})


def indices(model: Any, predicted: np.ndarray) -> np.ndarray:
    if isinstance(model.classes_, list):
        return np.stack([np.searchsorted(classes, predicted[:, i]) for i, classes in enumerate(model.classes_)], axis=1)
    return predicted if predicted.ndim > 1 else np.searchsorted(model.classes_, predicted)


def compare(model: Any, rows: Rows) -> None:
    """Labels equal where the lead exceeds 1e-9, probabilities within 1e-5, values within 1e-5 relatively or 1e-7 of the
    largest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.asarray(model.predict(rows))
        proba = probabilities(model, rows) if is_classifier(model) else None
        found = run_graph(lambda x: outputs_of(model, x, has_probabilities=proba is not None), rows)
        if "values" in found:
            assert found["values"].shape == expected.shape
            np.testing.assert_allclose(
                found["values"], expected, rtol=1e-5, atol=1e-7 * np.nanmax(np.abs(expected), initial=0)
            )
            return
        assert found["labels"].shape == expected.shape
        assert not ((found["labels"] != indices(model, expected)) & (margins(model, rows, proba) > 1e-9)).any()
        if proba is not None:
            np.testing.assert_allclose(found["probabilities"], proba, rtol=0, atol=1e-5)


@pytest.fixture
def agrees() -> Callable[[Case], None]:
    """Asserts that a case's model and its graph agree, on its held-out rows and on those that it was fitted on."""

    def check(case: Case) -> None:
        compare(case.model, case.held_out)
        compare(case.model, case.X)

    return check


@pytest.fixture
def agrees_on_unseen_rows() -> Callable[[Case], None]:
    """The same on the held-out rows alone."""
    return lambda case: compare(case.model, case.held_out)


@pytest.fixture
def transforms_alike() -> Callable[[Any, Rows], None]:
    """Asserts that a fitted transformer and its graph have the same columns."""

    def check(model: Any, rows: Rows) -> None:
        found = run_graph(lambda x: {"columns": emitter().transform(model, x).cast("float64")}, rows)["columns"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = model.transform(rows)
        dense = np.asarray(expected.toarray() if hasattr(expected, "toarray") else expected, dtype=np.float64)
        np.testing.assert_allclose(found, dense, rtol=1e-7, atol=1e-7)

    return check


@pytest.fixture
def evaluate() -> Callable[[Callable[[Tensor], Tensor], np.ndarray], np.ndarray]:
    """The values of an expression over a float64 matrix."""

    def run(make: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
        return run_graph(lambda features: {"y": make(features)}, x)["y"]

    return run
