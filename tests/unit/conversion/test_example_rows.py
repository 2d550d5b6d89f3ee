"""The example of a version is a row that its model could have seen."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, QuantileTransformer, StandardScaler

from serval.commands.expected_answers import expected_sample
from serval.conversion.freeze import FreezeRequest, freeze
from serval.models.samples import example_body, freeze_request
from support.in_process import InProcessSandbox
from support.sample_models import iris

pytestmark = pytest.mark.anyio
X, Y = iris()
CUSTOMERS = pd.DataFrame(
    {
        "age": np.arange(60.0) % 50 + 18,
        "income": np.arange(60.0) * 100 + 20_000,
        "plan": list("mbl") * 20,
        "country": ["DE", "FR"] * 30,
    }
)
CHURNED = np.arange(60) % 7 > 3


def encoded(encoder: Any) -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("n", numbers, ["age", "income"]), ("c", encoder, ["plan", "country"])])


def churn() -> Any:
    return make_pipeline(encoded(OneHotEncoder()), LogisticRegression()).fit(CUSTOMERS, CHURNED)


def churn_of_any_plan() -> Any:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(encoded(encoder), RandomForestClassifier(3)).fit(CUSTOMERS, CHURNED)


def scaled(scaler: Any) -> Callable[[], Any]:
    return lambda: make_pipeline(scaler, LogisticRegression(max_iter=500)).fit(X, Y)


def forest() -> Any:
    return RandomForestClassifier(5, random_state=0).fit(X, Y)


async def example_of(content: bytes, folder: Path, request: FreezeRequest | None = None) -> Any:
    path = folder / "model.pkl"
    path.write_bytes(content)

    async def stage(_: str) -> None:
        pass

    frozen = await freeze(InProcessSandbox(), path, request or FreezeRequest(), stage)
    return example_body(frozen.signature, frozen.numbers, frozen.strings)["input"]


@pytest.mark.parametrize(
    ("build", "is_pushed"),
    [
        (churn, False),
        (churn, True),
        (churn_of_any_plan, False),
        (scaled(StandardScaler()), True),
        (scaled(MinMaxScaler()), False),
        (scaled(QuantileTransformer(n_quantiles=5)), False),
        (forest, True),
    ],
    ids=["one-hot", "one-hot, pushed", "ordinal", "standard, pushed", "min-max", "quantiles", "forest, pushed"],
)
async def test_an_example_lies_among_the_rows_of_the_fit(
    build: Callable[[], Any], is_pushed: bool, tmp_path: Path
) -> None:
    content, request = pickle.dumps(build()), None
    if is_pushed:
        (tmp_path / "pushed.pkl").write_bytes(content)
        sample, _ = expected_sample(tmp_path / "pushed.pkl", None)
        assert sample is not None
        request = freeze_request(None, sample.text, 1 << 30)
    example = await example_of(content, tmp_path, request)
    if isinstance(example, dict):
        assert CUSTOMERS.age.min() <= example["age"] <= CUSTOMERS.age.max()
        assert CUSTOMERS.income.min() <= example["income"] <= CUSTOMERS.income.max()
        assert example["plan"] in set(CUSTOMERS.plan)
        assert example["country"] in set(CUSTOMERS.country)
    else:
        assert (X.min(axis=0) <= example).all()
        assert (example <= X.max(axis=0)).all()


async def test_a_row_of_the_sample_is_the_example(tmp_path: Path) -> None:
    sample = [CUSTOMERS.iloc[7].to_dict()]
    assert await example_of(pickle.dumps(churn()), tmp_path, FreezeRequest(sample=sample)) == sample[0]


async def test_a_row_that_the_model_refuses_is_no_example(tmp_path: Path) -> None:
    model = RadiusNeighborsClassifier(0.5).fit(X, Y)
    example = await example_of(pickle.dumps(model), tmp_path)
    assert model.predict([example]).shape == (1,)
