"""Rows of users: what is checked as they are written."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from serval.errors import Conflict, NameTaken
from serval.users.names import check_email
from serval.users.tables import User

MAX_USERNAME_ATTEMPTS = 20
"""Usernames that are tried when the one derived from an email address is taken."""


async def insert(session: AsyncSession, user: User, *, is_named: bool) -> None:
    """Add a user; a derived username that is taken gets a number. Raises NameTaken."""
    if await session.scalar(select(User.id).where(User.email == user.email)) is not None:
        raise NameTaken(f"`email`: `{user.email}` has an account already.")
    suggested = user.username
    for number in range(2, MAX_USERNAME_ATTEMPTS + 2):
        if await session.scalar(select(User.id).where(User.username == user.username)) is None:
            break
        if is_named:
            raise NameTaken(f"`username`: `{suggested}` is taken.")
        user.username = f"{suggested}-{number if number < MAX_USERNAME_ATTEMPTS else user.id[-8:].lower()}"
    session.add(user)
    await _flush(session)


async def apply(session: AsyncSession, user: User, changes: Mapping[str, Any]) -> None:
    """Change fields of a user. Raises BadRequest, NameTaken."""
    for name, value in changes.items():
        setattr(user, name, check_email(value) if name == "email" else value)
    await _flush(session)


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError:  # a concurrent transaction was first
        raise NameTaken("Another account has this address or username.") from None


async def check_not_last_administrator(session: AsyncSession, user: User) -> None:
    """Raises Conflict where a user is the last administrator."""
    others = (
        select(func.count())
        .select_from(User)
        .where(User.role == "admin", User.disabled_at.is_(None), User.id != user.id)
    )
    if user.role == "admin" and user.disabled_at is None and not await session.scalar(others):
        raise Conflict(f"`{user.username}` is the last administrator: make another user an administrator first.")
