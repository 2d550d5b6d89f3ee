"""Schemas of users and logins."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from serval.auth.caller import Role
from serval.http.request import PLAIN_TEXT
from serval.users.tables import User

Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=PLAIN_TEXT)]
Username = Annotated[str, Meta(min_length=3, max_length=50, pattern=PLAIN_TEXT)]
FullName = Annotated[str, Meta(max_length=100, pattern=PLAIN_TEXT)]
Password = Annotated[str, Meta(max_length=1024)]
Account = Annotated[str, Meta(min_length=1, max_length=254, pattern=PLAIN_TEXT)]
Tier = Annotated[str, Meta(min_length=1, max_length=40, pattern=PLAIN_TEXT)]


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """A user who registers."""

    email: Email
    password: Password
    full_name: FullName = ""
    username: Username | None = None
    """Derived from the email address by default."""


class RegistrationReceived(msgspec.Struct):
    """What becomes of a registration where anybody may register: it is not told, so that nobody learns who has an
    account."""

    detail: str = (
        "If neither the email address nor the username had an account, there is one now: log in. "
        "If that fails, one of them is taken: choose others, or ask an administrator."
    )


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user whom an administrator creates."""

    email: Email
    password: Password | None = None
    password_hash: Annotated[str, Meta(max_length=500)] | None = None
    """Argon2 or bcrypt, of a user imported from another system."""
    full_name: FullName = ""
    username: Username | None = None
    role: Role = "user"

    def __post_init__(self) -> None:
        if self.password is not None and self.password_hash is not None:
            raise ValueError("give one of `password` and `password_hash`")


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """A login by email address or username."""

    password: Password
    email: Account | None = None
    username: Account | None = None
    cookies: bool = False
    """Store the login in cookies, which scripts cannot read, instead of returning its tokens."""

    def __post_init__(self) -> None:
        if (self.email is None) == (self.username is None):
            raise ValueError("give one of `email` and `username`")

    @property
    def account(self) -> str:
        return self.email or self.username or ""


class Refresh(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[str, Meta(max_length=200)] | None = None
    """Default: the one in the cookie."""


class Tokens(msgspec.Struct):
    """The tokens of a login; send the access token in `Authorization: Bearer`."""

    access_token: str
    refresh_token: str
    """Can be used once."""
    expires_in: int
    """Seconds for which the access token is valid."""
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 the name of a scheme


class CookieLogin(msgspec.Struct):
    """A login in cookies; send `csrf_token` in `X-CSRF-Token` with every request that changes something."""

    csrf_token: str
    expires_in: int
    token_type: Literal["cookie"] = "cookie"  # noqa: S105 the name of a scheme


class UserView(msgspec.Struct):
    """A user, as they and administrators see them."""

    id: str
    username: str
    email: str | None
    full_name: str
    role: Role
    subscription_tier: str
    stored_bytes: int
    """What the files of their models take on disk, deleted ones included."""
    is_disabled: bool
    created_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User) -> "UserView":
        return cls(
            id=user.id,
            username=user.username,
            email=user.email,
            full_name=user.full_name,
            role=user.role,
            subscription_tier=user.subscription_tier,
            stored_bytes=user.stored_bytes,
            is_disabled=user.disabled_at is not None,
            created_at=user.created_at,
            last_login_at=user.last_login_at,
        )


class UserList(msgspec.Struct):
    items: list[UserView]
    next: str | None
    """`cursor` of the next page."""


class Profile(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of a user by themselves."""

    full_name: FullName | UnsetType = UNSET
    email: Email | UnsetType = UNSET


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of a user by an administrator."""

    role: Role | UnsetType = UNSET
    subscription_tier: Tier | UnsetType = UNSET
    full_name: FullName | UnsetType = UNSET
    email: Email | UnsetType = UNSET


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    current_password: Password
    new_password: Password


class PasswordReset(msgspec.Struct, forbid_unknown_fields=True):
    password: Password | None = None
    """Default: a generated one."""


class NewPassword(msgspec.Struct):
    """A new password; shown once."""

    username: str
    password: str


class KeyRotation(msgspec.Struct, forbid_unknown_fields=True):
    revoke_issued_tokens: bool = False
    """Invalidate all tokens signed so far, where a signing key has leaked."""


class SigningKeyView(msgspec.Struct):
    id: str
    """The `kid` of the tokens that it signs."""
