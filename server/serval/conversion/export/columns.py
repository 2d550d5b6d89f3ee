"""What a fitted estimator takes and gives: read from its parts, then tried out on it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from serval.conversion import samples
from serval.conversion.export.column_facts import ColumnFacts, observe
from serval.conversion.export.column_limits import with_limits
from serval.conversion.export.descents import of_inputs
from serval.conversion.export.emitter import TEXT
from serval.conversion.export.labels import check_categories, labels_of
from serval.conversion.export.original import dense, fitted_with, inputs
from serval.conversion.export.plain_rows import base_rows
from serval.conversion.export.predictor_kind import predictor_kind
from serval.conversion.export.probability_tables import tables_if_any
from serval.conversion.export.refusing import check_convertible, refusal_of_rows
from serval.conversion.export.timestamp_columns import whole_moments
from serval.conversion.export.timestamp_units import are_texts_of_moments, unit_of
from serval.conversion.export.unused_columns import unused_columns
from serval.conversion.messages import MAX_COLUMNS, MAX_TARGETS
from serval.conversion.plain_text import plain, why_not_served
from serval.conversion.refusals import of_models, of_steps
from serval.conversion.rows import Rows
from serval.conversion.signature import Column, Signature

NAMES_SHOWN = 5
"""Names of columns that a refusal lists at most."""


def infer(
    estimator: Any, column_names: Sequence[str] | None, sample: samples.Sample, *, is_text: bool
) -> tuple[Signature, list[ColumnFacts], Rows | None]:
    """The signature of a fitted predictor, what its parts know of each column, and the sample's rows.

    `column_names`: names given with the upload, for a model without its own. Raises NotAPredictor, NotConvertible,
    InvalidFeatures, and Refused for a part, whose place the caller names.
    """
    kind = predictor_kind(estimator)
    names, has_names = _names(estimator, column_names, sample)
    unused = unused_columns(estimator, len(names))
    if len(unused) == len(names):
        raise of_models.NO_COLUMNS(type=plain(type(estimator).__name__, 100))
    sample_rows = samples.by_position(sample, names, {names[index] for index in unused})
    sample_rows = samples.guess_types(sample_rows) if is_text else sample_rows
    facts = [ColumnFacts() for _ in names]
    observe(estimator, of_inputs(len(names)), facts)
    for name, fact in zip(names, facts, strict=True):
        if not fact.is_timestamp:
            check_categories(name, fact.known, fact.dtype)
    columns = tuple(
        Column(name=name, kind="unused", dtype="object")
        if index in unused
        else _column(name, fact, [row[index] for row in sample_rows])
        for index, (name, fact) in enumerate(zip(names, facts, strict=True))
    )
    signature = _signature(kind, columns, has_names=has_names)
    cells = samples.fitting(sample, columns, is_text=is_text)
    bases = base_rows(estimator, signature, facts, cells)
    base, signature = _with_outputs(estimator, signature, bases, is_sample=bool(cells))
    return with_limits(estimator, signature, facts, base), facts, samples.rows_of(signature, cells) if cells else None


def _signature(kind: Literal["classifier", "regressor"], columns: tuple[Column, ...], *, has_names: bool) -> Signature:
    """What is known before the model has answered."""
    return Signature(
        kind=kind, columns=columns, has_names=has_names, labels=(), targets=1, is_multi_target=False,
        has_probabilities=False, numbers_dtype="float64", scores_dtype="float64",
    )  # fmt: skip


def _names(estimator: Any, column_names: Sequence[str] | None, sample: samples.Sample) -> tuple[list[str], bool]:
    own = fitted_with(estimator, "feature_names_in_")
    count = _count(estimator, own, column_names, sample)
    if count > MAX_COLUMNS:
        raise of_models.TOO_MANY_COLUMNS(count=count, limit=MAX_COLUMNS)
    if own is not None:
        own_names = [str(name) for name in own]
        if column_names is not None and list(column_names) != own_names:
            raise _has_names(own_names, column_names)
        return _checked(own_names), True
    if column_names is None:
        return [f"x{index}" for index in range(count)], False
    if len(column_names) != count:
        raise of_models.NAMES_DO_NOT_FIT(given=len(column_names), count=count)
    return _checked(list(column_names)), True


def _has_names(own: Sequence[str], given: Sequence[str]) -> Exception:
    """The refusal of names for a model that has its own: the first that is none of them, or all where they only stand
    in another order or fewer are given."""
    other = next((name for name in given if name not in set(own)), None)
    shown = ", ".join(f"`{plain(name, 40)}`" for name in own[:NAMES_SHOWN])
    return of_models.HAS_NAMES(
        column="them in another order" if other is None else f"`{plain(other, 40)}`",
        names=f"{shown}, …" if len(own) > NAMES_SHOWN else shown,
    )


def _count(estimator: Any, own: Any, column_names: Sequence[str] | None, sample: samples.Sample) -> int:
    if own is not None:
        return len(own)
    count = fitted_with(estimator, "n_features_in_")
    if count is not None:
        return int(count)
    if column_names:
        return len(column_names)
    if sample:
        return len(sample[0])
    if type(estimator).__name__ == "IsotonicRegression":
        return 1
    first = estimator.steps[0][1] if hasattr(estimator, "steps") else estimator
    if type(first).__name__ in TEXT:
        raise of_steps.SPLITS_TEXT.of(first)
    if callable(getattr(first, "kernel", None)):
        raise of_steps.OWN_SVM_KERNEL.of(first)
    one = Column(name="x0", kind="number", dtype="float64")
    check_convertible(estimator, _signature("regressor", (one,), has_names=False))
    raise of_models.NUMBER_OF_COLUMNS_UNKNOWN(type=plain(type(estimator).__name__, 100))


def _checked(names: list[str]) -> list[str]:
    for index, name in enumerate(names):
        if not name:
            raise of_models.EMPTY_NAME(position=index + 1)
        if problem := why_not_served(name):
            raise of_models.NAME_NOT_SERVED(column=plain(name, 40), problem=problem)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise of_models.SAME_NAMES(column=plain(twice, 100))
    return names


def _column(name: str, fact: ColumnFacts, cells: list[Any]) -> Column:
    present = [cell for cell in cells if cell is not None]
    if fact.is_timestamp and fact.dtype is not None:
        return Column(name=name, kind="timestamp", dtype=fact.dtype)
    are_texts = are_texts_of_moments(present)
    if not fact.known and not fact.is_text and (fact.is_datetime or are_texts):
        unit = unit_of(fact.held)
        if unit is not None:
            return _counted_moments(name, unit, fact)
        if are_texts:
            raise of_models.UNCOUNTED_TIMESTAMPS(column=plain(name, 100))
    if fact.is_text or any(isinstance(value, str) for value in [*fact.known, *present]):
        return Column(name=name, kind="string", dtype="object")
    values = fact.known or present
    if values and all(isinstance(value, bool) for value in values):
        return Column(name=name, kind="boolean", dtype="bool")
    return Column(name=name, kind="number", dtype=fact.dtype or "float64")


def _counted_moments(name: str, unit: str, fact: ColumnFacts) -> Column:
    """A column of datetimes that numeric steps read as counts of a unit."""
    dtype = f"datetime64[{unit}]"
    fact.is_timestamp, fact.examples = True, whole_moments(fact.held, dtype)
    return Column(name=name, kind="timestamp", dtype=dtype)


def _with_outputs(
    estimator: Any, signature: Signature, bases: list[Rows], *, is_sample: bool
) -> tuple[Rows, Signature]:
    """The first row that the model takes, and the signature with what it answers. Raises NotConvertible."""
    base, predicted = _first_answer(estimator, signature, bases, is_sample=is_sample)
    targets, is_multi = (predicted.shape[1], True) if predicted.ndim == 2 else (1, False)
    if targets > MAX_TARGETS:
        raise of_models.TOO_MANY_TARGETS(count=targets, limit=MAX_TARGETS)
    if signature.kind == "regressor":
        return base, msgspec.structs.replace(signature, targets=targets, is_multi_target=is_multi)
    labels = labels_of(estimator, targets, is_multi)
    complete = msgspec.structs.replace(signature, targets=targets, is_multi_target=is_multi, labels=labels)
    has_probabilities = _has_probabilities(estimator, complete, base)
    return base, msgspec.structs.replace(complete, has_probabilities=has_probabilities)


def _has_probabilities(estimator: Any, signature: Signature, base: Rows) -> bool:
    """Whether the estimator has `predict_proba`, and it answers with a probability for each label: with some arguments
    it refuses, and a chain knows only the second of three labels."""
    given = inputs(estimator, signature, base)
    tables = tables_if_any(estimator, given, is_multi_target=signature.is_multi_target)
    if tables is None:
        return False
    if not signature.is_multi_target:
        return tables[0].ndim == 2
    return [table.shape[1:] for table in tables] == [(len(labels),) for labels in signature.labels]


def _first_answer(estimator: Any, signature: Signature, bases: list[Rows], *, is_sample: bool) -> tuple[Rows, Any]:
    first: Exception | None = None
    for base in bases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return base, dense(estimator.predict(inputs(estimator, signature, base)))
        except (MemoryError, PermissionError):
            raise
        except Exception as error:  # noqa: BLE001  an estimator raises what it likes
            first = first or error
    check_convertible(estimator, signature)
    raise refusal_of_rows(estimator, inputs(estimator, signature, bases[0]), is_sample=is_sample) from first
