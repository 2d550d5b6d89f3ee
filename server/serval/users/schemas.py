"""What the routes of keys take and give."""

from datetime import datetime
from typing import Annotated

import msgspec

from serval.http.request import PLAIN_TEXT
from serval.users.tables import ApiKey


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """A key to be made."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=PLAIN_TEXT)]
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] | None = None


class KeyView(msgspec.Struct):
    """A key as it is listed: never the key itself."""

    id: str
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: ApiKey) -> "KeyView":
        return cls(row.id, row.name, row.prefix, row.created_at, row.expires_at, row.revoked_at)


class CreatedKey(msgspec.Struct):
    """A key just made; `key` is shown this once."""

    id: str
    name: str
    key: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None


class KeyList(msgspec.Struct):
    items: list[KeyView]
