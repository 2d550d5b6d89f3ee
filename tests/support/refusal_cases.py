"""A refused upload, and what is uploaded once the way out of its refusal was followed."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import sklearn.base
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from support.sample_models import iris

X, Y = iris()
FRAME = pd.DataFrame({"age": np.arange(60.0) % 7, "plan": list("abcabc") * 10})
TARGET = np.arange(60) % 5 > 1
NAMES: dict[str, Any] = {
    "joblib": joblib, "make_pipeline": make_pipeline, "TransformedTargetRegressor": TransformedTargetRegressor,
    "ColumnTransformer": ColumnTransformer, "FrozenEstimator": FrozenEstimator, "clone": sklearn.base.clone,
}  # fmt: skip


class Case(NamedTuple):
    """`build`: the model, or the bytes of a file. `follow(built, message)`: what is uploaded then; None where nothing
    helps, which is what the sentence says. `place`: a part of the sentence that names where. `request`, `then`: fields
    of both conversions. `ask`: what raises the refusal, where it is not the conversion."""

    build: Callable[[], Any]
    follow: Callable[[Any, str], Any] | None
    place: str = ""
    request: dict[str, Any] | None = None
    then: dict[str, Any] | None = None
    ask: Callable[[Any], Any] | None = None


def again(model: Any) -> Callable[[Any, str], Any]:
    """Follow by fitting this model, or a function of nothing that does it."""
    return lambda *_: model() if callable(model) else model


def logistic(x: Any = X, y: Any = Y) -> Any:
    return LogisticRegression(max_iter=500).fit(x, y)


def code_in(message: str, beginning: str) -> str:
    """The code in backticks that begins so."""
    found = re.search(rf"`({re.escape(beginning)}[^`]*)`", message)
    assert found is not None, message
    return found[1]


def called(message: str, estimator: Any) -> Any:
    """Call the `set_params(...)` of a message on an estimator."""
    return eval(f"estimator.{code_in(message, 'set_params(')}", {"estimator": estimator})


def evaluated(message: str, beginning: str, **names: Any) -> Any:
    return eval(code_in(message, beginning), NAMES | names)


class Version:
    """While this context lasts, scikit-learn writes this version into what is pickled."""

    def __init__(self, version: str) -> None:
        self.version = version

    def __enter__(self) -> None:
        self.own, sklearn.base.__version__ = sklearn.base.__version__, self.version

    def __exit__(self, *_: object) -> None:
        sklearn.base.__version__ = self.own
