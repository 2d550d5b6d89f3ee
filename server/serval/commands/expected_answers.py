"""The answers of a model in the environment that pushes it, as a sample for the server to compare with."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serval.errors import CannotStart, ServalError

if TYPE_CHECKING:
    from serval.conversion.rows import Rows
    from serval.conversion.signature import Signature

MAX_ROWS = 300


def expected_sample(file: Path, given: Path | None) -> str | None:
    """JSON rows with a `prediction` each: the rows of `given`, or rows made from the model's own signature.

    None, and a line on stderr, if this environment cannot load the model or the model answers none of them.
    Loading runs the code in the file, which is the caller's own.
    """
    import msgspec

    from serval.conversion.contents import predictor
    from serval.conversion.loading import load

    try:
        estimator = predictor(load(file.read_bytes()).content)
        rows = with_predictions(estimator, read_rows(given)) if given else generated(estimator)
    except ServalError as error:
        sys.stderr.write(f"serval: pushed without expected answers: {error.message}\n")
        return given.read_text(encoding="utf-8") if given else None
    return msgspec.json.encode(rows).decode() if rows else None


def read_rows(path: Path) -> Any:
    """A table from CSV with a header, or from JSON rows. Raises CannotStart."""
    import pandas as pd

    try:
        return pd.read_json(path, orient="records") if path.suffix.lower() == ".json" else pd.read_csv(path)
    except ValueError as error:
        raise CannotStart(f"`{path}` cannot be read as rows: {error}") from error


def with_predictions(estimator: Any, table: Any) -> list[dict[str, Any]]:
    """The rows of a table, with the model's answers unless the table already has a `prediction` column."""
    if "prediction" not in table:
        given = table if hasattr(estimator, "feature_names_in_") else table.to_numpy()
        table = table.assign(prediction=list(estimator.predict(given)))
    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def generated(estimator: Any) -> list[dict[str, Any]]:
    """Rows chosen as the server chooses them, with the answers of this environment, without rows that the model
    refuses."""
    from serval.conversion.export import original
    from serval.conversion.export.columns import infer
    from serval.conversion.verify import probing

    with warnings.catch_warnings(action="ignore"):  # rows are extreme on purpose and may overflow
        signature, facts, _ = infer(estimator, None, [], is_text=False)
        chosen = probing.choose(signature, probing.hints_of(signature, facts, {}), None)
        chosen = chosen.take(slice(0, MAX_ROWS))
        answers = original.answers_of(estimator, signature, chosen)
    return [
        row_cells(signature, chosen, index) | {"prediction": prediction(signature, answers, index)}
        for index in range(len(chosen))
        if answers.is_answered[index]
    ]


def row_cells(signature: "Signature", rows: "Rows", index: int) -> dict[str, Any]:
    """One row by column name, as JSON has it."""
    from serval.conversion.signature import MISSING_STRING

    numbers, strings = iter(rows.numbers[index].tolist()), iter(rows.strings[index].tolist())
    cells: dict[str, Any] = {}
    for column in signature.columns:
        if column.kind == "unused":
            continue
        if column.kind == "string":
            text = next(strings)
            cells[column.name] = None if text == MISSING_STRING else text
        else:
            number = plain(next(numbers))
            cells[column.name] = bool(number) if column.kind == "boolean" and number is not None else number
    return cells


def prediction(signature: "Signature", answers: Any, index: int) -> Any:
    """The label or value, or a list of them for several targets."""
    if signature.kind == "classifier":
        codes = answers.labels[index].tolist()
        values = [labels[code] for labels, code in zip(signature.labels, codes, strict=True)]
    else:
        values = answers.scores[index].tolist()
    return values if signature.is_multi_target else values[0]


def plain(value: Any) -> Any:
    """A NumPy or pandas scalar as JSON has it; NaN and None are null."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 NaN alone differs from itself
