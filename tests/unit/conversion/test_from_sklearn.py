"""Converted models answer as scikit-learn does, on rows that the converter never saw."""

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from serval.conversion.export.original import answers_of
from serval.conversion.from_sklearn import Converted, convert
from serval.conversion.rows import Rows
from serval.conversion.samples import rows_of
from serval.conversion.verify import onnxruntime_engine
from serval.conversion.verify.verify import compare
from serval.errors import NotAPredictor, NotConvertible
from support.sample_models import SPECIMENS, customers, iris, specimen


def rows_from(converted: Converted, features: object) -> Rows:
    cells = features.to_numpy(dtype=object) if isinstance(features, pd.DataFrame) else np.asarray(features)
    return rows_of(converted.signature, [[None if pd.isna(cell) else cell for cell in row] for row in cells.tolist()])


@pytest.mark.parametrize("name", SPECIMENS)
def test_a_converted_model_agrees_on_held_out_rows(name: str) -> None:
    found = specimen(name)
    converted = convert(found.model)
    rows = rows_from(converted, found.held_out)
    parity = compare(
        converted.signature,
        answers_of(found.model, converted.signature, rows),
        onnxruntime_engine.run(converted.onnx, converted.signature, rows),
    )
    assert parity.reason is None
    assert parity.rows == len(rows)


@pytest.mark.parametrize("name", ["iris logistic", "cancer forest", "mixed columns, forest"])
def test_the_same_model_gives_the_same_bytes(name: str) -> None:
    assert convert(specimen(name).model).onnx == convert(specimen(name).model).onnx


def test_a_forest_takes_float32_as_scikit_learn_casts_it() -> None:
    converted = convert(specimen("cancer forest").model)
    assert (converted.form, converted.signature.numbers_dtype) == ("float32", "float32")


def test_a_scaler_before_trees_is_computed_in_float64_and_cast_before_them() -> None:
    converted = convert(specimen("scaler, forest").model)
    assert (converted.form, converted.signature.numbers_dtype) == ("mixed", "float64")


def test_a_linear_model_is_computed_in_float64() -> None:
    assert convert(specimen("iris logistic").model).form == "float64"


@pytest.mark.parametrize("name", SPECIMENS)
def test_no_graph_holds_branches_or_foreign_operators(name: str) -> None:
    graph = onnx.load_model_from_string(convert(specimen(name).model).onnx).graph
    assert not {node.op_type for node in graph.node} & {"If", "Scan", "ZipMap"}
    assert {node.domain for node in graph.node} <= {"", "ai.onnx.ml"}
    assert not graph.value_info


def test_labels_keep_their_own_type() -> None:
    assert convert(specimen("boolean labels").model).signature.labels == ((False, True),)
    assert convert(specimen("string labels").model).signature.labels == (("setosa", "versicolor", "virginica"),)


@pytest.mark.parametrize("model", [KMeans(2, n_init=1), IsolationForest(n_estimators=5), StandardScaler()])
def test_an_estimator_that_is_not_a_predictor_is_refused_by_name(model: object) -> None:
    with pytest.raises(NotAPredictor, match=type(model).__name__):
        convert(model.fit(iris()[0]))


def test_an_unfitted_model_is_refused() -> None:
    with pytest.raises(NotAPredictor, match="`LogisticRegression` is not fitted"):
        convert(LogisticRegression())


def test_a_python_function_is_refused_by_its_name() -> None:
    def double(values: np.ndarray) -> np.ndarray:
        return values * 2

    model = make_pipeline(FunctionTransformer(double), LogisticRegression(max_iter=5000)).fit(*iris())
    with pytest.raises(NotConvertible, match="double"):
        convert(model)


def test_a_string_column_that_reaches_a_numeric_model_is_refused_by_name() -> None:
    frame, target = customers()
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(frame[["city"]], target)
    model.steps[0] = ("passthrough", "passthrough")
    with pytest.raises(NotConvertible):
        convert(model, sample=[["Rome", "Oslo", "Lima", "Bonn"]])


def test_columns_given_with_the_upload_name_a_model_without_names() -> None:
    signature = convert(specimen("iris logistic").model, ["a", "b", "c", "d"]).signature
    assert signature.has_names
    assert [column.name for column in signature.columns] == ["a", "b", "c", "d"]


def test_too_few_column_names_are_refused() -> None:
    with pytest.raises(NotConvertible, match="names 2 columns, but the model takes 4"):
        convert(specimen("iris logistic").model, ["a", "b"])


def test_a_large_forest_converts_in_seconds() -> None:
    chance = np.random.default_rng(0)
    model = RandomForestClassifier(100, random_state=0).fit(chance.normal(size=(1000, 30)), chance.integers(0, 2, 1000))
    assert convert(model).form == "float32"


def test_boosted_trees_without_branches_answer_their_baseline() -> None:
    model = HistGradientBoostingClassifier(max_iter=3).fit(np.zeros((60, 2)), np.arange(60) % 3)
    converted = convert(model)
    assert [form.reason for form in converted.tried] == [None]


def test_sums_of_leaves_of_both_signs_keep_their_relative_precision() -> None:
    chance = np.random.default_rng(0)
    features = chance.normal(size=(300, 3))
    model = RandomForestRegressor(200, random_state=0).fit(features, features[:, 0] + chance.normal(size=300))
    graph = onnx.load_model_from_string(convert(model).onnx).graph
    assert any(attribute.name == "nodes_values_as_tensor" for node in graph.node for attribute in node.attribute)
