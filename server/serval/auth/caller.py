"""The caller of a request, as the routes see it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, get_args

import msgspec

from serval.auth.credentials import Credential
from serval.settings.addresses import limited_network
from serval.settings.plans import Rate

Role = Literal["admin", "user"]

Scope = Literal["predict", "models:read", "models:write", "admin"]
"""What a key may be used for. `admin`: the account itself and its keys, and for administrators those of everybody."""

SCOPES: tuple[Scope, ...] = get_args(Scope)


class ClientInfo(msgspec.Struct, frozen=True):
    """Where a request came from, for the audit trail."""

    address: str
    request_id: str

    @property
    def network(self) -> str:
        """What limits by address apply to."""
        return limited_network(self.address)


SERVER_ITSELF = ClientInfo("", "")
"""The client of acts of the server itself."""


class Quota(msgspec.Struct, frozen=True):
    """The predictions that a key has used, and may use, in a calendar month (UTC)."""

    used: int
    allowed: int
    resets_at: datetime


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A user authenticated by a valid credential."""

    user_id: str
    username: str
    role: Role
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    """Ids of the models that the key is restricted to; None: no restriction."""
    key_id: str | None
    """None: a login, not a key."""
    session_id: str | None
    digest: bytes
    """SHA-256 of the credential."""
    expires_at: datetime | None
    api_rate: Rate | None
    predict_limits: tuple[tuple[str, Rate], ...]
    """(`kind:id`, rate) of each limit that a prediction is charged to."""
    quota: Quota | None
    is_metered: bool = False
    """Whether the key has a rate or a quota of its own."""
    origin: ClientInfo = SERVER_ITSELF

    @property
    def is_admin(self) -> bool:
        """Whether the caller may use the resources of every user: an administrator, with the scope `admin`."""
        return self.role == "admin" and "admin" in self.scopes

    @property
    def can_predict(self) -> bool:
        return "predict" in self.scopes

    @property
    def can_read(self) -> bool:
        """Whether the caller may read what is stored of models."""
        return "models:read" in self.scopes

    @property
    def credential_id(self) -> str:
        return self.key_id or self.session_id or ""

    def may_see(self, owner_id: str) -> bool:
        """Whether resources of an owner exist for this caller."""
        return self.is_admin or self.user_id == owner_id

    def may_use(self, model_id: str) -> bool:
        """Whether the key is for a model; whether the user may see the model is a separate question."""
        return self.models is None or model_id in self.models

    def covers(self, models: Sequence[str] | None) -> bool:
        """Whether a key for these models (None: all) is for no others than the caller's key is."""
        return self.models is None or (models is not None and self.models.issuperset(models))


class FindCaller(Protocol):
    """Looks up the caller of a credential. Raises NotAuthenticated where the credential is not valid."""

    async def __call__(self, credential: Credential, client: ClientInfo, /) -> Caller: ...
