"""Limits of users and keys: those of the key, of the user's plan, and of the settings."""

from serval.settings.plans import Plan, Rate, rate_of
from serval.settings.settings import Settings


class UserLimits:
    """Resolves limits from the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def api_rate(self, tier: str) -> Rate | None:
        """Return the rate of a user's requests other than predictions; None: unlimited."""
        return rate_of(self._plan(tier).api_rate or self._settings.api_rate)

    def predict_limits(
        self, user_id: str, tier: str, key_id: str | None = None, key_rate: str | None = None
    ) -> tuple[tuple[str, Rate], ...]:
        """Return the limits that a prediction is charged to, as (`kind:id`, rate): the user's and the key's own."""
        rates = (
            (f"user:{user_id}", self._plan(tier).predict_rate or self._settings.predict_rate),
            (f"key:{key_id}", key_rate),
        )
        return tuple((subject, rate) for subject, text in rates if (rate := rate_of(text)) is not None)

    def monthly_quota(self, tier: str, key_quota: int | None) -> int | None:
        """Return the monthly predictions of a key; None: unlimited."""
        return self._plan(tier).monthly_quota if key_quota is None else key_quota

    def max_stored_bytes(self, tier: str) -> int:
        """Return how many bytes the files of a user's models may take."""
        of_plan = self._plan(tier).max_stored_bytes
        return self._settings.max_stored_bytes if of_plan is None else of_plan

    def _plan(self, tier: str) -> Plan:
        """Return the plan of a tier; one without limits of its own where the settings do not name it."""
        return self._settings.plans.get(tier, Plan())
