"""Each of scikit-learn's classifiers and regressors, alone and behind random preprocessing."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.utils import all_estimators

from serval.conversion.export.graph import Graph
from serval.conversion.export.predictors import MODULES, emitter
from serval.conversion.export.rules.transforms import SELECTIONS
from serval.conversion.export.tensor import Tensor
from serval.errors import NotConvertible
from support.estimators import NAMES, pipeline, plain

SHAPES_TABLES = {"Pipeline", "FrozenEstimator", "IsotonicRegression", "PLSCanonical", "CCA"}
TRANSFORMERS = sorted(
    {kind.__name__ for module in MODULES for kind in module.FAMILY.transform}
    - SHAPES_TABLES
    - {kind.__name__ for kind in SELECTIONS}
)


def test_the_list_of_estimators_is_complete():
    assert [name for name, _ in all_estimators(type_filter=["classifier", "regressor"])] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_estimator_answers_like_the_original(name, agrees):
    agrees(plain(name))


@pytest.mark.parametrize("seed", range(25))
def test_a_random_pipeline_answers_like_the_original(seed, agrees_on_unseen_rows):
    agrees_on_unseen_rows(pipeline(seed))


def test_the_formats_page_lists_every_estimator():
    page = (Path(__file__).parents[4] / "docs" / "formats.md").read_text()
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []


def test_the_formats_page_lists_every_transformer():
    page = (Path(__file__).parents[4] / "docs" / "formats.md").read_text()
    assert [name for name in TRANSFORMERS if f"`{name}`" not in page] == []


def test_the_nodes_of_an_estimator_are_written_once():
    graph = Graph()
    emit, x = emitter(), Tensor.input(graph, "numbers", "float64", range(5))
    model = plain("RandomForestClassifier").model
    emit.predict_proba(model, x)
    count = len(graph.nodes)
    emit.predict(model, x)
    assert [node.op_type for node in graph.nodes[count:]] == ["ArgMax"]


def test_thresholds_after_a_scaler_are_traced_back_to_the_input_columns():
    graph = Graph()
    x = Tensor.input(graph, "numbers", "float64", [3])
    assert ((x - 10.0) / 2.0 <= 1.5).dtype == "bool"
    assert graph.interesting == {3: {13.0}}


def test_estimators_nested_too_deep_are_refused():
    model = Ridge().fit(np.eye(3), [0, 1, 2])
    for _ in range(50):
        model = FrozenEstimator(model)
    with pytest.raises(NotConvertible, match="`FrozenEstimator` lies 40 estimators deep: take it out"):
        emitter().predict(model, Tensor.input(Graph(), "numbers", "float64", range(3)))
