"""How much a user and a key may do: the key's own limits, those of the user's plan, those of the settings."""

from serval.settings.plans import Plan, Rate, rate_of
from serval.settings.settings import Settings


class UserLimits:
    """Reads the limits of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def api_rate(self, tier: str) -> Rate | None:
        """Return how often a user may ask, predictions apart; None: as often as they like."""
        return rate_of(self._plan(tier).api_rate or self._settings.api_rate)

    def predict_limits(
        self, user_id: str, tier: str, key_id: str | None = None, key_rate: str | None = None
    ) -> tuple[tuple[str, Rate], ...]:
        """Return the accounts that a prediction is charged to, with their rates: the user's, and the key's own."""
        rates = (
            (f"user:{user_id}", self._plan(tier).predict_rate or self._settings.predict_rate),
            (f"key:{key_id}", key_rate),
        )
        return tuple((subject, rate) for subject, text in rates if (rate := rate_of(text)) is not None)

    def monthly_quota(self, tier: str, of_key: int | None) -> int | None:
        """Return how often a key may predict in a month; None: as often as it likes."""
        return self._plan(tier).monthly_quota if of_key is None else of_key

    def _plan(self, tier: str) -> Plan:
        """A tier that the settings do not name has their own limits."""
        return self._settings.plans.get(tier, Plan())
