"""Who is calling, as the routes see it."""

from datetime import datetime
from typing import Literal, Protocol, get_args

import msgspec

from serval.auth.credentials import Credential
from serval.settings.plans import Rate

Role = Literal["admin", "user"]

Scope = Literal["predict", "models:read", "models:write", "admin"]
"""What a key may be for. `admin`: the account itself and its keys, and for administrators everybody's."""

SCOPES: tuple[Scope, ...] = get_args(Scope)


class ClientInfo(msgspec.Struct, frozen=True):
    """Where a request came from, for the audit trail."""

    address: str
    request_id: str


HERE = ClientInfo("", "")
"""Of acts of the server itself."""


class Quota(msgspec.Struct, frozen=True):
    """What a key has used of what it may do in a calendar month (UTC)."""

    used: int
    allowed: int
    resets_at: datetime


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A user known by a valid credential."""

    user_id: str
    username: str
    role: Role
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    """Ids of the models that the key is for; None: all that the user may see."""
    key_id: str | None
    """None: a login, not a key."""
    session_id: str | None
    digest: bytes
    """SHA-256 of what was presented."""
    expires_at: datetime | None
    api_rate: Rate | None
    predict_limits: tuple[tuple[str, Rate], ...]
    """(`kind:id`, rate) of each account that a prediction is charged to."""
    quota: Quota | None
    origin: ClientInfo = HERE

    @property
    def is_admin(self) -> bool:
        """Whether everybody's things are open to the caller: an administrator's key without the scope opens their own
        alone."""
        return self.role == "admin" and "admin" in self.scopes

    @property
    def can_predict(self) -> bool:
        return "predict" in self.scopes

    @property
    def credential_id(self) -> str:
        return self.key_id or self.session_id or ""

    def may_see(self, owner_id: str) -> bool:
        """Whether things of an owner exist for this caller."""
        return self.is_admin or self.user_id == owner_id

    def may_use(self, model_id: str) -> bool:
        """Whether the key is for a model; whether the user may see it is another question."""
        return self.models is None or model_id in self.models


class FindCaller(Protocol):
    """Looks up who presents a credential. Raises NotAuthenticated when it opens nothing."""

    async def __call__(self, presented: Credential, origin: ClientInfo) -> Caller: ...
