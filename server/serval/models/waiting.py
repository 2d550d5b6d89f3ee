"""How long a request may be held until a conversion has ended, as its `Prefer` says."""

import re

from serval.errors import BadRequest

MAX_WAIT_SECONDS = 300.0
_SECONDS = re.compile(r"[0-9]{1,9}")


def preferred_wait(prefer: str | None, default: float) -> float:
    """Read RFC 7240's `wait` and `respond-async`, in seconds; preferences of other names are ignored, as it asks.
    Raises BadRequest."""
    items = [part.partition(";")[0].partition("=") for part in (prefer or "").split(",")]
    preferences = {name.strip().lower(): value.strip() for name, _, value in reversed(items)}
    if "wait" not in preferences:
        return 0.0 if "respond-async" in preferences else default
    if not _SECONDS.fullmatch(preferences["wait"]):
        raise BadRequest(f"`Prefer`: `wait={preferences['wait'][:40]}` is no whole number of seconds.")
    return min(float(preferences["wait"]), MAX_WAIT_SECONDS)
