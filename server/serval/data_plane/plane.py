"""What the control plane publishes to the Rust core, and asks of it."""

import time
from collections.abc import Sequence
from datetime import datetime

from serval._native import (
    Answer,
    DataPlane,
    Front,
    FrontLimits,
    GraphError,
    Later,
    Loaded,
    LoadError,
    NotMine,
    RateState,
    Refusal,
    Route,
    Seen,
    certificate_expiry,
)
from serval.data_plane.cores import compute_threads
from serval.data_plane.runtime import runtime_library
from serval.settings.plans import Rate
from serval.settings.settings import Settings

__all__ = [
    "Answer",
    "DataPlane",
    "Front",
    "FrontLimits",
    "GraphError",
    "Later",
    "LoadError",
    "Loaded",
    "NotMine",
    "Publisher",
    "RateState",
    "Refusal",
    "Route",
    "Seen",
    "certificate_expiry",
    "open_data_plane",
]

CALLER_AGE_SECONDS = 30.0
"""How long a caller checked once is believed, with the database away too; a key revoked elsewhere is forgotten within a
second."""


def open_data_plane(settings: Settings, cache_secret: bytes | None = None) -> DataPlane:
    """Return an empty data plane with the limits of the settings. `cache_secret`: 32 bytes that replicas share."""
    return DataPlane(
        runtime_library=str(runtime_library()),
        cache_bytes=settings.cache_bytes,
        cache_ttl_seconds=settings.cache_ttl_seconds,
        cheap_seconds=settings.inline_below_seconds,
        max_rows=settings.max_rows,
        threads=compute_threads(),
        timeout_seconds=settings.predict_timeout_seconds,
        max_waiting=settings.max_queued,
        max_waiting_per_model=settings.max_queued_per_model,
        cache_url=settings.cache_url,
        cache_secret=cache_secret,
        cache_l2_ttl_seconds=settings.cache_l2_ttl_seconds,
        history_capacity=settings.history_capacity,
        history_sample=settings.history_sample,
        history_inputs=settings.history_inputs == "values",
        log_sample=settings.log_predictions_sample,
        slow_seconds=settings.slow_request_ms / 1e3,
    )


class Publisher:
    """Tells the data plane what the control plane decided."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self.has_routes = False

    def load(self, version: str, onnx: bytes, signature: bytes, numbers: bytes, strings: Sequence[str]) -> Loaded:
        """Load a version and measure it on probe rows. Takes seconds: call it from a thread. Raises GraphError,
        LoadError."""
        return self._plane.load(version, onnx, signature, numbers, strings)

    def unload(self, version: str) -> None:
        self._plane.unload(version)

    def take_runaways(self) -> list[tuple[str, str]]:
        """Return the versions that have run away since the last call, and why that is said of them."""
        return [
            (version, f"a run that was measured at {expected:.2g} s has not ended after {used:.2g} s")
            for version, expected, used in self._plane.take_runaways()
        ]

    def set_routes(self, routes: Sequence[Route]) -> None:
        """Replace what may be asked, all at once."""
        self._plane.set_routes(routes)
        self.has_routes = True

    def epoch(self, digest: bytes) -> int:
        """Return what `put_caller` takes, before the database is asked about a key."""
        return self._plane.epoch(digest)

    def put_caller(
        self,
        digest: bytes,
        *,
        user_id: str,
        key_id: str | None,
        is_admin: bool,
        can_predict: bool,
        models: Sequence[str] | None,
        expires_at: datetime | None,
        limits: Sequence[tuple[str, Rate]],
        quota: tuple[int, int, float] | None,
        epoch: int,
    ) -> bool:
        """Let a checked key or access token predict for the next 30 seconds, or until it expires.

        `digest`: its SHA-256. `models`: ids; None: all that the user may see. `limits`: `kind:id` of each account and
        its rate. `quota`:
        predictions made this month, those allowed, Unix seconds of the month's end. False: it may have been revoked
        meanwhile, check again.
        """
        until = time.time() + CALLER_AGE_SECONDS
        if expires_at is not None:
            until = min(until, expires_at.timestamp())
        return self._plane.put_caller(
            digest,
            user=user_id,
            key=key_id,
            is_admin=is_admin,
            can_predict=can_predict,
            models=models,
            expires_at=until,
            limits=[(subject, rate.count, rate.seconds) for subject, rate in limits],
            quota=quota,
            epoch=epoch,
        )

    def forget_caller(self, digest: bytes) -> None:
        """A key was revoked."""
        self._plane.revoke(digest)

    def forget_user(self, user_id: str) -> None:
        """A user was disabled, has logged out, or may do something else than before."""
        self._plane.revoke_user(user_id)

    def forget_callers(self) -> None:
        """Any key may have been revoked."""
        self._plane.revoke_all()

    def take_uses(self) -> list[tuple[str, float, int]]:
        """Return the keys that have predicted since the last call: id, Unix seconds of the last prediction, how many
        there were."""
        return self._plane.take_uses()

    def set_used(self, key_id: str, used: int) -> None:
        """Correct what a key has used of its quota: the database's total, with all uses that were taken."""
        self._plane.set_used(key_id, used)

    def put_unknown(self, digest: bytes) -> None:
        """Remember for a few seconds that a key opens nothing."""
        self._plane.put_unknown(digest)

    def forget_unknown(self, digest: bytes) -> None:
        """A key has been made."""
        self._plane.forget_unknown(digest)

    def is_unknown(self, digest: bytes) -> bool:
        """Whether a key opened nothing a few seconds ago."""
        return self._plane.is_unknown(digest)

    def user_of(self, digest: bytes) -> str | None:
        """Return the id of the user of an installed key."""
        return self._plane.user_of(digest)

    def level_two(self) -> str:
        """Return the state of the second cache level: `off`, `up`, `read_only` or `down`."""
        return self._plane.level_two()

    def metrics(self, owner: str | None = None) -> bytes:
        """Return the data plane's counters as Prometheus text; of the models of one user, where it is given."""
        return self._plane.metrics(owner)
