"""Which part of a fitted model refuses a row, and why, as far as it says so."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing

from serval.conversion.export.predictors import export
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_models, of_steps
from serval.conversion.refusals.kind import Refused
from serval.conversion.signature import Signature
from serval.errors import ServalError

MAX_SAID = 160
ABOUT_ROWS = (
    *(of_steps.NOT_AS_FITTED, of_steps.STRING_COLUMN, of_steps.LEFT_OUT_COLUMN, of_steps.TEXT_OF_NUMBERS),
    *(of_steps.MIXED_CATEGORIES, of_steps.FUNCTION_OF_TEXT),
)
"""Kinds that a sample may undo, because it shows the columns otherwise."""


def check_convertible(estimator: Any, signature: Signature) -> None:
    """Raises NotConvertible for a part that has no conversion, whatever rows the model takes."""
    try:
        export(estimator, msgspec.structs.replace(signature, kind="regressor"))
    except ServalError as error:
        if isinstance(refused := error.__cause__, Refused) and refused.kind not in ABOUT_ROWS:
            raise


def refusal_of_rows(estimator: Any, rows: Any, *, is_sample: bool) -> Refused:
    """The refusal of a model that answers none of these rows. `is_sample`: they came with the upload."""
    part, error = refusing_part(estimator, rows)
    if isinstance(error, NotFittedError):
        return of_models.NOT_FITTED.of(part)
    if isinstance(error, AttributeError):
        return of_steps.NOT_AS_FITTED.of(part)
    first = (str(error).strip().splitlines() or [""])[0] if isinstance(error, ValueError) else ""
    said = f' (it says "{plain(first, MAX_SAID)}")' if first else ""
    return (of_models.REFUSES_SAMPLE if is_sample else of_models.REFUSES_PLAIN_ROWS).of(part, said=said)


def refusing_part(estimator: Any, rows: Any) -> tuple[Any, Exception | None]:
    """The innermost step that raises an error on these rows, and the error; the model itself where none does."""
    if hasattr(estimator, "steps"):
        for _, step in estimator.steps[:-1]:
            if step is None or isinstance(step, str):
                continue
            transformed, error = _tried(step, "transform", rows)
            if error is not None:
                return refusing_part(step, rows)
            rows = transformed
        return refusing_part(estimator.steps[-1][1], rows)
    if hasattr(estimator, "transformers_"):
        for name, step, _ in estimator.transformers_:
            columns = list(getattr(estimator, "_transformer_to_input_indices", {}).get(name, []))
            if isinstance(step, str) or not columns:
                continue
            chosen = _safe_indexing(rows, columns, axis=1)
            if _tried(step, "transform", chosen)[1] is not None:
                return refusing_part(step, chosen)
    method = "predict" if hasattr(estimator, "predict") else "transform"
    return estimator, _tried(estimator, method, rows)[1]


def _tried(estimator: Any, method: str, rows: Any) -> tuple[Any, Exception | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(estimator, method)(rows), None
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # noqa: BLE001  an estimator raises what it likes
        return None, error
