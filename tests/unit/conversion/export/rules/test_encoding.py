"""Encoders of categories, of strings and of numbers, known, missing and never seen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

ENCODERS = [
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="ignore", sparse_output=False, drop="first"),
    OneHotEncoder(handle_unknown="ignore", drop="if_binary"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=12),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="first"),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-2, encoded_missing_value=-1),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=12),
    TargetEncoder(random_state=0),
]


def table(seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    city = pd.Series(
        random.choice(["Oslo", "Rome", "Lima", "Bern", "São Paulo"], 90, p=[0.4, 0.3, 0.15, 0.1, 0.05]), dtype=object
    )
    city[random.random(90) < 0.1] = np.nan
    return pd.DataFrame({"city": city, "member": pd.Series(random.choice(["no", "yes"], 90), dtype=object)})


def unusual() -> pd.DataFrame:
    return pd.DataFrame(
        {"city": ["Atlantis", np.nan, "", "oslo", "Bern"], "member": ["no", "maybe", "yes", np.nan, "no"]}, dtype=object
    )


@pytest.mark.parametrize("target", ["two", "three", "numbers"])
@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_strings_are_encoded_like_the_original(encoder, target, transforms_alike):
    rows = table()
    y = {"two": np.arange(90) % 2, "three": np.arange(90) % 3, "numbers": np.linspace(0, 1, 90)}[target]
    model = encoder.fit(rows, y)
    transforms_alike(model, rows)
    transforms_alike(model, unusual())


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_numbers_are_encoded_like_the_original(encoder, transforms_alike):
    values = np.random.default_rng(1).integers(0, 5, (90, 2)).astype(np.float64)
    values[::11, 0] = np.nan
    model = encoder.fit(values, np.arange(90) % 2)
    transforms_alike(model, np.concatenate([values, [[7.0, 0.5], [np.nan, np.nan], [-1.0, 1e300]]]))


def test_missing_strings_are_filled_and_indicated(transforms_alike):
    rows = table()
    imputer = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    )
    transforms_alike(imputer.fit(rows), rows)


def test_columns_are_selected_by_name_and_the_rest_passes_through(transforms_alike):
    rows = table().assign(age=np.linspace(20, 60, 90), height=1.7)
    rows.loc[::7, "age"] = np.nan
    model = ColumnTransformer(
        [
            ("text", OneHotEncoder(handle_unknown="ignore"), ["member"]),
            ("age", SimpleImputer(), ["age"]),
            ("gone", "drop", ["city"]),
        ],
        remainder="passthrough",
    )
    transforms_alike(model.fit(rows), rows)
