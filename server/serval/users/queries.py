"""Finds users by id, username or email address, and names them."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import AuditSubject
from serval.errors import NotFound
from serval.users.tables import User


async def find_user(session: AsyncSession, reference: str, *, hint: str = "") -> User:
    """Return a user by id or username. Raises NotFound, whose message ends with the hint."""
    return existing(await session.scalar(select(User).where(User.called(reference))), reference, hint=hint)


async def find_account(session: AsyncSession, reference: str, *, to_change: bool = False, hint: str = "") -> User:
    """Return a user by id, username or email address; `to_change` locks the row. Raises NotFound, whose message ends
    with the hint."""
    query = select(User).where(is_account(reference))
    return existing(await session.scalar(query.with_for_update() if to_change else query), reference, hint=hint)


def is_account(reference: str) -> ColumnElement[bool]:
    """Of users: the one with an id, username or email address."""
    return User.email == reference.lower() if "@" in reference else User.called(reference)


async def get_user(session: AsyncSession, user_id: str, *, to_change: bool = False) -> User:
    """Return a user by id; `to_change` locks the row. Raises NotFound."""
    return existing(await session.get(User, user_id, with_for_update=to_change or None), user_id)


def subject_of(user: User) -> AuditSubject:
    """Return a user as the audit trail names them."""
    return AuditSubject(user.id, user.username, user.id)


def existing(user: User | None, reference: str, *, hint: str = "") -> User:
    """Return a user who exists. Raises NotFound."""
    if user is None:
        raise NotFound(f"There is no user `{reference[:100]}`{hint}.")
    return user
