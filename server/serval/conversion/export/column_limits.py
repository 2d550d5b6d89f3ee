"""What each column may hold, tried out on the fitted estimator: missing values, categories, ranges."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from serval.conversion.export.column_facts import ColumnFacts
from serval.conversion.export.column_ranges import ranges_of
from serval.conversion.export.labels import categories_of, check_count
from serval.conversion.export.original import answers_of
from serval.conversion.export.rules.category_codes import unknown_category
from serval.conversion.export.training_rows import training_rows
from serval.conversion.rows import Rows
from serval.conversion.signature import MISSING_STRING, Column, Signature, input_positions


def with_limits(estimator: Any, signature: Signature, facts: list[ColumnFacts], base: Rows) -> Signature:
    """Find out on the model itself what each column may hold."""
    columns = _with_missing(estimator, signature, facts, base)
    signature = msgspec.structs.replace(signature, columns=columns)
    columns = tuple(_with_categories(estimator, signature, index, fact, base) for index, fact in enumerate(facts))
    check_count(columns)
    signature = msgspec.structs.replace(signature, columns=columns)
    return msgspec.structs.replace(signature, columns=_with_range(estimator, signature, base))


def _with_range(estimator: Any, signature: Signature, base: Rows) -> tuple[Column, ...]:
    free = [column.kind == "number" and column.categories is None for column in signature.columns]
    places = input_positions(signature)
    positions = [place.offset for is_free, place in zip(free, places, strict=True) if is_free and place is not None]
    if not positions:
        return signature.columns
    if type(estimator).__name__ == "IsotonicRegression" and estimator.out_of_bounds == "raise":
        return tuple(
            msgspec.structs.replace(column, minimum=float(estimator.X_min_), maximum=float(estimator.X_max_))
            for column in signature.columns
        )
    fitted = training_rows(estimator, signature, None).numbers
    ranges = iter(ranges_of(estimator, signature, base, positions, fitted[:, positions]))
    return tuple(
        column if not is_free else _within(column, *next(ranges))
        for column, is_free in zip(signature.columns, free, strict=True)
    )


def _within(column: Column, minimum: float | None, maximum: float | None) -> Column:
    return msgspec.structs.replace(column, minimum=minimum, maximum=maximum)


def _with_missing(estimator: Any, signature: Signature, facts: list[ColumnFacts], base: Rows) -> tuple[Column, ...]:
    """NaN, or None where the model's parts show that it was fitted with None: an encoder may take what it never saw."""
    columns = list(signature.columns)
    rows = _each_missing(signature, base)
    for is_shown in (True, False):
        tried = [
            msgspec.structs.replace(
                column, missing=(fact.marker if is_shown else None) or ("nat" if fact.is_timestamp else "nan")
            )
            for column, fact in zip(columns, facts, strict=True)
        ]
        accepted = answers_of(estimator, msgspec.structs.replace(signature, columns=tuple(tried)), rows).is_answered
        for index, is_accepted in enumerate(accepted):
            if is_accepted and columns[index].missing is None and columns[index].kind != "unused":
                columns[index] = tried[index]
        if not any(fact.marker for fact in facts):
            break
    return tuple(columns)


def _each_missing(signature: Signature, base: Rows) -> Rows:
    """The base row once for each column, that column missing."""
    rows = Rows(
        np.repeat(base.numbers, len(signature.columns), axis=0), np.repeat(base.strings, len(signature.columns), axis=0)
    )
    for row, place in enumerate(input_positions(signature)):
        if place is not None and place.is_string:
            rows.strings[row, place.offset] = MISSING_STRING
        elif place is not None:
            rows.numbers[row, place.offset] = np.nan
    return rows


def _with_categories(estimator: Any, signature: Signature, index: int, fact: ColumnFacts, base: Rows) -> Column:
    column = signature.columns[index]
    if not fact.known or column.kind in {"boolean", "unused"}:
        return column
    if _takes_value(estimator, signature, index, unknown_category(column, fact.known), base):
        return column
    if column.kind == "timestamp":
        return msgspec.structs.replace(
            column, categories=tuple(dict.fromkeys(column.moment_text(value) for value in sorted(fact.known)))
        )
    replaced = [value for value in fact.replaced if _takes_value(estimator, signature, index, value, base)]
    known = [*fact.known, *replaced]
    return msgspec.structs.replace(column, categories=categories_of(column.name, known))


def _takes_value(estimator: Any, signature: Signature, index: int, value: Any, base: Rows) -> bool:
    place = input_positions(signature)[index]
    if place is None or place.is_string != isinstance(value, str):
        return False
    row = Rows(base.numbers.copy(), base.strings.copy())
    (row.strings if place.is_string else row.numbers)[0, place.offset] = value
    return bool(answers_of(estimator, signature, row).is_answered[0])
