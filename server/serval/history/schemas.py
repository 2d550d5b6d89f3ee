"""The shapes of stored predictions."""

from datetime import datetime

import msgspec

from serval.history import tables

Label = bool | float | str | None
"""A label or a value; null for NaN and infinities."""

Prediction = Label | list[Label]
"""A list where the model has several targets."""

Probability = float | None

PredictionProbability = Probability | list[Probability]
"""That of the label predicted, of several targets a list."""


class StoredPrediction(msgspec.Struct):
    """A prediction that was answered. Of many rows the history keeps the first."""

    id: str
    created_at: datetime
    model: str
    model_id: str
    version: int
    version_id: str
    user: str
    """Id of the user who asked."""
    rows: int
    digest: str
    """Of the inputs: equal rows have equal digests."""
    inputs: list[list[Label]] | None
    """The first rows in the order of the columns, where the server keeps them."""
    predictions: list[Prediction]
    probabilities: list[PredictionProbability] | None
    cache: str
    latency_ms: float

    @classmethod
    def of(cls, row: tables.Prediction, model_name: str) -> "StoredPrediction":
        return cls(
            id=row.id,
            created_at=row.created_at,
            model=model_name,
            model_id=row.model_id,
            version=row.version_number,
            version_id=row.version_id,
            user=row.user_id,
            rows=row.rows,
            digest=row.digest,
            inputs=msgspec.json.decode(row.inputs) if row.inputs else None,
            predictions=msgspec.json.decode(row.predictions),
            probabilities=msgspec.json.decode(row.probabilities) if row.probabilities else None,
            cache=row.cache,
            latency_ms=row.latency_ms,
        )


class StoredPredictionList(msgspec.Struct):
    """A page; `next` is the cursor of the page after it."""

    items: list[StoredPrediction]
    next: str | None
