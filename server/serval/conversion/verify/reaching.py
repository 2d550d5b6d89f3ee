"""The rows to verify on that only the fitted estimator shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from serval.conversion.export.training_rows import training_rows
from serval.conversion.rows import Answers, Rows
from serval.conversion.signature import Signature
from serval.conversion.verify.answer_changes import rows_at_changes
from serval.conversion.verify.stored_values import rows_at_stored_values

MAX_CELLS = 1_000_000
MAX_ROWS = 2000


def reaching_rows(estimator: Any, signature: Signature, rows: Rows, answers: Answers) -> Rows:
    """Training rows that the model keeps, rows at the values that its steps hold, and rows where its answer changes.

    `rows`: the usual rows to verify on, and `answers` the estimator's for them. At most 2000, the same for the same
    arguments.
    """
    known = rows.take(np.flatnonzero(answers.is_answered))
    parts = [
        rows_at_changes(estimator, signature, rows, answers),
        training_rows(estimator, signature),
        rows_at_stored_values(estimator, signature, known),
    ]
    limit = min(MAX_ROWS, max(50, MAX_CELLS // len(signature.columns)))
    return Rows(
        np.concatenate([part.numbers for part in parts])[:limit],
        np.concatenate([part.strings for part in parts])[:limit],
    )
