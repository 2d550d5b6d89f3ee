"""A request for a prediction, as the data plane takes it."""

from typing import Literal

import msgspec

Shape = Literal["short", "full"]
"""`short`: that of `POST /predict`, whose body names the model."""


class CsvDialect(msgspec.Struct, frozen=True):
    """How a CSV body is written."""

    has_header: bool
    delimiter: str
    """One character."""


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a prediction, but for its model and its rows."""

    caller: bytes
    """SHA-256 of the credential."""
    shape: Shape
    all_probabilities: bool
    no_cache: bool
    is_charged: bool = True
    """Whether it counts against the caller's rates, quota and usage."""
    timeout_seconds: float | None = None
    """How long the rest of a `Deferred` may take; None: `PlaneSettings.timeout_seconds`."""
    csv: CsvDialect | None = None
    """None: the body is JSON."""
    started_ns: int
    """CLOCK_MONOTONIC when the body began to arrive; `latency_ms` counts from there."""
