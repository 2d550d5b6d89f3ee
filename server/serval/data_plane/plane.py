"""The Rust core, opened with the settings of the service."""

from serval._native import (
    Answer,
    Callers,
    DataPlane,
    Deferred,
    Front,
    GraphError,
    History,
    LoadedVersion,
    LoadError,
    Models,
    NeedsPython,
    Outputs,
    PredictionRecord,
    Predictor,
    Rates,
    RateState,
    Refusal,
    certificate_expiry,
)
from serval.data_plane.cores import compute_threads
from serval.data_plane.runtime import runtime_library
from serval.data_plane.settings import PlaneSettings
from serval.settings.settings import Settings

__all__ = [
    "Answer",
    "Callers",
    "DataPlane",
    "Deferred",
    "Front",
    "GraphError",
    "History",
    "LoadError",
    "LoadedVersion",
    "Models",
    "NeedsPython",
    "Outputs",
    "PredictionRecord",
    "Predictor",
    "RateState",
    "Rates",
    "Refusal",
    "certificate_expiry",
    "open_data_plane",
]

CALLER_AGE_SECONDS = 30.0
"""How long a caller checked once is believed, with the database away too; a key revoked elsewhere is forgotten within a
second."""


def open_data_plane(settings: Settings, cache_secret: bytes | None = None) -> DataPlane:
    """Return an empty data plane with the limits of the settings. `cache_secret`: 32 bytes that replicas share."""
    return DataPlane(
        PlaneSettings(
            runtime_library=str(runtime_library()),
            cache_bytes=settings.cache_bytes,
            cache_ttl_seconds=settings.cache_ttl_seconds,
            cache_url=settings.cache_url,
            cache_secret=cache_secret,
            cache_l2_ttl_seconds=settings.cache_l2_ttl_seconds,
            inline_below_seconds=settings.inline_below_seconds,
            max_rows=settings.max_rows,
            threads=compute_threads(),
            timeout_seconds=settings.predict_timeout_seconds,
            max_queued=settings.max_queued,
            max_queued_per_model=settings.max_queued_per_model,
            caller_age_seconds=CALLER_AGE_SECONDS,
            history_capacity=settings.history_capacity,
            history_sample=settings.history_sample,
            keeps_inputs=settings.history_inputs == "values",
            log_sample=settings.log_predictions_sample,
            slow_seconds=settings.slow_request_ms / 1e3,
        )
    )
