"""Who is calling, as the routes see it."""

from datetime import datetime
from typing import Protocol

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """A user known by a valid credential."""

    user_id: str
    username: str
    role: str
    key_id: str
    key_digest: bytes
    expires_at: datetime | None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def may_see(self, owner_id: str) -> bool:
        """Whether things of an owner exist for this caller."""
        return self.is_admin or self.user_id == owner_id


class FindCaller(Protocol):
    """Looks a key up by its SHA-256. Raises NotAuthenticated when it opens nothing."""

    async def __call__(self, digest: bytes) -> Caller: ...
