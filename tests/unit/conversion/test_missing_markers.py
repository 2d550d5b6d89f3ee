"""`null` stands for the missing value that the model was fitted with, and is refused where the original refuses it."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from support.served import Served, records

ROWS = 120
NUMBER = np.random.default_rng(0).normal(size=ROWS)
Y = np.sin(np.arange(ROWS)) + np.arange(ROWS) % 5


def column(values: list[Any], dtype: Any = object) -> pd.Series:
    return pd.Series((values * ROWS)[:ROWS], dtype=dtype)


def table(values: list[Any], dtype: Any = object) -> pd.DataFrame:
    return pd.DataFrame({"c": column(values, dtype), "n": NUMBER})


def behind(*steps: Any) -> Any:
    return make_pipeline(ColumnTransformer([("c", make_pipeline(*steps), ["c"])], remainder="passthrough"), Ridge())


def answers_alike(model: Any, rows: pd.DataFrame) -> Served:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        served = Served(model.fit(rows, Y))
        np.testing.assert_allclose(served.predict(records(rows)), model.predict(rows), rtol=1e-9)
    return served


INTEGERS = [1, 2, None, 4, 5, 2, None, 8]
NULLABLE = {
    "Int64": INTEGERS,
    "Float64": [0.5, None, 2.25, 3.0, 2.25],
    "boolean": [True, None, False, True],
}


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("dtype", NULLABLE)
def test_pandas_na_is_filled_and_indicated(dtype: str, strategy: str) -> None:
    imputer = SimpleImputer(missing_values=pd.NA, strategy=strategy, add_indicator=True)
    assert answers_alike(behind(imputer), table(NULLABLE[dtype], dtype)).signature.columns[0].missing == "nan"


def test_pandas_na_of_a_whole_frame_is_filled() -> None:
    rows = pd.DataFrame({"a": column(INTEGERS, "Int64"), "b": NUMBER})
    imputer = SimpleImputer(missing_values=pd.NA, strategy="median")
    model = make_pipeline(imputer, StandardScaler(), LogisticRegression()).fit(rows, NUMBER > 0)
    np.testing.assert_array_equal(Served(model).predict(records(rows)), model.predict(rows))


@pytest.mark.parametrize("dtype", ["string", object])
def test_pandas_na_among_strings_is_filled(dtype: Any) -> None:
    imputer = SimpleImputer(missing_values=pd.NA, strategy="most_frequent")
    answers_alike(behind(imputer, OneHotEncoder()), table(["a", "b", pd.NA, "b"], dtype))


def test_pandas_na_is_indicated_as_nan() -> None:
    union = FeatureUnion([("i", MissingIndicator()), ("f", SimpleImputer(missing_values=pd.NA))])
    answers_alike(behind(union), table(INTEGERS, "Int64"))


ENCODERS = [
    OneHotEncoder(handle_unknown="ignore"),
    OrdinalEncoder(encoded_missing_value=-7),
    TargetEncoder(random_state=0),
]
FILLS = [None, SimpleImputer(strategy="constant", fill_value="?"), SimpleImputer(strategy="most_frequent")]


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
@pytest.mark.parametrize("fill", FILLS, ids=["none", "constant", "most frequent"])
@pytest.mark.parametrize("null", [None, np.nan], ids=["None", "NaN"])
def test_null_among_strings_is_what_the_frame_held(null: Any, fill: Any, encoder: Any) -> None:
    served = answers_alike(behind(*([fill] if fill else []), encoder), table(["a", "b", null, "b", "c"]))
    assert served.signature.columns[0].missing == ("nan" if null is not None else "none")


@pytest.mark.parametrize("values", [[1, 2, None, 5], [0.5, None, 2.5], [True, None, False]], ids=str)
@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_null_among_numbers_that_were_objects_is_none(encoder: Any, values: list[Any]) -> None:
    answers_alike(behind(encoder), table(values))


@pytest.mark.parametrize("strategy", ["constant", "most_frequent"])
def test_none_as_the_marker_is_filled(strategy: str) -> None:
    imputer = SimpleImputer(missing_values=None, strategy=strategy, fill_value="?", add_indicator=True)
    columns = ColumnTransformer([("o", OneHotEncoder(), [0])], remainder="passthrough")
    answers_alike(behind(imputer, columns), table(["a", "b", None, "b"]))


def test_null_is_nan_where_an_encoder_knows_both() -> None:
    rows = table(["a", None, "b", np.nan])
    model = behind(OneHotEncoder()).fit(rows, Y)
    expected = model.predict(rows[rows.c.map(lambda cell: isinstance(cell, float))])
    asked = [{"c": None, "n": n} for n in rows.n[rows.c.map(lambda cell: isinstance(cell, float))]]
    np.testing.assert_allclose(Served(model).predict(asked), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("imputer", "values", "encoder"),
    [
        (SimpleImputer(missing_values="", strategy="constant", fill_value="?"), ["", "a", "b"], OneHotEncoder()),
        (SimpleImputer(missing_values="", strategy="most_frequent"), ["", "a", "b", "a"], OneHotEncoder()),
        (
            SimpleImputer(missing_values="", strategy="constant", fill_value="?"),
            ["", "a", "b"],
            OneHotEncoder(handle_unknown="ignore"),
        ),
        (
            SimpleImputer(missing_values="a", strategy="most_frequent"),
            ["a", "c", "b", "c"],
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        ),
    ],
    ids=["constant", "most frequent", "unknown ignored", "unknown coded"],
)
def test_null_is_refused_where_a_text_is_the_marker(imputer: Any, values: list[Any], encoder: Any) -> None:
    rows = table(values)
    served = answers_alike(behind(imputer, encoder), rows)
    assert served.signature.columns[0].missing is None


@pytest.mark.parametrize("marker", [-1, 0, 99.5])
def test_null_is_refused_where_a_number_is_the_marker(marker: float) -> None:
    rows = pd.DataFrame({"c": column([marker, 2.0, 3.5, 7.0], float), "n": NUMBER})
    model = make_pipeline(SimpleImputer(missing_values=marker, add_indicator=True), LinearRegression())
    served = answers_alike(model, rows)
    assert served.signature.columns[0].missing is None
