"""Schemas of API keys."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from serval.auth.caller import SCOPES, Scope
from serval.http.request import PLAIN_TEXT
from serval.settings.plans import RateText, with_unit
from serval.users.tables import ApiKey

OVERLAP_SECONDS = 86_400
"""How long a rotated key stays valid by default."""
_MAX_OVERLAP_SECONDS = 30 * 86_400

ScopeText = Annotated[str, Meta(max_length=100, pattern=PLAIN_TEXT, extra_json_schema={"examples": list(SCOPES)})]
"""Read as text, so that an unknown scope is refused with the list of scopes."""
ModelName = Annotated[str, Meta(min_length=1, max_length=200, pattern=PLAIN_TEXT)]
"""Id, name or `owner/name`."""


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """A new key. Omitted fields inherit from the key that creates it."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=PLAIN_TEXT)]
    scopes: Annotated[list[ScopeText], Meta(max_length=20)] | None = None
    """`predict`, `models:read` and `models:write`, which are the default, or `admin`."""
    models: Annotated[list[ModelName], Meta(min_length=1, max_length=100)] | None = None
    """Ids, names or `owner/name` of the models that it is restricted to; default: no restriction."""
    expires_in_days: Annotated[int, Meta(ge=1, le=36500)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    """By default a key does not expire."""
    predict_rate: RateText | None = None
    """Rate of this key's predictions, besides that of its user: `100/min`, `5/s`; `5` is `5/s`."""
    monthly_quota: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    """Predictions of this key in a calendar month (UTC)."""


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """Options of a rotation."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=_MAX_OVERLAP_SECONDS)] = OVERLAP_SECONDS
    """How long the old key stays valid; 0: it stops at once."""


class KeyView(msgspec.Struct):
    """A key without its secret."""

    id: str
    name: str
    user: str
    """Username of its owner."""
    prefix: str
    scopes: list[Scope]
    models: list[str] | None
    """Ids of the models that it is restricted to; null: no restriction."""
    predict_rate: str | None
    monthly_quota: int | None
    used_this_month: int
    """Predictions, including those of its predecessors and successors; a few seconds late."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """A few seconds late."""
    replaced_by: str | None
    """The id of its newest successor."""

    @classmethod
    def of(cls, row: ApiKey, used: int) -> "KeyView":
        return cls(
            id=row.id,
            name=row.name,
            user=row.user.username,
            prefix=row.prefix,
            scopes=row.scopes,
            models=row.models,
            predict_rate=with_unit(row.predict_rate),
            monthly_quota=row.monthly_quota,
            used_this_month=used,
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
            replaced_by=row.replaced_by,
        )


class CreatedKey(msgspec.Struct):
    """A new key; `key` is shown once."""

    id: str
    name: str
    key: str
    prefix: str
    scopes: list[Scope]
    models: list[str] | None
    predict_rate: str | None
    monthly_quota: int | None
    created_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, row: ApiKey, secret: str) -> "CreatedKey":
        return cls(
            id=row.id,
            name=row.name,
            key=secret,
            prefix=row.prefix,
            scopes=row.scopes,
            models=row.models,
            predict_rate=with_unit(row.predict_rate),
            monthly_quota=row.monthly_quota,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )


class KeyList(msgspec.Struct):
    """A page; `next` is the cursor of the page after it."""

    items: list[KeyView]
    next: str | None
