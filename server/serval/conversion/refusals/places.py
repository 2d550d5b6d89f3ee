"""Where a part lies in a fitted model, in words, and refusals that name this place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from serval.conversion.plain_text import plain
from serval.conversion.refusals.kind import Refused
from serval.conversion.refusals.of_steps import NOT_AS_FITTED
from serval.errors import ServalError

MAX_DEPTH = 12
MAX_PARTS = 10_000


@contextmanager
def placed(whole: Any) -> Iterator[None]:
    """Make a refusal of a part inside the block one of the whole model, which names the part's place.

    Raises what the kind of the refusal raises, mostly NotConvertible.
    """
    try:
        yield
    except Refused as refused:
        part = whole if refused.part is None else refused.part
        values = dict(refused.values)
        if isinstance(column := values.get("column"), int):
            values["column"] = _column_of(part, column)
        raise refused.kind(estimator=described(whole, part), **values) from refused


@contextmanager
def guarded(part: Any) -> Iterator[None]:
    """Make an unforeseen error inside the block a refusal of this part: its attributes are not those of a fit."""
    try:
        yield
    except Refused as refused:
        refused.part = part if refused.part is None else refused.part
        raise
    except (ServalError, MemoryError, PermissionError):
        raise
    except Exception as error:
        raise NOT_AS_FITTED.of(part) from error


def described(whole: Any, part: Any) -> str:
    """The part's class in backticks and, for a part of a larger model, its place in brackets."""
    name = f"`{plain(type(part).__name__, 100)}`"
    place = [] if part is whole else next(_places(whole, part, 0, set()), [])
    return f"{name} ({', '.join(place)})" if place else name


def _places(within: Any, part: Any, depth: int, seen: set[int]) -> Iterator[list[str]]:
    if within is part:
        yield []
        return
    if depth > MAX_DEPTH or id(within) in seen or len(seen) > MAX_PARTS:
        return
    seen.add(id(within))
    for name, inner in parts_of(within):
        for place in _places(inner, part, depth + 1, seen):
            yield [name, *place] if name else place


def parts_of(whole: Any) -> list[tuple[str, Any]]:
    """(where it is, part) of what an estimator or a collection holds; nothing of other objects."""
    if isinstance(whole, dict):
        return [("", value) for value in whole.values()]
    if isinstance(whole, list | tuple):
        return [("", value) for value in whole]
    if isinstance(whole, np.ndarray):
        return [("", value) for value in whole.ravel().tolist()] if whole.dtype == object else []
    if not type(whole).__module__.startswith("sklearn.") or not hasattr(whole, "__dict__"):
        return []
    own, held = type(whole).__name__, vars(whole)
    if own == "Pipeline":
        return [
            (f"pipeline step {index}, `{name}`", step) for index, (name, step) in enumerate(_named(held, "steps"), 1)
        ]
    if own in {"ColumnTransformer", "FeatureUnion"}:
        named = _named(held, "transformers_" if "transformers_" in held else "transformer_list")
        return [(f"transformer `{name}`", step) for name, step in named] + _attributes(own, held)
    if own.startswith(("Voting", "Stacking")) and isinstance(held.get("estimators_"), list):
        names = [name for name, step in _named(held, "estimators") if not isinstance(step, str)]
        return [
            (f"estimator `{name}`", step) for name, step in zip(names, held["estimators_"], strict=False)
        ] + _attributes(own, held)
    return _attributes(own, held)


def _attributes(own: str, held: dict[str, Any]) -> list[tuple[str, Any]]:
    """Fitted attributes first: what was given to the constructor is a copy that answers nothing."""
    ordered = sorted(held.items(), key=lambda item: not item[0].endswith("_"))
    return [(f"`{name}` of `{own}`", value) for name, value in ordered]


def _named(held: dict[str, Any], attribute: str) -> list[tuple[str, Any]]:
    """(name, estimator) of a list of tuples in this attribute; empty if it is none."""
    items = held.get(attribute)
    if not isinstance(items, list):
        return []
    return [(plain(str(item[0]), 60), item[1]) for item in items if isinstance(item, tuple) and len(item) > 1]


def _column_of(part: Any, index: int) -> str:
    """A column that an estimator takes: by name in backticks, or by number from 1 where it was fitted without names."""
    names = getattr(part, "feature_names_in_", None)
    return str(index + 1) if names is None or index >= len(names) else f"`{plain(str(names[index]), 100)}`"
