"""What each column is after the steps of a fitted pipeline: which input column it descends from, and how."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from serval.conversion.export.rules.functions import is_elementwise

Values = npt.NDArray[np.float64]

INJECTIVE = {
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "PowerTransformer",
}
"""Scalers that give each value another one; clipping ones do not."""
MONOTONE = INJECTIVE | {"QuantileTransformer", "Binarizer"}
"""Transformers of which each column depends on one column alone."""
MAX_VALUES = 1000


@dataclass(frozen=True)
class Descent:
    """A column between two steps.

    `column`: the input column that it was made of alone, if there is one. `changes`: the transformers that it passed,
    each with its position there; none if the column is as the input has it, but for missing values that were filled.
    `values`: all that the column can hold, where these are few.
    """

    column: int | None = None
    changes: tuple[tuple[Any, int], ...] = ()
    values: tuple[float, ...] | None = None

    @property
    def is_input(self) -> bool:
        return self.column is not None and not self.changes

    @property
    def is_injective(self) -> bool:
        return all(_is_injective(step) for step, _ in self.changes)

    def changed(self, step: Any, position: int) -> Descent:
        values = None if self.values is None else tuple(_applied(step, position, np.array(self.values)).tolist())
        return replace(self, changes=(*self.changes, (step, position)), values=values)

    def passed(self, values: Values) -> Values:
        """Values of the input column after all changes."""
        for step, position in self.changes:
            values = _applied(step, position, values)
        return values


Descents = list[Descent]
UNKNOWN = Descent()
BINARY = Descent(values=(0.0, 1.0))


def of_inputs(width: int) -> Descents:
    return [Descent(index) for index in range(width)]


def at(descents: Descents, position: int) -> Descent:
    return descents[position] if position < len(descents) else UNKNOWN


def after(step: Any, inputs: Descents, width: int | None = None) -> Descents:
    """What a fitted transformer makes of its input columns. `width`: the number of its output columns, if known."""
    name = type(step).__name__
    if step is None or isinstance(step, str):
        return [] if step == "drop" else inputs
    if name in RULES:
        return RULES[name](step, inputs, width)
    if hasattr(step, "get_support"):
        return [at(inputs, int(position)) for position in np.flatnonzero(step.get_support())]
    return [UNKNOWN] * (width if width is not None else own_width(step) or len(inputs))


def own_width(step: Any) -> int | None:
    """How many columns a fitted transformer returns, if it knows."""
    try:
        return len(step.get_feature_names_out())
    except (AttributeError, ValueError, TypeError):
        return getattr(step, "_n_features_out", None)


def in_pipeline(steps: Sequence[Any], inputs: Descents, width: int | None) -> list[tuple[Any, Descents]]:
    """Each step of a pipeline with its input columns; last, None with what comes out."""
    out: list[tuple[Any, Descents]] = []
    for position, step in enumerate(steps):
        out.append((step, inputs))
        following = steps[position + 1] if position + 1 < len(steps) else None
        known = width if following is None else getattr(following, "n_features_in_", None)
        if position + 1 < len(steps) or hasattr(step, "transform") or isinstance(step, str):
            inputs = after(step, inputs, known)
    return [*out, (None, inputs)]


def in_column_transformer(step: Any, inputs: Descents) -> list[tuple[Any, Descents, int]]:
    """Each part with its input columns and the number of its output columns, in the order of the output."""
    parts = []
    for name, inner, _ in step.transformers_:
        chosen = [at(inputs, int(column)) for column in step._transformer_to_input_indices[name]]
        where = step.output_indices_[name]
        if chosen and not (isinstance(inner, str) and inner == "drop"):
            parts.append((inner, chosen, where.stop - where.start))
    return parts


def parts_of_union(step: Any) -> list[Any]:
    return [inner for _, inner in step.transformer_list if not (isinstance(inner, str) and inner == "drop")]


def _changed(step: Any, inputs: Descents, _: int | None) -> Descents:
    return [column.changed(step, position) for position, column in enumerate(inputs)]


def _imputed(step: Any, inputs: Descents, _: int | None) -> Descents:
    is_kept = np.ones(len(inputs), dtype=np.bool_) if step.keep_empty_features else _is_kept(step, len(inputs))
    kept = [at(inputs, int(position)) for position in np.flatnonzero(is_kept)]
    return kept + ([BINARY] * len(step.indicator_.features_) if step.add_indicator else [])


def _is_kept(step: Any, width: int) -> npt.NDArray[np.bool_]:
    """Which columns an imputer returns: it drops those that held nothing but missing values."""
    if hasattr(step, "_valid_mask"):
        return np.asarray(step._valid_mask, dtype=bool)
    statistics = getattr(getattr(step, "initial_imputer_", step), "statistics_", np.zeros(width))
    return np.array([not (isinstance(value, float) and np.isnan(value)) for value in statistics], dtype=np.bool_)


def _indicated(step: Any, _: Descents, __: int | None) -> Descents:
    return [BINARY] * len(step.features_)


def _multiplied(step: Any, inputs: Descents, _: int | None) -> Descents:
    return [
        at(inputs, int(np.argmax(powers)))
        if powers.sum() == 1
        else Descent(values=(1.0,))
        if not powers.sum()
        else UNKNOWN
        for powers in np.asarray(step.powers_)
    ]


def _one_hot(step: Any, _: Descents, __: int | None) -> Descents:
    return [BINARY] * int(sum(step._n_features_outs))


def _ordinal(step: Any, _: Descents, __: int | None) -> Descents:
    codes = []
    for column, categories in enumerate(step.categories_):
        code = {float(value) for value in range(len(categories))}
        if step.handle_unknown == "use_encoded_value":
            code.add(float(step.unknown_value))
        if column in getattr(step, "_missing_indices", {}):
            code.add(float(step.encoded_missing_value))
        codes.append(Descent(values=tuple(sorted(code))) if len(code) <= MAX_VALUES else UNKNOWN)
    return codes


def _binned(step: Any, inputs: Descents, width: int | None) -> Descents:
    if step.encode != "ordinal":
        return _one_hot(step._encoder, inputs, width)
    return [
        replace(column.changed(step, position), values=tuple(map(float, range(max(1, len(edges) - 1)))))
        for position, (column, edges) in enumerate(zip(inputs, step.bin_edges_, strict=False))
    ]


def _applied_function(step: Any, inputs: Descents, width: int | None) -> Descents:
    if step.func is None:
        return inputs
    if is_elementwise(step.func):
        return _changed(step, inputs, width)
    return [UNKNOWN] * (len(inputs) if width is None else width)


def _piped(step: Any, inputs: Descents, width: int | None) -> Descents:
    return in_pipeline([inner for _, inner in step.steps], inputs, width)[-1][1]


def _selected(step: Any, inputs: Descents, _: int | None) -> Descents:
    parts = in_column_transformer(step, inputs)
    return [column for inner, chosen, count in parts for column in _fitting(after(inner, chosen, count), count)]


def _united(step: Any, inputs: Descents, _: int | None) -> Descents:
    return [column for inner in parts_of_union(step) for column in after(inner, inputs)]


def _fitting(descents: Descents, count: int) -> Descents:
    return descents if len(descents) == count else [UNKNOWN] * count


RULES: dict[str, Callable[[Any, Descents, int | None], Descents]] = {
    **dict.fromkeys(MONOTONE, _changed),
    "SimpleImputer": _imputed,
    "KNNImputer": _imputed,
    "IterativeImputer": _imputed,
    "MissingIndicator": _indicated,
    "PolynomialFeatures": _multiplied,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "KBinsDiscretizer": _binned,
    "FunctionTransformer": _applied_function,
    "Pipeline": _piped,
    "ColumnTransformer": _selected,
    "FeatureUnion": _united,
}


def _is_injective(step: Any) -> bool:
    return type(step).__name__ in INJECTIVE and not getattr(step, "clip", False)


def _applied(step: Any, position: int, values: Values) -> Values:
    """One column after a transformer that keeps columns apart; the other columns hold ones."""
    table = np.ones((len(values), step.n_features_in_))
    table[:, position] = values
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        out = step.transform(table)
    return np.asarray(out, dtype=np.float64)[:, position]


def origins_of(descent: Descent, wanted: Values) -> list[float | None]:
    """For each value of a column, an input that becomes exactly it; None where there is none to be found.

    The changes are taken to rise; of several inputs the one with the shortest decimal notation is returned.
    """
    first, last = _bounds(descent, wanted, side="left"), _bounds(descent, wanted, side="right")
    candidates = [_shortest(low, high) for low, high in zip(first.tolist(), last.tolist(), strict=True)]
    found = descent.passed(np.array(candidates))
    return [
        candidate if reached == value else None
        for candidate, reached, value in zip(candidates, found.tolist(), wanted.tolist(), strict=True)
    ]


def _bounds(descent: Descent, wanted: Values, side: str) -> Values:
    """For each value the lowest (`left`) or highest (`right`) float64 that becomes it, by bisection."""
    low = np.full(len(wanted), _ordered(np.array(-1e300)))
    high = np.full(len(wanted), _ordered(np.array(1e300)))
    while (high > low + 1).any():
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        reached = descent.passed(_float(middle))
        is_below = (reached < wanted) if side == "left" else (reached <= wanted)
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return _float(high if side == "left" else low)


def _ordered(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Integers in the order of the floats, next to each other where those are."""
    bits = np.asarray(values, dtype=np.float64).view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def _float(ordered: npt.NDArray[np.int64]) -> Values:
    bits = np.where(ordered < 0, np.int64(-(2**63)) - ordered, ordered)
    return bits.view(np.float64)


def _shortest(low: float, high: float) -> float:
    """The number with the fewest digits in a narrow range."""
    if not low < high:
        return low
    for digits in range(17):
        rounded = float(f"{(low + high) / 2:.{digits}e}")
        if low <= rounded <= high:
            return rounded
    return low
