"""Rows of API keys: creation, queries, and the key families of rotations."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.auth import key_format
from serval.auth.caller import Caller, Scope
from serval.errors import NameTaken, NotFound, NotPermitted
from serval.ids import new_id
from serval.users.months import month_of
from serval.users.tables import ApiKey, KeyUsage, User
from serval.users.usage import USED, counted_in


class KeyWithUsage(NamedTuple):
    """A key and its predictions of this month."""

    row: ApiKey
    used: int


def new_row(
    user_id: str,
    name: str,
    secret: str,
    at: datetime,
    *,
    scopes: Sequence[Scope],
    models: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    predict_rate: str | None = None,
    monthly_quota: int | None = None,
) -> ApiKey:
    """Return the row of a key, from which the key cannot be recovered."""
    return ApiKey(
        id=new_id("key"),
        user_id=user_id,
        name=name,
        digest=key_format.digest(secret),
        prefix=key_format.visible_prefix(secret),
        scopes=list(scopes),
        models=None if models is None else list(models),
        predict_rate=predict_rate,
        monthly_quota=monthly_quota,
        created_at=at,
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
        replaced_by=None,
    )


def keys_with_usage(at: datetime) -> Select[ApiKey, int]:
    """Return the query of keys, each with its predictions in the month of a moment."""
    return select(ApiKey, USED).select_from(ApiKey).outerjoin(KeyUsage, counted_in(month_of(at)))


async def keys_of(
    session: AsyncSession, caller: Caller, owner_id: str, before: str | None, limit: int, at: datetime
) -> list[KeyWithUsage]:
    """Return keys of an owner that are for no other models than the caller's, newest first. `before`: a key's id;
    `at`: a moment of the month whose predictions are counted."""
    query = keys_with_usage(at).where(ApiKey.user_id == owner_id).order_by(ApiKey.id.desc()).limit(limit)
    keys: list[KeyWithUsage] = []
    while True:
        page = [
            KeyWithUsage(row, used)
            for row, used in await session.execute(query if before is None else query.where(ApiKey.id < before))
        ]
        keys += [key for key in page if caller.covers(key.row.models)]
        if len(page) < limit or len(keys) >= limit:
            return keys[:limit]
        before = page[-1].row.id


async def one_key(session: AsyncSession, query: Select[ApiKey, int]) -> KeyWithUsage | None:
    """Return the key that a query finds."""
    row = (await session.execute(query)).one_or_none()
    return None if row is None else KeyWithUsage(row[0], row[1])


async def check_name(session: AsyncSession, new: ApiKey, at: datetime) -> None:
    """Raises NameTaken if another valid key of the same user has the name of a new one.

    Locks the user: of two keys that are created at once, the second sees the first.
    """
    await session.scalar(select(User.id).where(User.id == new.user_id).with_for_update())
    is_valid = and_(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at))
    named = select(ApiKey).where(ApiKey.user_id == new.user_id, ApiKey.name == new.name, is_valid)
    taken = await session.scalar(named.order_by(ApiKey.id.desc()).limit(1))
    if taken is not None:
        raise NameTaken(
            f"You have a valid key `{new.name}` already (`{taken.id}`, starts with {taken.prefix}): choose another"
            " name, rotate that key, or revoke it first."
        )


def visible_key(caller: Caller, key: KeyWithUsage | None, key_id: str) -> KeyWithUsage:
    """Return a key that a caller may see. Raises NotFound, NotPermitted where the caller's key is for fewer models."""
    if key is None or not caller.may_see(key.row.user_id):
        raise NotFound(f"There is no API key `{key_id[:100]}`.")
    if not caller.covers(key.row.models):
        raise NotPermitted(
            f"This API key is for some models only, and the key `{key_id}` for others too: "
            "use a key for all models, or log in."
        )
    return key


async def locked_family(session: AsyncSession, caller: Caller, key_id: str) -> Sequence[ApiKey]:
    """Return a key of the caller and those that it replaced, locked in the order of their ids.

    Raises NotFound, NotPermitted.
    """
    row = await session.get(ApiKey, key_id)
    owner_id = visible_key(caller, None if row is None else KeyWithUsage(row, 0), key_id).row.user_id
    if owner_id != caller.user_id:
        raise NotPermitted("Only the owner of a key may see its successor: revoke the key instead.")
    query = (
        select(ApiKey)
        .where(ApiKey.user_id == owner_id, or_(ApiKey.id == key_id, ApiKey.replaced_by == key_id))
        .order_by(ApiKey.id)
    )
    return (await session.scalars(query.with_for_update(of=ApiKey).execution_options(populate_existing=True))).all()
