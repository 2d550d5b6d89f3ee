"""How many bytes the models of a user may take on disk."""

from serval.errors import StorageQuotaExceeded
from serval.users.limits import UserLimits
from serval.users.tables import User


class StorageQuota:
    """Holds users to the bytes that their models may take."""

    def __init__(self, limits: UserLimits, failed_upload_days: float) -> None:
        self._limits = limits
        self._failed_upload_days = failed_upload_days

    def left_bytes(self, user: User) -> int:
        """Return how much more a user may store; negative after their limit was lowered."""
        return self._limits.max_stored_bytes(user.subscription_tier) - user.stored_bytes

    def check(self, user: User, size_bytes: int) -> None:
        """Raises StorageQuotaExceeded where a file of this size would be too much."""
        if size_bytes > self.left_bytes(user):
            raise self.refusal(user)

    def refusal(self, user: User) -> StorageQuotaExceeded:
        limit_bytes = self._limits.max_stored_bytes(user.subscription_tier)
        return StorageQuotaExceeded(
            f"The models of `{user.username}` take {user.stored_bytes} of {limit_bytes} bytes (`max_stored_bytes`); "
            "this file would take more than is left. `DELETE /api/v1/models/{model}?purge=true` (`serval model delete "
            f"NAME --purge`) frees the bytes of a model at once; those of failed uploads go after "
            f"{self._failed_upload_days:g} days (`failed_upload_days`); an administrator can choose another plan."
        )
