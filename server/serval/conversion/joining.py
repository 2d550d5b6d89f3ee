"""Joins a model with what was saved beside it into one predictor, without fitting anything again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer

from serval.conversion.old_versions.unpickling import estimators_in
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_files
from serval.conversion.refusals.kind import Kind

MAX_DEPTH, MAX_PARTS, MAX_STEPS = 4, 200, 5
ENCODERS_OF_LABELS = (LabelBinarizer, LabelEncoder, MultiLabelBinarizer)


class Consecutive(list[Any]):
    """Objects that were saved one after the other in one file. `is_compressed`: the file is."""

    is_compressed = False


@dataclass(frozen=True)
class Part:
    """`path`: the expression that leads to it from `saved`."""

    path: str
    content: Any


@dataclass
class Parts:
    """What is in a file, by what it is for. `others`: columns, numbers, texts."""

    models: list[Part] = field(default_factory=list)
    transformers: list[Part] = field(default_factory=list)
    label_encoders: list[Part] = field(default_factory=list)
    others: list[Part] = field(default_factory=list)


@dataclass(frozen=True)
class Joined:
    """One predictor of several parts; `lines` of Python make it from `saved`, the last is an expression."""

    model: Any
    lines: list[str]


class CannotJoin(Exception):
    """`kind` says why, and what to do; `values`: of its placeholders but `{content}`."""

    def __init__(self, kind: Kind, **values: object) -> None:
        super().__init__(kind.problem)
        self.kind = kind
        self.values: dict[str, object] = {
            name: plain(value, 1200) if isinstance(value, str) else value for name, value in values.items()
        }


def parts_of(content: Any) -> Parts:
    found = Parts()
    for part in itertools.islice(_leaves(Part("saved", content), 0), MAX_PARTS):
        _kind_of(part.content, found).append(part)
    return found


def _leaves(part: Part, depth: int) -> Iterator[Part]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(part.content, Mapping):
        inner = [(key, value) for key, value in part.content.items() if isinstance(key, str | int | float | bool)]
    elif isinstance(part.content, list | tuple):
        inner = list(enumerate(part.content))
    if not inner or depth >= MAX_DEPTH or (depth and not _holds_estimators(part.content)):
        yield part
        return
    for key, value in inner:
        yield from _leaves(Part(f"{part.path}[{key!r}]", value), depth + 1)


def _holds_estimators(content: Any) -> bool:
    return any(hasattr(part.content, "fit") for part in itertools.islice(_leaves(Part("", content), 0), MAX_PARTS))


def _kind_of(content: Any, found: Parts) -> list[Part]:
    if isinstance(content, type) or not (hasattr(content, "fit") or hasattr(content, "predict")):
        return found.others
    if isinstance(content, ENCODERS_OF_LABELS):
        return found.label_encoders
    if is_classifier(content) or is_regressor(content) or not hasattr(content, "transform"):
        return found.models
    return found.transformers


def join(parts: Parts) -> Joined:
    """The one model among the parts, behind its transformers and with its labels, which it may change.

    Raises CannotJoin.
    """
    if len(parts.models) != 1:
        raise CannotJoin(of_files.SEVERAL_MODELS, count=len(parts.models), path=parts.models[0].path)
    model = parts.models[0]
    apart = [part for part in parts.transformers if not _is_inside(part.content, model.content)]
    _check_repeated(model, apart)
    target = _scaler_of_target(model, apart)
    joined = Joined(model.content, [model.path])
    if features := [part for part in apart if part is not target]:
        order = _order(model, features)
        joined = Joined(
            make_pipeline(*(part.content for part in order), model.content),
            [f"make_pipeline({', '.join(part.path for part in [*order, model])})"],
        )
    if target is not None:
        joined = _with_target(joined, target)
    if len(parts.label_encoders) > 1:
        raise CannotJoin(of_files.SEVERAL_LABEL_ENCODERS)
    return _with_labels(joined, model, parts.label_encoders[0]) if parts.label_encoders else joined


def _is_inside(transformer: Any, model: Any) -> bool:
    """Whether the model has this transformer already, or its equal."""
    same = [part for part in estimators_in(model) if type(part) is type(transformer)]
    return any(part is transformer or joblib.hash(part) == joblib.hash(transformer) for part in same)


def _check_repeated(model: Part, transformers: list[Part]) -> None:
    """Raises CannotJoin for a transformer of a kind that the model has too: it may have been meant for another."""
    own = {type(part) for part in estimators_in(model.content)}
    for part in transformers:
        if type(part.content) in own:
            name = type(part.content).__name__
            raise CannotJoin(of_files.STEP_TWICE, path=model.path, type=name, beside=part.path)


def _scaler_of_target(model: Part, transformers: list[Part]) -> Part | None:
    """The transformer of one column that cannot stand before the model, which answers one value."""
    if not is_regressor(model.content) or _width_in(model.content) in {None, 1}:
        return None
    single = [part for part in transformers if _width_in(part.content) == 1 and _width_out(part.content) == 1]
    has_inverse = len(single) == 1 and hasattr(single[0].content, "inverse_transform")
    return single[0] if has_inverse else None


def _order(model: Part, transformers: list[Part]) -> list[Part]:
    """The one order in which the transformers fit each other and the model. Raises CannotJoin."""
    widths = "; ".join(f"`{part.path}` takes {_widths(part.content)}" for part in transformers)
    takes = f"{widths}; `{model.path}` takes {_width_in(model.content)} columns"
    if len(transformers) > MAX_STEPS:
        raise CannotJoin(of_files.MANY_TRANSFORMERS, count=len(transformers))
    orders = [list(order) for order in itertools.permutations(transformers) if _is_chain([*order, model])]
    named = [order for order in orders if not any(hasattr(part.content, "feature_names_in_") for part in order[1:])]
    if len(named) == 1 and hasattr(named[0][0].content, "feature_names_in_"):
        return named[0]
    if len(orders) == 1:
        if _width_in(model.content) == 1 and is_regressor(model.content):
            raise CannotJoin(of_files.FEATURE_OR_TARGET, beside=transformers[0].path, path=model.path)
        return orders[0]
    if orders:
        chain = ", ".join(part.path for part in [*orders[0], model])
        raise CannotJoin(of_files.UNKNOWN_ORDER, takes=takes, chain=chain)
    raise _side_by_side(model, transformers, takes)


def _side_by_side(model: Part, transformers: list[Part], takes: str) -> CannotJoin:
    widths = [_width_out(part.content) for part in transformers]
    if len(transformers) > 1 and None not in widths and sum(map(int, widths)) == _width_in(model.content):  # type: ignore[arg-type]
        pieces = ", ".join(
            f'("{index}", FrozenEstimator({part.path}), {_columns_of(part.content)})'
            for index, part in enumerate(transformers)
        )
        return CannotJoin(of_files.SIDE_BY_SIDE, takes=takes, pieces=pieces, path=model.path)
    return CannotJoin(of_files.NO_CHAIN, takes=takes)


def _columns_of(transformer: Any) -> str:
    names = getattr(transformer, "feature_names_in_", None)
    return repr([str(name) for name in names]) if names is not None else "[...]"


def _is_chain(parts: list[Part]) -> bool:
    pairs = itertools.pairwise(part.content for part in parts)
    return all(_width_out(left) is not None and _width_out(left) == _width_in(right) for left, right in pairs)


def _width_in(estimator: Any) -> int | None:
    width = getattr(estimator, "n_features_in_", None)
    return int(width) if width is not None else None


def _widths(transformer: Any) -> str:
    return " and gives ".join(
        f"{width} columns" if width is not None else "columns that it does not count"
        for width in (_width_in(transformer), _width_out(transformer))
    )


def _width_out(transformer: Any) -> int | None:
    try:
        return len(transformer.get_feature_names_out())
    except Exception:  # noqa: BLE001  any error says the same: it is not known
        return None


def _with_target(joined: Joined, target: Part) -> Joined:
    whole = TransformedTargetRegressor(joined.model, transformer=target.content)
    whole.regressor_, whole.transformer_, whole._training_dim = joined.model, target.content, 1
    return Joined(
        whole,
        [
            f"joined = TransformedTargetRegressor({joined.lines[-1]}, transformer={target.path})",
            "joined.regressor_, joined.transformer_, joined._training_dim = joined.regressor, joined.transformer, 1",
            "joined",
        ],
    )


def _with_labels(joined: Joined, model: Part, encoder: Part) -> Joined:
    """The model with the labels that its numbers stand for. Raises CannotJoin if its answers do not follow."""
    path, last = _last_step(model)
    labels = getattr(encoder.content, "classes_", None)
    if labels is None or not isinstance(encoder.content, LabelEncoder) or not is_classifier(last):
        raise _labels_apart(model, encoder, labels)
    rows = _plain_rows(last)
    try:
        numbers = last.predict(rows).astype(int)
        last.classes_ = labels[last.classes_.astype(int)]
        follows = bool((last.predict(rows) == encoder.content.inverse_transform(numbers)).all())
    except Exception as error:
        raise _labels_apart(model, encoder, labels) from error
    if not follows:
        raise _labels_apart(model, encoder, labels)
    line = f"{path}.classes_ = {encoder.path}.classes_[{path}.classes_.astype(int)]"
    return Joined(joined.model, [line, joined.lines[-1]])


def _last_step(model: Part) -> tuple[str, Any]:
    """The estimator that has the labels of a pipeline or a search."""
    path, last = model.path, model.content
    for _ in range(MAX_DEPTH):
        if hasattr(last, "steps"):
            path, last = f"{path}[-1]", last.steps[-1][1]
        elif hasattr(last, "best_estimator_"):
            path, last = f"{path}.best_estimator_", last.best_estimator_
    return path, last


def _labels_apart(model: Part, encoder: Part, labels: Any) -> CannotJoin:
    known = [] if labels is None else np.asarray(labels)[:5].tolist()
    shown = "".join(f", {index} for {label!r}" for index, label in enumerate(known))
    name = type(model.content).__name__
    return CannotJoin(of_files.LABELS_APART, type=name, beside=encoder.path, path=model.path, shown=shown)


def _plain_rows(model: Any) -> Any:
    scales = np.repeat([0.1, 1.0, 10.0, 100.0], 25)[:, np.newaxis]
    rows = np.random.default_rng(0).normal(size=(100, model.n_features_in_)) * scales
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return rows
    import pandas as pd

    return pd.DataFrame(rows, columns=names)
