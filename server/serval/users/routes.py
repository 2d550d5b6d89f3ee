"""HTTP for API keys."""

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from serval.auth.caller import Caller
from serval.errors import NotFound, TooLarge, UnreadableBody, UnsupportedContent
from serval.http.contract import KEYED
from serval.http.problems import keyed_responses
from serval.http.request import Name
from serval.users.schemas import CreatedKey, KeyList, KeyView, NewKey
from serval.users.service import UserService


class ApiKeyController(Controller):
    """The caller's own keys."""

    path = "/api/v1/api-keys"
    tags = ("API keys",)

    @get(summary="List your keys", responses=keyed_responses(), operation_class=KEYED)
    async def list_keys(self, caller: NamedDependency[Caller], users: NamedDependency[UserService]) -> KeyList:
        return KeyList([KeyView.of(row) for row in await users.list_keys(caller)])

    @post(
        summary="Make a key; it is shown this once",
        responses=keyed_responses(UnreadableBody, TooLarge, UnsupportedContent),
        operation_class=KEYED,
    )
    async def create_key(self, data: JSONBody[NewKey], caller: NamedDependency[Caller], users: NamedDependency[UserService]) -> CreatedKey:
        row, secret = await users.create_key(caller, data.name, data.expires_in_days)
        return CreatedKey(row.id, row.name, secret, row.prefix, row.created_at, row.expires_at)

    @delete("/{key_id:str}", summary="Revoke a key", responses=keyed_responses(NotFound), operation_class=KEYED)
    async def revoke_key(self, key_id: Name, caller: NamedDependency[Caller], users: NamedDependency[UserService]) -> None:
        await users.revoke_key(caller, key_id)
