"""Routes of users: their own account, and for administrators every account."""

from typing import Annotated

import msgspec
from litestar import Controller, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from serval.auth.caller import Caller
from serval.errors import BadRequest, Conflict, NameTaken, NotFound
from serval.http.openapi import JSON_ERRORS, KEYED, keyed_responses, operation
from serval.http.pagination import Limit, cursor_of, page
from serval.http.request import PLAIN_TEXT, Name
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
from serval.users.service import UserService

Search = Annotated[
    str | None,
    QueryParameter(
        name="search", pattern=PLAIN_TEXT, max_length=100, required=False, description="Part of a name or email address"
    ),
]
Cursor = Annotated[str | None, cursor_of("usr")]


class UserController(Controller):
    """Users."""

    path = "/api/v1/users"
    tags = ("Users",)

    @get(
        "/me",
        operation_id="get_current_user",
        summary="Show the current user",
        responses=keyed_responses(),
        operation_class=KEYED,
    )
    async def get_current_user(self, caller: NamedDependency[Caller], users: NamedDependency[UserService]) -> UserView:
        """Show the account of the key or login that asks."""
        return UserView.of(await users.get_user(caller.user_id))

    @patch(
        "/me",
        operation_id="update_current_user",
        summary="Update your name or email address",
        responses=keyed_responses(NameTaken, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def update_current_user(
        self, data: JSONBody[Profile], caller: NamedDependency[Caller], users: NamedDependency[UserService]
    ) -> UserView:
        """Change your own full name or email address; fields that the body leaves out stay as they are."""
        return UserView.of(await users.update_profile(caller, _changes(data)))

    @post(
        "/me/password",
        operation_id="change_password",
        summary="Change your password and end your other logins",
        status_code=204,
        responses=keyed_responses(*JSON_ERRORS),
        operation_class=KEYED,
    )
    async def change_password(
        self, data: JSONBody[PasswordChange], caller: NamedDependency[Caller], users: NamedDependency[UserService]
    ) -> None:
        """Set a new password, which takes the current one. All your other logins end; keys stay."""
        await users.change_password(caller, data.current_password, data.new_password)

    @get(operation_id="list_users", summary="List users", responses=keyed_responses(), operation_class=KEYED)
    async def list_users(
        self,
        users: NamedDependency[UserService],
        search: Search = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> UserList:
        """List the accounts of this server, page by page, or search them by a part of a name or an email address."""
        rows = await users.list_users(search=search, after=cursor, limit=limit + 1)
        return UserList(*page(rows, limit, UserView.of))

    @post(
        operation_id="create_user",
        summary="Create a user",
        responses=keyed_responses(NameTaken, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def create_user(
        self, data: JSONBody[NewUser], caller: NamedDependency[Caller], users: NamedDependency[UserService]
    ) -> UserView:
        """Create an account. Without a password or a password hash it can use keys only, until a password is set."""
        return UserView.of(await users.create_user(caller, **msgspec.structs.asdict(data)))

    @get(
        "/{user:str}",
        operation_id="get_user",
        summary="Show a user, by id, username or email address",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_user(self, user: Name, users: NamedDependency[UserService]) -> UserView:
        """Show an account."""
        return UserView.of(await users.find_user(user))

    @patch(
        "/{user:str}",
        operation_id="update_user",
        summary="Update a user's role, plan, name or email address",
        responses=keyed_responses(NotFound, Conflict, NameTaken, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def update_user(
        self,
        user: Name,
        data: JSONBody[UserChange],
        caller: NamedDependency[Caller],
        users: NamedDependency[UserService],
    ) -> UserView:
        """Change the role, the plan, the full name or the email address of an account."""
        return UserView.of(await users.update_user(caller, user, _changes(data)))

    @post(
        "/{user:str}/disable",
        operation_id="disable_user",
        summary="Disable a user: their logins end and their keys stop working, everywhere within a second",
        status_code=200,
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def disable_user(
        self, user: Name, caller: NamedDependency[Caller], users: NamedDependency[UserService]
    ) -> UserView:
        """Lock an account without deleting anything. It can be enabled again."""
        return UserView.of(await users.disable_user(caller, user))

    @post(
        "/{user:str}/enable",
        operation_id="enable_user",
        summary="Enable a disabled user",
        status_code=200,
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def enable_user(
        self, user: Name, caller: NamedDependency[Caller], users: NamedDependency[UserService]
    ) -> UserView:
        """Unlock a disabled account: its keys work again, and it can log in."""
        return UserView.of(await users.enable_user(caller, user))

    @post(
        "/{user:str}/password",
        operation_id="reset_password",
        summary="Reset a user's password and end their logins; the new one is shown once",
        status_code=200,
        responses=keyed_responses(NotFound, *JSON_ERRORS),
        operation_class=operation(is_body_required=False),
    )
    async def reset_password(
        self,
        user: Name,
        caller: NamedDependency[Caller],
        users: NamedDependency[UserService],
        data: JSONBody[PasswordReset | None] = None,
    ) -> NewPassword:
        """Set a new password for an account, a generated one where the body has none, and end its logins."""
        row, password = await users.reset_password(caller, user, None if data is None else data.password)
        return NewPassword(row.username, password)


def _changes(data: msgspec.Struct) -> dict[str, object]:
    """Return the fields that a body has. Raises BadRequest where it has none."""
    changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    if not changes:
        raise BadRequest("The body changes nothing: name the fields to change.")
    return changes
