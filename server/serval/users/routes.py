"""HTTP for users: oneself, and everybody for administrators."""

from typing import Annotated

import msgspec
from litestar import Controller, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from serval.auth.caller import Caller
from serval.errors import BadRequest, Conflict, NameTaken, NotFound
from serval.http.openapi import KEYED, operation
from serval.http.pagination import Limit, cursor_of
from serval.http.problems import JSON_ERRORS, keyed_responses
from serval.http.request import PLAIN_TEXT, HttpRequest, Name
from serval.users.schemas import (
    NewPassword,
    NewUser,
    PasswordChange,
    PasswordReset,
    Profile,
    UserChange,
    UserList,
    UserView,
)
from serval.users.service import AccountService

Search = Annotated[
    str | None,
    QueryParameter(
        name="search", pattern=PLAIN_TEXT, max_length=100, required=False, description="Part of a name or address"
    ),
]
Cursor = Annotated[str | None, cursor_of("usr")]


class UserController(Controller):
    """Users."""

    path = "/api/v1/users"
    tags = ("Accounts",)

    @get("/me", summary="Who you are, as /api/v1/auth/me", responses=keyed_responses(), operation_class=KEYED)
    async def show_me(self, caller: NamedDependency[Caller], accounts: NamedDependency[AccountService]) -> UserView:
        return UserView.of(await accounts.get(caller.user_id))

    @patch(
        "/me",
        summary="Change your name or address",
        responses=keyed_responses(NameTaken, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def change_me(
        self, data: JSONBody[Profile], caller: NamedDependency[Caller], accounts: NamedDependency[AccountService]
    ) -> UserView:
        return UserView.of(await accounts.change_profile(caller, _given(data)))

    @post(
        "/me/password",
        summary="Change your password; your other logins end",
        status_code=204,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=KEYED,
    )
    async def change_password(
        self, data: JSONBody[PasswordChange], caller: NamedDependency[Caller], accounts: NamedDependency[AccountService]
    ) -> None:
        await accounts.change_password(caller, data.current_password, data.new_password)

    @get(summary="List users", responses=keyed_responses(), operation_class=KEYED)
    async def list_users(
        self,
        request: HttpRequest,
        accounts: NamedDependency[AccountService],
        search: Search = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> UserList:
        request.check_query("search", "cursor", "limit")
        found = await accounts.list(search=search, after=cursor, limit=limit + 1)
        items = [UserView.of(user) for user in found[:limit]]
        return UserList(items, items[-1].id if len(found) > limit else None)

    @post(
        summary="Make an account for somebody",
        responses=keyed_responses(NameTaken, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def create_user(
        self, data: JSONBody[NewUser], caller: NamedDependency[Caller], accounts: NamedDependency[AccountService]
    ) -> UserView:
        return UserView.of(await accounts.create(caller, **msgspec.structs.asdict(data)))

    @get(
        "/{user:str}",
        summary="Show a user, by id, username or address",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def show_user(self, user: Name, accounts: NamedDependency[AccountService]) -> UserView:
        return UserView.of(await accounts.find(user))

    @patch(
        "/{user:str}",
        summary="Change a user's role, plan, name or address",
        responses=keyed_responses(NotFound, Conflict, NameTaken, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def change_user(
        self,
        user: Name,
        data: JSONBody[UserChange],
        caller: NamedDependency[Caller],
        accounts: NamedDependency[AccountService],
    ) -> UserView:
        return UserView.of(await accounts.change(caller, user, _given(data)))

    @post(
        "/{user:str}/disable",
        summary="End a user's logins and close their keys, within a second everywhere",
        status_code=200,
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def disable_user(
        self, user: Name, caller: NamedDependency[Caller], accounts: NamedDependency[AccountService]
    ) -> UserView:
        return UserView.of(await accounts.disable(caller, user))

    @post(
        "/{user:str}/enable",
        summary="Let a disabled user in again",
        status_code=200,
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def enable_user(
        self, user: Name, caller: NamedDependency[Caller], accounts: NamedDependency[AccountService]
    ) -> UserView:
        return UserView.of(await accounts.enable(caller, user))

    @post(
        "/{user:str}/password",
        summary="Give a user another password, shown this once; their logins end",
        status_code=200,
        responses=keyed_responses(NotFound, *JSON_ERRORS),
        operation_class=operation(is_body_required=False),
    )
    async def reset_password(
        self,
        user: Name,
        caller: NamedDependency[Caller],
        accounts: NamedDependency[AccountService],
        data: JSONBody[PasswordReset | None] = None,
    ) -> NewPassword:
        row, password = await accounts.reset_password(caller, user, None if data is None else data.password)
        return NewPassword(row.username, password)


def _given(data: msgspec.Struct) -> dict[str, object]:
    """The fields that a body has. Raises BadRequest where it has none."""
    given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    if not given:
        raise BadRequest("The body changes nothing: name what is to be changed.")
    return given
