"""What a prediction costs its caller where the data plane does not answer it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serval.auth.caller import Caller
from serval.auth.rate_headers import rate_headers, rate_limited
from serval.data_plane.plane import Rates, Refusal
from serval.db.engine import now
from serval.predictions.refusals import quota_exceeded


class Charges:
    """Charges as the data plane does: the rates at once, the quota by what was counted a few seconds ago."""

    def __init__(self, rates: Rates, count: Callable[[str], None]) -> None:
        """`count`: counts a prediction of a key, by its id."""
        self._rates = rates
        self._count = count

    @contextmanager
    def charged(self, caller: Caller) -> Iterator[dict[str, str]]:
        """Charge one prediction, which the block makes, and give it back where that fails: not where the client has
        gone, or hanging up would make runs free. Yields headers of the response that state what is left of the rate.
        Raises RateLimited."""
        if caller.quota is not None and caller.quota.used >= caller.quota.allowed:
            seconds = max(1, round((caller.quota.resets_at - now()).total_seconds()))
            raise quota_exceeded({"limit": str(caller.quota.allowed), "retry_after_seconds": str(seconds)})
        state = self._rates.charge(caller.predict_limits)
        if isinstance(state, Refusal):
            raise rate_limited(state.arguments)
        try:
            yield {} if state is None else rate_headers(state)
        except Exception:
            self._rates.refund(caller.predict_limits)
            raise
        if caller.key_id is not None:
            self._count(caller.key_id)
