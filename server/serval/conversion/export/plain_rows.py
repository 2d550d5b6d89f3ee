"""Rows that a fitted estimator should take: the first of a sample, plain numbers, or rows that it was fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np

from serval.conversion import samples
from serval.conversion.export.column_facts import ColumnFacts, inner_estimators
from serval.conversion.export.stored_rows import points_of
from serval.conversion.rows import Rows
from serval.conversion.signature import Signature


def base_rows(
    estimator: Any, signature: Signature, facts: list[ColumnFacts], sample: list[list[samples.Cell]]
) -> list[Rows]:
    """Rows of which the model should take one: the sample's first, or known categories with zeros, ones, halves or
    numbers that the model stores."""
    if sample:
        return [samples.rows_of(signature, [_filled(sample[0], signature, facts)])]
    count = len(facts)
    plain = [
        [0.0] * count,
        [1.0] * count,
        [0.5] * count,
        *(point.tolist() for point in stored_points(estimator, count)),
    ]
    return [
        samples.rows_of(
            signature,
            [
                _filled(
                    [None if fact.known or fact.examples else value for fact, value in zip(facts, row, strict=True)],
                    signature,
                    facts,
                )
            ],
        )
        for row in plain
    ]


def _filled(row: list[Any], signature: Signature, facts: list[ColumnFacts]) -> list[Any]:
    """The row with known categories and zeros in place of missing values."""
    return [
        (fact.known or fact.examples)[0]
        if cell is None and (fact.known or fact.examples)
        else "a"
        if column.kind == "string" and not isinstance(cell, str)
        else 0.0
        if cell is None
        else cell
        for cell, fact, column in zip(row, facts, signature.columns, strict=True)
    ]


def stored_points(estimator: Any, width: int) -> list[Any]:
    """Rows that the estimator, or one inside it, stores in the space of the input."""
    inner = [step for _, step in getattr(estimator, "steps", []) if not isinstance(step, str)][:1] or inner_estimators(
        estimator
    )[:3]
    own = list(points_of(estimator, width)[:5])
    if hasattr(estimator, "X_thresholds_") and width == 1:
        own.append(np.asarray(estimator.X_thresholds_[:1], dtype=np.float64))
    return own + [point for part in inner for point in stored_points(part, width)][:5]
