"""Settings of the data plane and of its public port, as Rust reads them: no defaults, which `serval.settings` has."""

from collections.abc import Sequence

import msgspec


class PlaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a data plane."""

    runtime_library: str
    """Path of `libonnxruntime.so`."""
    cache_bytes: int
    cache_ttl_seconds: float
    cache_url: str | None
    """Of the Redis that is the second cache level, connected to in the background; None: there is none."""
    cache_secret: bytes | None
    """32 bytes, equal in all replicas that share the second level; None: one of this process alone."""
    cache_l2_ttl_seconds: float
    inline_below_seconds: float
    """Predictions that are expected to take longer are `Deferred`."""
    max_rows: int
    threads: int
    """Threads that wait for sockets, and as many again that compute."""
    timeout_seconds: float
    """For the rest of a `Deferred`."""
    max_queued: int
    """Runs that wait for a compute thread; more are refused."""
    max_queued_per_model: int
    caller_age_seconds: float
    """How long a caller is known after it was looked up, or until its credential expires."""
    history_capacity: int
    """Entries of the ring of answered predictions."""
    history_sample: float
    """The share of predictions that is marked as kept."""
    keeps_inputs: bool
    """Whether the history has the inputs themselves beside their digest."""
    log_sample: float
    """The share of predictions that is marked as logged, of those answered by the data plane's own listener."""
    slow_seconds: float
    """Predictions that took longer are marked as logged too."""


class FrontSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the public port may take of the machine, and how long its clients may take."""

    connections: int
    connections_by_address: int
    head_bytes: int
    body_bytes: int
    buffered_bytes: int
    """Of bodies, over all connections."""
    forwarded: int
    """Requests that the app answers at a time."""
    forwarded_by_user: int
    forwarded_by_address: int
    """Of clients that are not known."""
    small_body_bytes: int
    """Bodies of this size are whole before the app gets them."""
    min_body_bytes_per_second: float
    """Of a larger body, on average, once `body_seconds` have passed."""
    head_seconds: float
    body_seconds: float
    idle_seconds: float
    write_seconds: float
    stall_seconds: float
    """`GET /health/live` is refused when the last `beat` is older."""
    https_only: bool
    """Requests over plain HTTP are left to the app, unless a trusted proxy says that it received them over TLS."""
    trusted_proxies: Sequence[str]
    """Addresses or networks."""


def settings_to_run_a_model(runtime_library: str, max_rows: int) -> PlaneSettings:
    """Return the settings of a data plane that runs a model on the calling thread and keeps nothing."""
    return PlaneSettings(
        runtime_library=runtime_library,
        cache_bytes=0,
        cache_ttl_seconds=0.0,
        cache_url=None,
        cache_secret=None,
        cache_l2_ttl_seconds=0.0,
        inline_below_seconds=1.0,
        max_rows=max_rows,
        threads=1,
        timeout_seconds=30.0,
        max_queued=1,
        max_queued_per_model=1,
        caller_age_seconds=0.0,
        history_capacity=1,
        history_sample=0.0,
        keeps_inputs=False,
        log_sample=0.0,
        slow_seconds=1.0,
    )
