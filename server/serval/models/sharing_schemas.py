"""What the routes of shares take and give."""

from datetime import datetime
from typing import Annotated

import msgspec

from serval.errors import BadRequest
from serval.http.request import PLAIN_TEXT
from serval.models.access import Permission
from serval.models.tables import Share


class ShareRequest(msgspec.Struct, forbid_unknown_fields=True):
    """With whom a model is to be shared: `user` or `everybody`."""

    permission: Permission
    """`predict`: ask the model and see what it is; `manage`: also its versions and settings."""
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=254, pattern=PLAIN_TEXT)] | None = None
    """Username, id or email address."""
    everybody: bool = False
    """All users of this server; for `predict` only."""

    def receiver(self) -> str | None:
        """Return the user, None for everybody. Raises BadRequest where it is neither or both."""
        if (self.user is None) is not self.everybody:
            raise BadRequest('Say with whom: `"user": "<name, id or email address>"`, or `"everybody": true`.')
        return self.user


class ShareView(msgspec.Struct):
    """Somebody who may use a model that is not theirs."""

    id: str
    user: str | None
    """Name; null: everybody."""
    user_id: str | None
    everybody: bool
    permission: Permission
    created_at: datetime

    @classmethod
    def of(cls, share: Share) -> "ShareView":
        name = None if share.user is None else share.user.username
        return cls(share.id, name, share.user_id, share.user_id is None, share.permission, share.created_at)


class ShareList(msgspec.Struct):
    items: list[ShareView]
