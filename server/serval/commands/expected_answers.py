"""The answers of a model in the environment that pushes it, as a sample for the server to compare with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serval.errors import CannotStart, ServalError

if TYPE_CHECKING:
    from serval.conversion.signature import Signature

MAX_ROWS = 300


class ExpectedSample(NamedTuple):
    """The form fields of an upload: rows with their answers, and the scikit-learn that computed these (None: the rows
    came with them, or there are none)."""

    sample: str | None
    expected_with: str | None
    problem: str | None = None
    """Why there are no answers."""


def expected_sample(file: Path, given: Path | None) -> ExpectedSample:
    """JSON rows with a `prediction` and, where the model has them, `probabilities` each: the rows of `given`, or rows
    made from the model's own signature.

    No answers, and the problem, if this environment cannot load the model or the model answers none of them.
    Loading runs the code in the file, which is the caller's own.
    """
    import msgspec
    import sklearn

    from serval.conversion.contents import predictor
    from serval.conversion.loading import load

    try:
        estimator = predictor(load(file.read_bytes()).content)
        table = read_rows(given) if given else None
        rows = generated(estimator) if table is None else with_predictions(estimator, table)
    except ServalError as error:
        return ExpectedSample(given.read_text(encoding="utf-8") if given else None, None, error.message)
    if not rows:
        return ExpectedSample(None, None)
    is_computed = table is None or "prediction" not in table
    return ExpectedSample(msgspec.json.encode(rows).decode(), sklearn.__version__ if is_computed else None)


def read_rows(path: Path) -> Any:
    """A table from CSV with a header, or from JSON rows. Raises CannotStart."""
    import pandas as pd

    try:
        if path.suffix.lower() == ".json":
            return pd.read_json(path, orient="records", convert_dates=False)
        return pd.read_csv(path)
    except ValueError as error:
        raise CannotStart(f"`{path}` cannot be read as rows: {error}") from error


def with_predictions(estimator: Any, table: Any) -> list[dict[str, Any]]:
    """The rows of a table, with the model's answers unless the table already has a `prediction` column."""
    if "prediction" not in table:
        from serval.conversion.from_sklearn import as_fitted

        given = as_fitted(estimator, table)
        given = given if hasattr(estimator, "feature_names_in_") else given.to_numpy()
        predicted = estimator.predict(given)
        predicted = predicted.toarray() if hasattr(predicted, "toarray") else np.asarray(predicted)
        answers = {"prediction": predicted.tolist()}
        if (probabilities := _probabilities(estimator, given, is_multi_target=predicted.ndim == 2)) is not None:
            answers["probabilities"] = probabilities
        table = table.assign(**answers)
    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _probabilities(estimator: Any, given: Any, *, is_multi_target: bool) -> list[Any] | None:
    """For each row its probabilities, of several targets a list for each; None where the model has none."""
    from serval.conversion.export.probability_tables import tables_if_any

    tables = tables_if_any(estimator, given, is_multi_target=is_multi_target)
    if tables is None:
        return None
    if is_multi_target:
        return [list(row) for row in zip(*(table.tolist() for table in tables), strict=True)]
    return tables[0].tolist() if tables[0].ndim == 2 else None


def generated(estimator: Any) -> list[dict[str, Any]]:
    """Rows chosen as the server chooses them, with the answers of this environment, without rows that the model
    refuses."""
    from serval.conversion.from_sklearn import answered_rows
    from serval.conversion.reporting import row_by_name

    signature, chosen, answers = answered_rows(estimator, MAX_ROWS)
    return [
        row_by_name(signature, chosen, index) | expected_answer(signature, answers, index)
        for index in range(len(chosen))
        if answers.is_answered[index] and np.isfinite(answers.scores[index]).all()
    ]


def expected_answer(signature: "Signature", answers: Any, index: int) -> dict[str, Any]:
    """`prediction` of a row, and `probabilities` where the model has them."""
    answer = {"prediction": prediction(signature, answers, index)}
    if not signature.has_probabilities:
        return answer
    return answer | {"probabilities": signature.by_target(signature.tables(answers.scores[index].tolist()))}


def prediction(signature: "Signature", answers: Any, index: int) -> Any:
    """The label or value, or a list of them for several targets."""
    if signature.kind == "classifier":
        return signature.by_target(signature.predicted(answers.labels[index].tolist()))
    return signature.by_target(answers.scores[index].tolist())


def plain(value: Any) -> Any:
    """A NumPy or pandas scalar as JSON has it; NaN and None are null."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 NaN alone differs from itself
