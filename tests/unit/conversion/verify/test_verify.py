"""The comparison refuses different answers and counts ties."""

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from serval.conversion.export.original import answers_of
from serval.conversion.from_sklearn import convert
from serval.conversion.rows import Answers
from serval.conversion.signature import Column, Signature
from serval.conversion.verify import onnxruntime_engine, probing
from serval.conversion.verify.verify import compare
from support.sample_models import specimen

CLASSIFIER = Signature(
    kind="classifier",
    columns=(Column(name="x0", kind="number", dtype="float64"),),
    has_names=False,
    labels=(("a", "b"),),
    targets=1,
    is_multi_target=False,
    has_probabilities=True,
    numbers_dtype="float64",
    scores_dtype="float64",
)
REGRESSOR = msgspec.structs.replace(CLASSIFIER, kind="regressor", labels=(), has_probabilities=False)


def chances(*second: float) -> Answers:
    scores = np.array([[1 - chance, chance] for chance in second])
    return Answers(
        scores.argmax(axis=1)[:, None],
        scores,
        np.abs(scores[:, 0] - scores[:, 1])[:, None],
        np.ones(len(second), dtype=bool),
    )


def values(*numbers: float) -> Answers:
    return Answers(
        np.zeros((len(numbers), 0), dtype=np.int64),
        np.array(numbers)[:, None],
        np.empty((len(numbers), 0)),
        np.ones(len(numbers), dtype=bool),
    )


def test_equal_answers_agree() -> None:
    parity = compare(CLASSIFIER, chances(0.2, 0.9), chances(0.2, 0.9))
    assert (parity.reason, parity.agreement, parity.largest_difference) == (None, 1.0, 0.0)


def test_another_label_fails_verification() -> None:
    parity = compare(CLASSIFIER, chances(0.2, 0.500001), chances(0.2, 0.499999))
    assert parity.reason == "1 of 2 rows get another label"
    assert parity.worst == 1


def test_a_tie_is_neither_agreement_nor_error() -> None:
    parity = compare(CLASSIFIER, chances(0.2, 0.5 + 1e-10), chances(0.2, 0.5 - 1e-10))
    assert (parity.reason, parity.ties, parity.agreeing, parity.agreement) == (None, 1, 1, 1.0)


def test_probabilities_beyond_the_tolerance_fail_verification() -> None:
    assert compare(CLASSIFIER, chances(0.2), chances(0.200009)).reason is None
    assert compare(CLASSIFIER, chances(0.2), chances(0.200011)).reason is not None


def test_values_are_compared_relative_to_their_size() -> None:
    assert compare(REGRESSOR, values(1e6, 1e6), values(1e6 + 9, 1e6)).reason is None
    assert compare(REGRESSOR, values(1e6, 1e6), values(1e6 + 11, 1e6)).reason is not None
    assert compare(REGRESSOR, values(1e-6, 1e-6), values(1.1e-6, 1e-6)).reason is not None


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_equal_values_that_are_not_finite_agree(strange: float) -> None:
    assert compare(REGRESSOR, values(1.0, strange), values(1.0, strange)).reason is None
    assert compare(REGRESSOR, values(1.0, strange), values(1.0, 2.0)).reason is not None
    assert compare(REGRESSOR, values(1.0, 2.0), values(1.0, strange)).reason is not None


def test_rows_that_the_original_refuses_are_counted_and_not_compared() -> None:
    original = chances(0.2, 0.9)
    original.is_answered[1] = False
    parity = compare(CLASSIFIER, original, chances(0.2, 0.1))
    assert (parity.reason, parity.rows, parity.refused) == (None, 1, 1)


def test_an_original_that_refuses_every_row_fails_verification() -> None:
    original = chances(0.2)
    original.is_answered[0] = False
    assert compare(CLASSIFIER, original, chances(0.2)).reason is not None


def test_a_graph_with_one_threshold_moved_by_one_float_fails_verification() -> None:
    model = specimen("cancer forest").model
    converted = convert(model)
    graph = onnx.load_model_from_string(converted.onnx)
    node = next(node for node in graph.graph.node if node.op_type == "TreeEnsembleRegressor")
    thresholds = next(attribute for attribute in node.attribute if attribute.name == "nodes_values")
    for place in range(0, len(thresholds.floats), 2):
        thresholds.floats[place] = float(np.nextafter(np.float32(thresholds.floats[place]), np.float32(np.inf)))
    rows = probing.choose(converted.signature, converted.hints, None)
    wrong = onnxruntime_engine.run(graph.SerializeToString(), converted.signature, rows)
    assert compare(converted.signature, answers_of(model, converted.signature, rows), wrong).reason is not None


def test_a_graph_with_one_wrong_weight_fails_verification() -> None:
    model = specimen("iris logistic").model
    converted = convert(model)
    graph = onnx.load_model_from_string(converted.onnx)
    weights = numpy_helper.to_array(graph.graph.initializer[0]).copy()
    weights.flat[0] += 1e-3
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, graph.graph.initializer[0].name))
    rows = probing.choose(converted.signature, converted.hints, None)
    wrong = onnxruntime_engine.run(graph.SerializeToString(), converted.signature, rows)
    assert compare(converted.signature, answers_of(model, converted.signature, rows), wrong).reason is not None
