"""Transformers after transformers: each column is known through all of them, without a sample."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)

from serval.conversion.export.original import answers_of
from serval.conversion.from_sklearn import Converted, convert
from serval.conversion.samples import fitting, rows_of
from serval.conversion.verify import onnxruntime_engine
from serval.conversion.verify.verify import compare
from serval.errors import NotConvertible

ROWS = 160
RANDOM = np.random.default_rng(1)
FRAME = pd.DataFrame(
    {
        "color": RANDOM.choice(["r", "g", "b"], ROWS),
        "size": RANDOM.choice(["S", "M", "L"], ROWS),
        "price": RANDOM.normal(10, 2, ROWS),
        "weight": np.where(np.arange(ROWS) % 7 == 0, np.nan, RANDOM.normal(3, 1, ROWS)),
        "rooms": RANDOM.integers(1, 5, ROWS).astype(float),
    }
)
TARGET = ((FRAME.price > 10) ^ (FRAME.color == "r")).astype(int).to_numpy()
ENCODED = OneHotEncoder(sparse_output=False)
FILLED = ColumnTransformer(
    [("i", SimpleImputer(add_indicator=True), ["weight"]), ("p", "passthrough", ["color", "size", "price", "rooms"])]
)
BY_COLOR = ColumnTransformer([("c", ENCODED, ["color"])], remainder="passthrough")
"""red, green, blue, size, price, weight, rooms"""

CHAINS: dict[str, Callable[[], list[BaseEstimator]]] = {
    "by index after an encoder": lambda: [
        BY_COLOR,
        ColumnTransformer([("s", OrdinalEncoder(), [3]), ("w", SimpleImputer(), [5])], remainder="passthrough"),
    ],
    "by negative index": lambda: [
        BY_COLOR,
        ColumnTransformer([("s", ENCODED, [-4]), ("w", SimpleImputer(), [-2])], remainder="passthrough"),
    ],
    "by slice": lambda: [
        BY_COLOR,
        ColumnTransformer([("s", ENCODED, slice(3, 4)), ("n", SimpleImputer(), slice(4, None))], remainder="drop"),
    ],
    "by mask": lambda: [
        FILLED,
        ColumnTransformer(
            [("o", ENCODED, [False, False, True, True, False, False])], remainder=MinMaxScaler(clip=True)
        ),
    ],
    "by a callable": lambda: [
        FILLED,
        ColumnTransformer([("o", ENCODED, lambda _: [2, 3])], remainder="passthrough"),
    ],
    "after an indicator": lambda: [FILLED, ColumnTransformer([("o", ENCODED, [2, 3])], remainder="passthrough")],
    "after polynomials": lambda: [
        ColumnTransformer([("p", PolynomialFeatures(2), ["price", "rooms"])], remainder="passthrough"),
        ColumnTransformer([("o", ENCODED, [6, 7]), ("w", SimpleImputer(), [8])], remainder="passthrough"),
    ],
    "three deep": lambda: [
        BY_COLOR,
        ColumnTransformer([("w", SimpleImputer(add_indicator=True), [5])], remainder="passthrough"),
        ColumnTransformer([("s", OrdinalEncoder(), [5])], remainder=StandardScaler()),
        ColumnTransformer([("first", "drop", [0]), ("rest", FunctionTransformer(np.arctan), slice(1, None))]),
    ],
    "after a union": lambda: [
        FeatureUnion(
            [
                ("words", ColumnTransformer([("p", "passthrough", ["size"]), ("c", ENCODED, ["color"])])),
                ("gaps", ColumnTransformer([("g", MissingIndicator(), ["weight"])])),
                ("numbers", ColumnTransformer([("k", SimpleImputer(strategy="median"), ["price", "weight", "rooms"])])),
            ]
        ),
        ColumnTransformer([("s", OrdinalEncoder(), [0])], remainder="passthrough"),
    ],
    "union of all and some": lambda: [
        FILLED,
        FeatureUnion(
            [
                ("all", ColumnTransformer([("o", ENCODED, [2, 3])], remainder="passthrough")),
                ("square", ColumnTransformer([("p", PolynomialFeatures(2, include_bias=False), [0, 4, 5])])),
            ]
        ),
    ],
    "remainder is an encoder": lambda: [
        FILLED,
        ColumnTransformer(
            [("n", StandardScaler(), [0, 1, 4, 5])],
            remainder=OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        ),
    ],
    "bins then an encoder": lambda: [
        FILLED,
        ColumnTransformer(
            [("b", KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), [0, 4])], remainder="passthrough"
        ),
        ColumnTransformer([("bins", ENCODED, [0, 1]), ("words", ENCODED, [3, 4])], remainder="passthrough"),
    ],
    "codes then another encoder": lambda: [
        ColumnTransformer([("o", OrdinalEncoder(), ["color", "size"]), ("n", "passthrough", ["price"])]),
        ColumnTransformer([("o", ENCODED, [0, 1])], remainder="passthrough"),
    ],
    "an encoder of targets": lambda: [
        FILLED,
        ColumnTransformer([("t", TargetEncoder(), [2, 3])], remainder="passthrough"),
    ],
}


def agrees(model: Any, table: pd.DataFrame) -> Converted:
    converted = convert(model)
    cells = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    rows = rows_of(converted.signature, fitting(cells, converted.signature.columns, is_text=False))
    original = answers_of(model, converted.signature, rows)
    answers = onnxruntime_engine.run(converted.onnx, converted.signature, rows)
    parity = compare(converted.signature, original, answers)
    assert (parity.reason, parity.refused) == (None, 0)
    return converted


# Each chain once, and each kind of output with every other chain; the slow ones are the rest and what takes seconds.
LONG = {"after polynomials", "union of all and some", "remainder is an encoder", "bins then an encoder"}
USUAL = [(chain, ("default", "pandas")[number % 2]) for number, chain in enumerate(sorted(CHAINS.keys() - LONG))]
USUAL += [("bins then an encoder", "default")]
ALL = [(chain, output) for chain in CHAINS for output in ("default", "pandas")]


@pytest.mark.parametrize(
    ("chain", "output"),
    [pytest.param(*case, marks=() if case in USUAL else pytest.mark.slow, id=", ".join(case)) for case in ALL],
)
def test_steps_by_position_know_their_columns(chain: str, output: str) -> None:
    steps = make_pipeline(*CHAINS[chain](), RandomForestClassifier(5, random_state=0)).set_output(transform=output)
    agrees(steps.fit(FRAME, TARGET), FRAME)


def test_steps_by_name_after_pandas_output() -> None:
    one = ColumnTransformer([("c", ENCODED, ["color"])], remainder="passthrough", verbose_feature_names_out=False)
    two = ColumnTransformer([("s", OrdinalEncoder(), ["size"])], remainder=SimpleImputer(add_indicator=True))
    model = make_pipeline(one, two, LogisticRegression(max_iter=2000)).set_output(transform="pandas")
    converted = agrees(model.fit(FRAME, TARGET), FRAME)
    assert [column.kind for column in converted.signature.columns] == ["string", "string", "number", "number", "number"]
    assert converted.signature.columns[1].categories == ("L", "M", "S")


def test_steps_by_a_selector_of_types_after_pandas_output() -> None:
    one = ColumnTransformer([("c", ENCODED, ["color"])], remainder="passthrough", verbose_feature_names_out=False)
    two = ColumnTransformer(
        [
            ("words", OneHotEncoder(sparse_output=False), make_column_selector(dtype_exclude="number")),
            ("numbers", SimpleImputer(), make_column_selector(dtype_include="number")),
        ]
    )
    model = make_pipeline(one, two, LogisticRegression(max_iter=2000)).set_output(transform="pandas")
    agrees(model.fit(FRAME, TARGET), FRAME)


def test_categories_behind_a_scaler_are_told_as_the_input_has_them() -> None:
    model = make_pipeline(StandardScaler(), MinMaxScaler(), ENCODED, LogisticRegression()).fit(FRAME[["rooms"]], TARGET)
    assert agrees(model, FRAME[["rooms"]]).signature.columns[0].categories == (1.0, 2.0, 3.0, 4.0)


def test_an_encoder_of_computed_values_is_refused_with_a_way_out() -> None:
    table = FRAME[["price", "rooms"]]
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(2), FunctionTransformer(np.round), ENCODED, LogisticRegression()
    ).fit(table, TARGET)
    with pytest.raises(
        NotConvertible,
        match=r"`OneHotEncoder` \(pipeline step 4, `onehotencoder`\) refuses unknown values, .*set_params",
    ):
        convert(model)
    agrees(model.set_params(onehotencoder__handle_unknown="ignore"), table)
