"""A request for a prediction, as the data plane takes it."""

from typing import Literal

import msgspec


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a prediction, but for its model and its rows."""

    caller: bytes
    """SHA-256 of the credential."""
    shape: Literal["short", "full"]
    """`short`: that of `POST /predict`, whose body names the model."""
    all_probabilities: bool
    no_cache: bool
    is_charged: bool = True
    """Whether it counts against the caller's rates, quota and usage."""
    timeout_seconds: float | None = None
    """How long the rest of a `Deferred` may take; None: `PlaneSettings.timeout_seconds`."""
    started_ns: int
    """CLOCK_MONOTONIC when the body began to arrive; `latency_ms` counts from there."""
