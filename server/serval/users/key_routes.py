"""Routes of API keys."""

from typing import Annotated

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from serval.auth.caller import Caller
from serval.errors import Conflict, NameTaken, NotFound
from serval.http.openapi import JSON_ERRORS, KEYED, keyed_responses, operation
from serval.http.pagination import Limit, cursor_of, page
from serval.http.request import PLAIN_TEXT, Name
from serval.users.key_schemas import OVERLAP_SECONDS, CreatedKey, KeyList, KeyView, NewKey, Rotation
from serval.users.keys import KeyService

UserFilter = Annotated[
    str | None,
    QueryParameter(
        name="user",
        pattern=PLAIN_TEXT,
        max_length=100,
        required=False,
        description="For administrators: id or username of another user",
    ),
]
Cursor = Annotated[str | None, cursor_of("key")]


class ApiKeyController(Controller):
    """The caller's own keys; administrators see and revoke those of every user."""

    path = "/api/v1/api-keys"
    tags = ("Keys",)

    @get(
        operation_id="list_keys",
        summary="List your keys, newest first, including expired and revoked ones",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def list_keys(
        self,
        caller: NamedDependency[Caller],
        keys: NamedDependency[KeyService],
        user: UserFilter = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> KeyList:
        """List keys without their secrets: what each may do, for which models, until when, and its use this month."""
        counted_keys = await keys.list_keys(caller, user=user, before=cursor, limit=limit + 1)
        return KeyList(*page(counted_keys, limit, lambda counted: KeyView.of(*counted)))

    @get(
        "/{key_id:str}",
        operation_id="get_key",
        summary="Show a key",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_key(
        self, key_id: Name, caller: NamedDependency[Caller], keys: NamedDependency[KeyService]
    ) -> KeyView:
        """Show one of your keys without its secret; administrators see those of everybody."""
        return KeyView.of(*await keys.get_key(caller, key_id))

    @post(
        operation_id="create_key",
        summary="Create a key; it is shown once",
        responses=keyed_responses(NotFound, NameTaken, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def create_key(
        self, data: JSONBody[NewKey], caller: NamedDependency[Caller], keys: NamedDependency[KeyService]
    ) -> CreatedKey:
        """Create a key of your own, with all rights of the key that creates it or fewer, and a name that none of your
        valid keys has. The response is the only one that ever shows it."""
        return CreatedKey.of(*await keys.create_key(caller, data))

    @post(
        "/{key_id:str}/rotate",
        operation_id="rotate_key",
        summary="Create the successor of a key; it is shown once, and the old key expires after an overlap",
        responses=keyed_responses(NotFound, Conflict, *JSON_ERRORS),
        operation_class=operation(is_body_required=False),
    )
    async def rotate_key(
        self,
        key_id: Name,
        caller: NamedDependency[Caller],
        keys: NamedDependency[KeyService],
        data: JSONBody[Rotation | None] = None,
    ) -> CreatedKey:
        """Replace a key by a new one with the same rights. The old one stays valid for `overlap_seconds`, a day by
        default."""
        return CreatedKey.of(
            *await keys.rotate_key(caller, key_id, OVERLAP_SECONDS if data is None else data.overlap_seconds)
        )

    @delete(
        "/{key_id:str}",
        operation_id="revoke_key",
        summary="Revoke a key",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def revoke_key(
        self, key_id: Name, caller: NamedDependency[Caller], keys: NamedDependency[KeyService]
    ) -> None:
        """End a key at once, on all servers of one database within a second."""
        await keys.revoke_key(caller, key_id)
