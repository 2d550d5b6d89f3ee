"""The answers of a model in the environment that pushes it, as a sample for the server to compare with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serval.errors import CannotStart, InvalidFeatures, ServalError
from serval_client.expected import MAX_ROWS, PREDICTION, Sample, answered, encoded, evenly_spaced, nested, table_of
from serval_client.rows import is_frame

if TYPE_CHECKING:
    from serval.conversion.signature import Signature


def expected_sample(
    file: Path, given: Path | None, columns: Sequence[str] | None = None
) -> tuple[Sample | None, str | None]:
    """JSON rows with a `prediction` and, where the model has them, `probabilities` each: the rows of `given`, or rows
    made from the model's own signature; None: there are none. `columns`: names for those of a model without names.

    No answers, and the problem, if this environment cannot load the model or the model does not answer the rows.
    Loading runs the code in the file, which is the caller's own.
    """
    import sklearn

    from serval.conversion.contents import predictor
    from serval.conversion.loading import load

    try:
        estimator = predictor(load(file.read_bytes()).content)
        if given is not None:
            return with_answers(estimator, read_rows(given), columns), None
        rows = generated(estimator, columns)
    except ServalError as error:
        return (Sample(given.read_text(encoding="utf-8")) if given else None), error.message
    return (Sample(encoded(rows), sklearn.__version__) if rows else None), None


def read_rows(path: Path) -> Any:
    """A table from CSV with a header, or from JSON rows. Raises CannotStart."""
    try:
        table = table_of(path)
    except ValueError as error:
        raise CannotStart(f"`{path}` cannot be read as rows: {error}") from error
    if not is_frame(table):
        raise CannotStart(f"`{path}` cannot be read as rows: expected a list of objects")
    return table


def with_answers(estimator: Any, table: Any, columns: Sequence[str] | None) -> Sample:
    """The rows of a table, with the model's answers unless the table already has a `prediction` column.

    Raises InvalidFeatures for rows that the model refuses.
    """
    if PREDICTION in table:
        return Sample(encoded([nested(row) for row in table.to_dict("records")]))
    from serval.conversion.from_sklearn import as_fitted

    chosen = as_fitted(estimator, evenly_spaced(table, MAX_ROWS))
    try:
        return answered(estimator, chosen, columns, is_text=False)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidFeatures(f"the model refuses rows of the sample here ({error})") from error


def generated(estimator: Any, columns: Sequence[str] | None) -> list[dict[str, Any]]:
    """Rows chosen as the server chooses them, with the answers of this environment, without rows that the model
    refuses."""
    from serval.conversion.from_sklearn import answered_rows
    from serval.conversion.reporting import row_by_name

    signature, chosen, answers = answered_rows(estimator, MAX_ROWS, columns)
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
