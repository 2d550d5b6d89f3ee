"""What names in a pickle of an older scikit-learn stand for today."""

from __future__ import annotations

from collections import UserList
from typing import Any

from sklearn.metrics import _dist_metrics


class Forgotten:
    """In place of an object that scikit-learn has no class for any more; `name` is the class's. It keeps its state."""

    name = ""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


class RemainderColumns(UserList[Any]):
    """The columns of a ColumnTransformer's remainder, a list that warned of its change (1.5 and 1.6)."""


FORGETFUL = (
    "sklearn.ensemble._gb_losses",
    "sklearn.ensemble._hist_gradient_boosting.loss",
    "sklearn.linear_model._glm.link",
    "sklearn._loss.glm_distribution",
)
"""Modules whose classes are all gone: losses and links of before 1.4."""
SGD_LOSSES = frozenset(
    {
        *("Classification", "EpsilonInsensitive", "Hinge", "Huber", "Log", "LossFunction", "ModifiedHuber"),
        *("Regression", "SquaredEpsilonInsensitive", "SquaredHinge", "SquaredLoss"),
    }
)
DISTANCES = frozenset({"sklearn.metrics._dist_metrics", "sklearn.neighbors._dist_metrics"})
MOVED_MODULES = {"_loss": "sklearn._loss._loss", "sklearn.neighbors._dist_metrics": "sklearn.metrics._dist_metrics"}


def forgotten(*_: Any) -> None:
    """In place of a function that no prediction calls."""


def present_class(module: str, name: str) -> Any:
    """The class or function to use for a name that scikit-learn had; None if the name still stands for itself."""
    if module.startswith(FORGETFUL) or (module == "sklearn.linear_model._sgd_fast" and name in SGD_LOSSES):
        return type(name, (Forgotten,), {"name": name})
    if (module, name) == ("sklearn.metrics._scorer", "_passthrough_scorer"):
        return forgotten
    if (module, name) == ("sklearn.compose._column_transformer", "_RemainderColsList"):
        return RemainderColumns
    if module in {"sklearn._loss._loss", "_loss"} and name.startswith("__pyx_unpickle_"):
        return loss_of_state
    if module in DISTANCES and name.endswith("Distance"):
        return getattr(_dist_metrics, f"{name}64", None)
    return None


def loss_of_state(kind: type, _: int, state: tuple[Any, ...] | None = None) -> Any:
    """A compiled loss as Cython 0.29 and 3.0 wrote it: its class, a checksum, its numbers."""
    return kind(*(state or ()))
