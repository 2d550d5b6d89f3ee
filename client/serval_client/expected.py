"""The answers of a fitted model where it was fitted, for the server to compare with its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from serval_client.files import loaded
from serval_client.moments import as_fitted
from serval_client.rows import Row, is_frame, plain, rows_of

MAX_ROWS = 300
"""As many as the server compares and keeps."""
MAX_BYTES = 4 << 20
"""As much as the server takes."""
PREDICTION, PROBABILITIES = "prediction", "probabilities"
UNANSWERED = (NotImplementedError, ValueError, TypeError, AttributeError, IndexError)
"""What the `predict_proba` of a model raises that predicts, but has no probabilities."""


class Sample(NamedTuple):
    """The rows of a sample with their answers, as an upload has them."""

    text: str
    """JSON or CSV: each row with its `prediction`, and `probabilities` if there are any."""
    expected_with: str | None = None
    """The version of scikit-learn that computed them."""

    def fields(self) -> dict[str, str]:
        computed = {} if self.expected_with is None else {"expected_with": self.expected_with}
        return {"sample": self.text, **computed}


def sample_fields(model: Any, sample: Any, columns: Sequence[str] | None, is_answered: bool) -> dict[str, str]:
    """The form fields `sample` and `expected_with` of an upload: rows of the sample, evenly spaced, with the answers of
    the model, and the version of scikit-learn that computed them; or the rows alone.

    `sample`: what the model's `predict` takes, the path of a CSV or JSON file with it, or a `Sample`, which is sent as
    it is.

    Raises what the model raises, ValueError for rows that cannot be sent.
    """
    if isinstance(sample, Sample):
        return sample.fields()
    if not is_answered and isinstance(sample, (str, os.PathLike)):
        return {"sample": Path(sample).read_text(encoding="utf-8")}
    if not is_answered and are_dicts(sample):  # which may hold answers of their own
        return {"sample": encoded([nested(row) for row in evenly_spaced(sample, MAX_ROWS)])}
    table = evenly_spaced(table_of(sample), MAX_ROWS)
    if not is_answered:
        return {"sample": encoded(rows_of(table))}
    is_text = isinstance(sample, (str, os.PathLike)) or are_dicts(sample)
    return answered(loaded(model), table, columns, is_text=is_text).fields()


def answered(model: Any, table: Any, columns: Sequence[str] | None, *, is_text: bool) -> Sample:
    """The rows of a table with the answers of the model. `is_text`: dates and timestamps in the table may be text, as
    CSV and JSON have them."""
    import sklearn  # type: ignore[import-untyped,unused-ignore]

    names = names_of(model)
    asked, other = as_fitted(model, table) if is_text and is_frame(table) else (table, table)
    if names is None and is_frame(table):
        table, asked, other = table.to_numpy(), asked.to_numpy(), other.to_numpy()
    rows = [named(row, names, columns) for row in rows_of(table)]
    answers = answers_to_either(model, asked, other)
    if len(answers) != len(rows):
        raise ValueError(f"the model predicts {len(answers)} rows of a sample of {len(rows)}")
    return Sample(encoded([{**row, **answer} for row, answer in zip(rows, answers)]), sklearn.__version__)


def table_of(sample: Any) -> Any:
    """A sample with a frame in place of a file or a list of dicts."""
    if isinstance(sample, (str, os.PathLike)) and Path(sample).suffix.lower() == ".json":
        sample = msgspec.json.decode(Path(sample).read_bytes())
    is_csv = isinstance(sample, (str, os.PathLike))
    if not is_csv and not are_dicts(sample):
        return sample
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    return pd.read_csv(sample) if is_csv else pd.DataFrame(sample)


def are_dicts(rows: Any) -> bool:
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], Mapping)


def names_of(model: Any) -> list[str] | None:
    """The columns that a model was fitted on, if they have names; of a pipeline those of its first step that has
    any work to do."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        return [str(name) for name in names]
    steps = [step for _, step in getattr(model, "steps", []) if step not in (None, "passthrough")]
    return names_of(steps[0]) if steps else None


def evenly_spaced(table: Any, count: int) -> Any:
    """At most `count` rows of a table, from its first on: a table is often sorted."""
    total = table.shape[0] if hasattr(table, "shape") else len(table)
    if total <= count:
        return table
    chosen = [index * total // count for index in range(count)]
    if is_frame(table):
        return table.iloc[chosen]
    return table[chosen] if hasattr(table, "shape") else [table[index] for index in chosen]


def named(row: Row, names: list[str] | None, columns: Sequence[str] | None) -> dict[str, Any]:
    """A row by the names of the model's columns: those it was fitted on, those given, or `x0`, `x1`, ...

    Raises ValueError for a name that an answer has.
    """
    if isinstance(row, dict):
        known = row.keys() if names is None else row.keys() & set(names)
        named_row: dict[str, Any] = {name: value for name, value in row.items() if name in known}
    else:
        labels = names or columns or [f"x{index}" for index in range(len(row))]
        named_row = dict(zip(labels, row))
    clash = {PREDICTION, PROBABILITIES} & named_row.keys()
    if clash:
        raise ValueError(
            f"the model has a column `{clash.pop()}`, which is what an answer is called in a sample: push it with"
            " `expected_answers=False` and no sample"
        )
    return named_row


def answers_to_either(model: Any, table: Any, other: Any) -> list[dict[str, Any]]:
    """The answers to a table, or to another reading of it if the model refuses the first. Raises what it raises."""
    if other is table:
        return answers_of(model, table)
    try:
        return answers_of(model, table)
    except UNANSWERED as error:
        try:
            return answers_of(model, other)
        except UNANSWERED:
            raise error from None


def answers_of(model: Any, table: Any) -> list[dict[str, Any]]:
    """`prediction` of each row, and `probabilities` where the model has them."""
    predicted = model.predict(table)
    predicted = predicted.toarray() if hasattr(predicted, "toarray") else predicted
    answers: list[dict[str, Any]] = [{PREDICTION: nested(value)} for value in predicted]
    tables = probabilities_of(model, table, is_multi_target=getattr(predicted, "ndim", 1) == 2)
    if tables is not None:
        for answer, probabilities in zip(answers, tables):
            answer[PROBABILITIES] = probabilities
    return answers


def probabilities_of(model: Any, table: Any, *, is_multi_target: bool) -> list[Any] | None:
    """For each row its probabilities in the order of the classes, of several targets a list for each; None where the
    model has none."""
    try:
        answered = model.predict_proba(table)
    except UNANSWERED:
        return None
    if isinstance(answered, list):
        return [list(row) for row in zip(*(nested(target) for target in answered))]
    if is_multi_target and type(innermost(model)).__name__ == "StackingClassifier":
        answered = 1.0 - answered  # it has the probability of the first of two labels, all others of the second
    probabilities: list[Any] = nested(answered)
    if is_multi_target:
        return [[[1.0 - second, second] for second in row] for row in probabilities]
    return probabilities


def innermost(model: Any) -> Any:
    """The estimator that answers for a pipeline or a search."""
    while True:
        if hasattr(model, "steps"):
            model = model.steps[-1][1]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        else:
            return model


def nested(value: Any) -> Any:
    """A dict, a NumPy array or a scalar as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): nested(item) for name, item in value.items()}
    if getattr(value, "ndim", 0) or isinstance(value, (list, tuple)):
        return [nested(item) for item in value]
    return plain(value)


def encoded(rows: list[Any]) -> str:
    """Rows as JSON, as many of the first as the server takes."""
    while True:
        text = msgspec.json.encode(rows)
        if len(text) <= MAX_BYTES or len(rows) == 1:
            return text.decode()
        rows = rows[: len(rows) * MAX_BYTES // len(text)] or rows[:1]
