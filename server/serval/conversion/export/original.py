"""Asks the original, fitted estimator."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import MISSING_STRING, Column, Signature

Numbers = npt.NDArray[np.float64]
MAX_REFUSALS = 400
"""So many single rows may be refused by the original before the rest of a table is given up."""


def inputs(estimator: Any, signature: Signature, rows: Rows) -> Any:
    """Rows in the shape in which the estimator was fitted: a DataFrame, or an array."""
    columns = _cells(signature.columns, rows)
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        return pd.DataFrame({name: pd.Series(cells) for name, cells in zip(names, columns, strict=True)})
    if rows.strings.shape[1]:
        out = np.empty((len(rows), len(columns)), dtype=object)
        for index, cells in enumerate(columns):
            out[:, index] = cells
        return out
    return rows.numbers.copy()


def _cells(columns: tuple[Column, ...], rows: Rows) -> list[npt.NDArray[Any]]:
    numbers, strings = iter(rows.numbers.T), iter(rows.strings.T)
    return [
        _text(column, next(strings)) if column.kind == "string" else _number(column, next(numbers))
        for column in columns
    ]


def _text(column: Column, cells: npt.NDArray[np.object_]) -> npt.NDArray[Any]:
    marker = None if column.missing == "none" else np.nan
    out = np.empty(len(cells), dtype=object)
    out[:] = [marker if cell == MISSING_STRING else cell for cell in cells]
    return out


def _number(column: Column, cells: Numbers) -> npt.NDArray[Any]:
    if column.kind == "boolean" and not np.isnan(cells).any():
        return cells.astype(bool)
    if column.kind == "boolean" or column.missing == "none":
        marker = None if column.missing == "none" else np.nan
        out = np.empty(len(cells), dtype=object)
        out[:] = [
            marker if np.isnan(cell) else bool(cell) if column.kind == "boolean" else float(cell) for cell in cells
        ]
        return out
    return cells.copy()


def ask(estimator: Any, signature: Signature, rows: Rows) -> Answers:
    """What the original answers; rows that it refuses are left out, found by halving."""
    parts: list[Any] = []
    left = [MAX_REFUSALS]
    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(1):
        warnings.simplefilter("ignore")
        _ask_range(estimator, signature, rows, 0, len(rows), parts, left)
    return _joined(signature, parts, len(rows))


def _ask_range(
    estimator: Any, signature: Signature, rows: Rows, start: int, stop: int, parts: list[Any], left: list[int]
) -> None:
    if start >= stop or left[0] <= 0:
        return
    try:
        parts.append((range(start, stop), *answer(estimator, signature, rows.take(slice(start, stop)))))
    except (MemoryError, PermissionError):
        raise
    except Exception:  # noqa: BLE001  the original's own refusals are whatever its code raises; they are counted
        if stop - start == 1:
            left[0] -= 1
            return
        middle = (start + stop) // 2
        _ask_range(estimator, signature, rows, start, middle, parts, left)
        _ask_range(estimator, signature, rows, middle, stop, parts, left)


def _joined(signature: Signature, parts: list[Any], count: int) -> Answers:
    is_classifier = signature.kind == "classifier"
    score_width = (
        len(signature.labels[0]) if signature.has_probabilities else (0 if is_classifier else signature.targets)
    )
    labels = np.full((count, signature.targets if is_classifier else 0), -1, dtype=np.int64)
    scores = np.full((count, score_width), np.nan)
    margins = np.full(count, np.inf)
    is_answered = np.zeros(count, dtype=bool)
    for places, found, chances, lead in parts:
        where = slice(places.start, places.stop)
        is_answered[where] = True
        margins[where] = lead
        if is_classifier:
            labels[where] = found
        if score_width:
            scores[where] = chances
    return Answers(labels, scores, margins, is_answered)


def answer(estimator: Any, signature: Signature, rows: Rows) -> tuple[Any, Any, Any]:
    """(labels, scores, margins) of rows that the original accepts; raises whatever it raises."""
    table = inputs(estimator, signature, rows)
    predicted = np.asarray(estimator.predict(table))
    if signature.kind == "regressor":
        return None, predicted.reshape(len(rows), signature.targets).astype(np.float64), np.full(len(rows), np.inf)
    columns = predicted.reshape(len(rows), signature.targets)
    labels = np.stack(
        [indices(signature.labels[target], columns[:, target]) for target in range(signature.targets)], axis=1
    )
    chances = np.asarray(estimator.predict_proba(table), dtype=np.float64) if signature.has_probabilities else None
    return labels, chances, margins(estimator, table, chances, len(rows))


def indices(labels: tuple[Any, ...], predicted: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The place of each predicted label among the labels; -1 where it is none of them."""
    places = {label: place for place, label in enumerate(labels)}
    return np.array(
        [places.get(value.item() if hasattr(value, "item") else value, -1) for value in predicted], dtype=np.int64
    )


def margins(estimator: Any, table: Any, chances: Any, count: int) -> Numbers:
    """By how much the best class leads, by what `predict` looks at: the decision function where there is one, else the
    probabilities."""
    decision = None
    if hasattr(estimator, "decision_function"):
        decision = np.asarray(estimator.decision_function(table), dtype=np.float64)
    elif chances is not None:
        decision = chances
    elif hasattr(estimator, "predict_proba"):
        return _smallest_margin(estimator.predict_proba(table), count)
    if decision is None or decision.shape[0] != count:
        return np.full(count, np.inf)
    return lead(decision)


def _smallest_margin(chances: Any, count: int) -> Numbers:
    if not isinstance(chances, list):
        return np.asarray(np.abs(np.asarray(chances, dtype=np.float64) - 0.5).min(axis=1))
    return (
        np.asarray(np.min([lead(np.asarray(part, dtype=np.float64)) for part in chances], axis=0))
        if chances
        else np.full(count, np.inf)
    )


def lead(scores: Numbers) -> Numbers:
    """The distance of the best score to the next; of a single score, to zero."""
    if scores.ndim == 1:
        return np.abs(scores)
    if scores.shape[1] < 2:
        return np.abs(scores[:, 0]) if scores.shape[1] else np.full(len(scores), np.inf)
    ordered = np.sort(scores, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])
