"""What a model answers in the environment of whoever pushes it, as a sample for the server to compare with."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serval.errors import CannotStart, ServalError

if TYPE_CHECKING:
    from serval.conversion.rows import Rows
    from serval.conversion.signature import Signature

MOST_ROWS = 300


def expected_sample(file: Path, given: Path | None) -> str | None:
    """JSON rows with a `prediction` each: the rows of `given`, or rows made from the model's own signature.

    None, and a line on stderr, where this environment can not load the model or it answers none of them.
    Loading runs the code in the file: it is the caller's own.
    """
    import msgspec

    from serval.conversion.sandbox.loading import load, predictor

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
        raise CannotStart(f"`{path}` can not be read as rows: {error}") from error


def with_predictions(estimator: Any, table: Any) -> list[dict[str, Any]]:
    """The rows of a table, with what the model answers for them where they do not carry an answer already."""
    if "prediction" not in table:
        given = table if hasattr(estimator, "feature_names_in_") else table.to_numpy()
        table = table.assign(prediction=list(estimator.predict(given)))
    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def generated(estimator: Any) -> list[dict[str, Any]]:
    """Rows as the server itself would choose them, with the answers given here; those that the model refuses are left
    out."""
    from serval.conversion.export import original
    from serval.conversion.export.columns import infer
    from serval.conversion.verify import probing

    with warnings.catch_warnings(action="ignore"):  # rows are far away on purpose: what overflows is nobody's mistake
        signature, facts, _ = infer(estimator, None, [], is_text=False)
        chosen = probing.choose(signature, probing.hints(signature, facts, {}), None)
        chosen = chosen.take(slice(0, MOST_ROWS))
        answers = original.ask(estimator, signature, chosen)
    return [
        cells(signature, chosen, at) | {"prediction": prediction(signature, answers, at)}
        for at in range(len(chosen))
        if answers.is_answered[at]
    ]


def cells(signature: "Signature", rows: "Rows", at: int) -> dict[str, Any]:
    """One row by column name, as JSON has it."""
    from serval.conversion.signature import MISSING_STRING

    numbers, strings = iter(rows.numbers[at].tolist()), iter(rows.strings[at].tolist())
    found: dict[str, Any] = {}
    for column in signature.columns:
        if column.kind == "string":
            text = next(strings)
            found[column.name] = None if text == MISSING_STRING else text
        else:
            number = plain(next(numbers))
            found[column.name] = bool(number) if column.kind == "boolean" and number is not None else number
    return found


def prediction(signature: "Signature", answers: Any, at: int) -> Any:
    """The label or value, or a list of them for several targets."""
    if signature.kind == "classifier":
        found = [labels[index] for labels, index in zip(signature.labels, answers.labels[at].tolist(), strict=True)]
    else:
        found = answers.scores[at].tolist()
    return found if signature.is_multi_target else found[0]


def plain(value: Any) -> Any:
    """A NumPy or pandas scalar as JSON has it; NaN and None are null."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 NaN alone differs from itself
