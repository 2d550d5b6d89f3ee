"""Histogram boosting with categories answers like the original, and the data plane takes its trees."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from support.served import Served, records

ROWS = 300


def strings(count: int, *, is_ordered: bool = False) -> pd.Series:
    names = [f"level {index}" for index in range(count)]
    values = np.random.default_rng(1).choice(names, ROWS)
    return pd.Series(values).astype(pd.CategoricalDtype(names[::-1], ordered=is_ordered))


def missing(column: pd.Series) -> pd.Series:
    column = column.copy()
    column.iloc[::7] = None
    return column


def category(values: Any) -> pd.Series:
    return pd.Series(np.random.default_rng(2).choice(values, ROWS)).astype("category")


COLUMNS = {
    "two strings": strings(2),
    "three strings": strings(3),
    "thirty strings": strings(30),
    "two hundred and fifty strings": strings(250),
    "ordered": strings(5, is_ordered=True),
    "ordered and missing": missing(strings(2, is_ordered=True)),
    "missing": missing(strings(12)),
    "whole numbers": category([10, 20, 30, 40]),
    "whole numbers and missing": missing(category([10, 20, 30, 40])),
    "negative and broken numbers": category([-1.5, 0.25, 3.0, 7.75]),
    "booleans": category([True, False]),
    "only missing": missing(strings(1)),
}


def target(column: pd.Series, classes: int = 0) -> np.ndarray:
    y = np.sin(column.cat.codes.to_numpy() * 2.4) + np.random.default_rng(3).normal(0, 0.3, ROWS)
    edges = np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1])
    return np.asarray(np.digitize(y, edges) if classes else y)


def same(model: Any, table: pd.DataFrame, *, in_data_plane: bool = False) -> None:
    """The served answers equal the original's."""
    served = Served(model, in_data_plane=in_data_plane)
    np.testing.assert_allclose(served.predict(records(table)), model.predict(table), rtol=1e-9)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_category_of_a_frame_is_split_like_the_original(name: str) -> None:
    table = pd.DataFrame({"n": np.random.default_rng(4).normal(size=ROWS), "c": COLUMNS[name]})
    same(HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=3).fit(table, target(table.c)), table)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_data_plane_takes_trees_that_split_by_categories(classes: int) -> None:
    table = pd.DataFrame(COLUMNS)
    y = (target(table["thirty strings"], classes) + target(table["missing"], classes)) % classes
    model = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=3).fit(table, y)
    same(model, table, in_data_plane=True)


def test_a_category_that_is_not_known_is_missing() -> None:
    table = pd.DataFrame({"c": COLUMNS["missing"], "d": COLUMNS["thirty strings"]})
    model = HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=3).fit(table, target(table.c))
    rows = [{"c": "never seen", "d": "level 3"}, {"c": None, "d": "level 3"}, {"c": "level 1", "d": None}]
    found = Served(model).predict(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(found, model.predict(pd.DataFrame(rows, dtype=object)), rtol=1e-12)
    assert found[0] == found[1]


@pytest.mark.parametrize("which", [[0], [0, 2], [True, False, True], [2]], ids=str)
def test_categories_by_index_or_mask_of_an_array(which: list[Any]) -> None:
    random = np.random.default_rng(5)
    x = np.c_[random.integers(0, 9, ROWS), random.normal(size=ROWS), random.integers(3, 6, ROWS)].astype(float)
    x[::11, 0] = np.nan
    y = np.sin(np.nan_to_num(x[:, 0]) * 2) + (x[:, 2] == 4) + x[:, 1] / 5
    model = HistGradientBoostingRegressor(categorical_features=which, max_iter=8, min_samples_leaf=3).fit(x, y)
    rows = [[None if np.isnan(cell) else cell for cell in row] for row in x.tolist()]
    np.testing.assert_allclose(Served(model).predict(rows), model.predict(x), rtol=1e-9)


def test_categories_by_name_with_a_frame_of_plain_columns() -> None:
    table = pd.DataFrame({"n": np.arange(ROWS) % 17 / 3, "c": np.random.default_rng(6).choice(list("abcd"), ROWS)})
    y = np.sin(table.c.map(ord) * 2.0) + table.n
    same(HistGradientBoostingRegressor(categorical_features=["c"], max_iter=8).fit(table, y), table)


def test_categories_behind_an_encoder_that_makes_their_codes() -> None:
    table = pd.DataFrame({"c": np.random.default_rng(7).choice(list("abcdef"), ROWS), "n": np.arange(ROWS) / 7})
    codes = ColumnTransformer(
        [("c", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), ["c"])],
        remainder="passthrough",
    )
    boosting = HistGradientBoostingClassifier(categorical_features=[0], max_iter=8, min_samples_leaf=3)
    same(make_pipeline(codes, boosting).fit(table, (table.c.isin(["a", "e"]) ^ (table.n > 20)).astype(int)), table)
