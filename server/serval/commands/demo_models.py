"""The models of `serval demo`, trained on real data."""

from dataclasses import dataclass
from typing import Any

from palmerpenguins import load_penguins
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HELD_OUT_SHARE = 0.3


@dataclass(frozen=True)
class Trained:
    """A fitted model, and held-out rows."""

    name: str
    story: str
    model: Any
    rows: list[Any]
    """As JSON: lists, or objects by column name."""
    answers: list[Any]
    """What the fitted model predicts for them."""


def iris() -> Trained:
    data = load_iris()
    labels = data.target_names[data.target]
    train, held_out, truth, _ = train_test_split(data.data, labels, test_size=HELD_OUT_SHARE, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(train, truth)
    return Trained(
        "iris",
        "a scaler and a logistic regression on plain arrays",
        model,
        held_out.tolist(),
        model.predict(held_out).tolist(),
    )


def breast_cancer() -> Trained:
    data = load_breast_cancer(as_frame=True)
    train, held_out, truth, _ = train_test_split(data.data, data.target, test_size=HELD_OUT_SHARE, random_state=0)
    model = RandomForestClassifier(n_estimators=100, random_state=0).fit(train, truth)
    rows = held_out.to_dict("records")
    return Trained(
        "breast-cancer", "a random forest on a table of 30 columns", model, rows, model.predict(held_out).tolist()
    )


def penguins() -> Trained:
    table = load_penguins()
    columns, text = table.drop(columns="species"), ["island", "sex"]
    numbers = [column for column in columns if column not in text]
    train, held_out, truth, _ = train_test_split(columns, table.species, test_size=HELD_OUT_SHARE, random_state=0)
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (
                "text",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                text,
            ),
        ]
    )
    model = make_pipeline(prepare, GradientBoostingClassifier(random_state=0)).fit(train, truth)
    story = "strings and missing values through a ColumnTransformer into boosted trees"
    return Trained("penguins", story, model, without_nan(held_out.to_dict("records")), model.predict(held_out).tolist())


def without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Missing values as JSON writes them."""
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]  # noqa: PLR0124 NaN alone differs from itself
