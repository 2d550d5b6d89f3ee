"""The answers of the original, fitted estimator."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serval.conversion.export import timestamp_columns
from serval.conversion.export.probability_tables import UNANSWERED, innermost, probability_tables, tables_if_any
from serval.conversion.export.sparse_targets import read_sparse_targets
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import MISSING_STRING, Column, Signature

Numbers = npt.NDArray[np.float64]
MAX_REFUSALS = 400
"""After this many single rows that the original refuses, the other rows are skipped."""


def inputs(estimator: Any, signature: Signature, rows: Rows) -> Any:
    """Rows in the shape in which the estimator was fitted: a DataFrame, or an array."""
    columns = _cells(signature.columns, rows)
    names = fitted_with(estimator, "feature_names_in_")
    if names is None and any(map(timestamp_columns.is_in_frame, signature.columns)):
        names = range(len(columns))
    if names is not None:
        import pandas as pd

        # pandas makes NaN of None in a column that it takes for text.
        dtypes = [object if column.missing == "none" else None for column in signature.columns]
        series = [pd.Series(cells, dtype=dtype) for cells, dtype in zip(columns, dtypes, strict=True)]
        return pd.DataFrame(dict(zip(names, series, strict=True)))
    if rows.strings.shape[1] or any(
        column.kind == "timestamp" or (column.dtype == "object" and column.kind != "unused")
        for column in signature.columns
    ):
        out = np.empty((len(rows), len(columns)), dtype=object)
        for index, cells in enumerate(columns):
            out[:, index] = cells
        return out
    table = np.zeros((len(rows), len(columns)))
    table[:, [column.kind != "unused" for column in signature.columns]] = rows.numbers
    return table


def fitted_with(estimator: Any, attribute: str) -> Any:
    """`feature_names_in_` or `n_features_in_`; of a pipeline that begins with steps that pass everything, that of the
    first other step. None if it has none."""
    value = getattr(estimator, attribute, None)
    if value is None and hasattr(estimator, "steps"):
        others = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
        return fitted_with(others[0], attribute) if others else None
    return value


def _cells(columns: tuple[Column, ...], rows: Rows) -> list[npt.NDArray[Any]]:
    numbers, strings = iter(rows.numbers.T), iter(rows.strings.T)
    return [
        np.full(len(rows), None, dtype=object)
        if column.kind == "unused"
        else _text(column, next(strings))
        if column.kind == "string"
        else timestamp_columns.cells(column, next(numbers))
        if column.kind == "timestamp"
        else _number(column, next(numbers))
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
    if column.kind == "boolean" or column.missing == "none" or column.dtype == "object":
        marker = None if column.missing == "none" else np.nan
        out = np.empty(len(cells), dtype=object)
        out[:] = [
            marker if np.isnan(cell) else bool(cell) if column.kind == "boolean" else float(cell) for cell in cells
        ]
        return out
    return cells.copy()


def answers_of(estimator: Any, signature: Signature, rows: Rows) -> Answers:
    """The original's answers; rows that it refuses are found by halving and left unanswered."""
    answered: list[Any] = []
    read_sparse_targets(estimator)
    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(1):
        warnings.simplefilter("ignore")
        _answer_range(estimator, signature, rows, range(len(rows)), answered, MAX_REFUSALS)
    return _joined(signature, answered, len(rows))


def _answer_range(
    estimator: Any, signature: Signature, rows: Rows, indices: range, answered: list[Any], refusals_left: int
) -> int:
    """Add the answers for a range of rows to `answered`; return how many more refusals are allowed."""
    if not indices or refusals_left <= 0:
        return refusals_left
    try:
        answered.append((indices, *answer(estimator, signature, rows.take(slice(indices.start, indices.stop)))))
    except (MemoryError, PermissionError):
        raise
    except Exception:  # noqa: BLE001  the original refuses by raising any error; refusals are counted
        if len(indices) == 1:
            return refusals_left - 1
        middle = len(indices) // 2
        refusals_left = _answer_range(estimator, signature, rows, indices[:middle], answered, refusals_left)
        return _answer_range(estimator, signature, rows, indices[middle:], answered, refusals_left)
    return refusals_left


def _joined(signature: Signature, answered: list[Any], count: int) -> Answers:
    labels = np.full((count, signature.label_width), -1, dtype=np.int64)
    scores = np.full((count, signature.score_width), np.nan)
    margins = np.full((count, signature.label_width), np.inf)
    is_answered = np.zeros(count, dtype=bool)
    for indices, part_labels, part_scores, part_margins in answered:
        part = slice(indices.start, indices.stop)
        is_answered[part] = True
        margins[part] = part_margins
        if signature.label_width:
            labels[part] = part_labels
        if signature.score_width:
            scores[part] = part_scores
    return Answers(labels, scores, margins, is_answered)


def answer(estimator: Any, signature: Signature, rows: Rows) -> tuple[Any, Any, Any]:
    """(labels, scores, margins) of rows that the original accepts; raises any error that it raises."""
    table = inputs(estimator, signature, rows)
    predicted = dense(estimator.predict(table))
    if signature.kind == "regressor":
        return None, predicted.reshape(len(rows), signature.targets).astype(np.float64), np.empty((len(rows), 0))
    columns = predicted.reshape(len(rows), signature.targets)
    labels = np.stack(
        [label_indices(signature.labels[target], columns[:, target]) for target in range(signature.targets)], axis=1
    )
    tables = None
    if signature.has_probabilities:
        tables = probability_tables(estimator, table, is_multi_target=signature.is_multi_target)
    scores = None if tables is None else np.concatenate(tables, axis=1)
    return labels, scores, margins(estimator, signature, table, tables, len(rows))


def dense(predicted: Any) -> npt.NDArray[Any]:
    """What an estimator predicts, as an array; one fitted on a sparse target predicts a sparse matrix."""
    return np.asarray(predicted.toarray() if hasattr(predicted, "toarray") else predicted)


def label_indices(labels: tuple[Any, ...], predicted: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The index of each predicted label among the labels; -1 if it is none of them."""
    index_of = {label: index for index, label in enumerate(labels)}
    return np.array(
        [index_of.get(value.item() if hasattr(value, "item") else value, -1) for value in predicted], dtype=np.int64
    )


def margins(estimator: Any, signature: Signature, given: Any, tables: list[Numbers] | None, count: int) -> Numbers:
    """`[rows, targets]`: by how much the best class leads in the scores that `predict` uses: the decision function if
    there is one, else the probabilities. Infinite where neither says.

    `tables`: for each target its probabilities, None where the estimator has none.
    """
    if hasattr(estimator, "decision_function"):
        scores = _scores(estimator, given)
        if scores is None or scores.shape[0] != count:
            return np.full((count, signature.targets), np.inf)
        if not signature.is_multi_target:
            return lead(scores)[:, None]
        if scores.shape != (count, signature.targets):
            return np.full((count, signature.targets), np.inf)
        # The sign of a score decides between the two labels of a target; that of the only label there is can be zero.
        members = getattr(innermost(estimator), "estimators_", [])
        is_constant = [type(member).__name__ == "_ConstantPredictor" for member in members] or [False]
        return np.where(is_constant, np.inf, np.abs(scores))
    tables = tables or tables_if_any(estimator, given, is_multi_target=signature.is_multi_target)
    return np.stack(list(map(lead, tables)), axis=1) if tables else np.full((count, signature.targets), np.inf)


def _scores(estimator: Any, given: Any) -> Numbers | None:
    """None where an estimator has the method and cannot answer: a chain has no scores of three labels."""
    try:
        return np.asarray(estimator.decision_function(given), dtype=np.float64)
    except UNANSWERED:
        return None


def lead(scores: Numbers) -> Numbers:
    """The distance of the best score to the next; of a single score, to zero."""
    if scores.ndim == 1:
        return np.abs(scores)
    if scores.shape[1] < 2:
        return np.abs(scores[:, 0]) if scores.shape[1] else np.full(len(scores), np.inf)
    ordered = np.sort(scores, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])
