"""API keys: made, listed, rotated, revoked, and who one belongs to."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import Subject, record
from serval.auth import key_format as keys
from serval.auth.caller import Caller, ClientInfo, Quota, Scope
from serval.auth.credentials import Credential
from serval.changes import Changes
from serval.data_plane.plane import Callers
from serval.db.base import now
from serval.db.engine import Database
from serval.errors import Conflict, NotAuthenticated, NotFound, NotPermitted
from serval.ids import new_id
from serval.users.callers import caller_of
from serval.users.grants import check_models, check_scopes, expiry_of, expiry_of_next, name_of, scopes_of
from serval.users.key_schemas import NewKey
from serval.users.limits import UserLimits
from serval.users.months import end_of_month, month_of
from serval.users.tables import ApiKey, KeyUsage, User
from serval.users.usage import USED, UsageRecorder, counted_in

FindModel = Callable[[Caller, str], Awaitable[str]]
"""Returns the id of a model that a caller names by id, name or `owner/name`. Raises NotFound."""


class CountedKey(NamedTuple):
    """A key and the predictions that are counted for it this month."""

    row: ApiKey
    used: int


class MadeKey(NamedTuple):
    """A key just made and, this once, the key itself."""

    row: ApiKey
    secret: str


def unknown_key() -> NotAuthenticated:
    """What whoever presents a key that opens nothing is told."""
    return NotAuthenticated("The API key is unknown, revoked or expired.")


class KeyService:
    """Reads and writes API keys."""

    def __init__(
        self,
        database: Database,
        callers: Callers,
        changes: Changes,
        limits: UserLimits,
        uses: UsageRecorder,
        find_model: FindModel,
    ) -> None:
        self._database = database
        self._callers = callers
        self._changes = changes
        self._limits = limits
        self._uses = uses
        self._find_model = find_model
        changes.on("key", lambda digest: callers.revoke(bytes.fromhex(digest)), reset=callers.revoke_all)

    async def find_caller(self, presented: Credential, origin: ClientInfo) -> Caller:
        """Return who presents a key. Raises NotAuthenticated."""
        at = now()
        found = None if self._callers.is_unknown(presented.digest) else await self._look_up(presented, at)
        if found is None:
            raise unknown_key()
        key = found.row
        allowed = self._limits.monthly_quota(key.user.subscription_tier, key.monthly_quota)
        self._uses.note(key.id, has_quota=allowed is not None)
        quota = None if allowed is None else Quota(found.used, allowed, end_of_month(at))
        return caller_of(key.user, self._limits, presented, origin, expires_at=key.expires_at, key=key, quota=quota)

    async def _look_up(self, presented: Credential, at: datetime) -> CountedKey | None:
        async with self._database.read() as session:
            found = await _one(session, _keys(at).where(ApiKey.digest == presented.digest))
        if found is not None and found.row.is_valid(at):
            return found
        if found is None or found.row.user.disabled_at is None:  # whoever is let in again has waited long enough
            self._callers.put_unknown(presented.digest)
        return None

    async def list_keys(self, caller: Caller, *, user: str | None, before: str | None, limit: int) -> list[CountedKey]:
        """Return keys of the caller, newest first, expired and revoked ones too.

        `user`: id or username of whose keys an administrator wants to see. `before`: the id of a key, only older ones.
        Raises NotPermitted,
        NotFound.
        """
        async with self._database.read() as session:
            owner_id = caller.user_id if user is None else await _whose(session, caller, user)
            query = _keys(now()).where(ApiKey.user_id == owner_id).order_by(ApiKey.id.desc()).limit(limit)
            found = await session.execute(query if before is None else query.where(ApiKey.id < before))
            return [CountedKey(row, used) for row, used in found]

    async def get_key(self, caller: Caller, key_id: str) -> CountedKey:
        """Return a key of the caller, for an administrator of anybody. Raises NotFound."""
        async with self._database.read() as session:
            return _visible(caller, await _one(session, _keys(now()).where(ApiKey.id == key_id)), key_id)

    async def create_key(self, caller: Caller, asked: NewKey) -> MadeKey:
        """Make a key of the caller, for no more than what the caller presents is for. Raises BadRequest, NotPermitted,
        NotFound."""
        at, secret = now(), keys.new_key()
        row = new_row(
            caller.user_id,
            name_of(asked.name),
            secret,
            at,
            scopes=scopes_of(caller, asked.scopes),
            models=await self._models_of(caller, asked.models),
            expires_at=expiry_of(caller, at, asked.expires_in_days, asked.expires_at),
            predict_rate=asked.predict_rate,
            monthly_quota=asked.monthly_quota,
        )
        async with self._database.write() as session:
            await self._check_quota(session, caller, asked.monthly_quota)
            session.add(row)
            record(session, caller, "key.create", _subject(row), **_details(row))
        self._callers.forget_unknown(row.digest)
        return MadeKey(row, secret)

    async def _models_of(self, caller: Caller, asked: Sequence[str] | None) -> list[str] | None:
        """The ids of the models that a new key is for; without any, those that its maker is for."""
        if asked is None:
            return None if caller.models is None else sorted(caller.models)
        ids = list(dict.fromkeys([await self._find_model(caller, model) for model in asked]))
        check_models(caller, ids)
        return ids

    async def _check_quota(self, session: AsyncSession, caller: Caller, wanted: int | None) -> None:
        """Nobody gives themselves more than their plan does. Raises NotPermitted."""
        if wanted is None or caller.is_admin:
            return
        user = await session.get_one(User, caller.user_id)
        allowed = self._limits.monthly_quota(user.subscription_tier, None)
        if allowed is not None and wanted > allowed:
            raise NotPermitted(
                f"`monthly_quota`: the plan `{user.subscription_tier}` lets a key predict {allowed} times a month at most."
            )

    async def rotate_key(self, caller: Caller, key_id: str, overlap_seconds: int) -> MadeKey:
        """Make the key that takes over from one of the caller's, which goes on opening things for a while.

        Here the old one stops in time to the second, elsewhere within a second. Raises NotFound, NotPermitted,
        Conflict.
        """
        at, secret = now(), keys.new_key()
        async with self._database.write() as session:
            family = await _locked_family(session, caller, key_id)
            old = next(row for row in family if row.id == key_id)
            _check_rotatable(caller, old, at)
            new = new_row(
                old.user_id,
                old.name,
                secret,
                at,
                scopes=old.scopes,
                models=old.models,
                expires_at=expiry_of_next(caller, at, old.created_at, old.expires_at),
                predict_rate=old.predict_rate,
                monthly_quota=old.monthly_quota,
            )
            session.add(new)
            ends_at = at + timedelta(seconds=overlap_seconds)
            old.expires_at = ends_at if old.expires_at is None else min(old.expires_at, ends_at)
            for row in family:
                row.replaced_by = new.id
            await session.execute(update(KeyUsage).where(KeyUsage.key_id == old.id).values(key_id=new.id))
            self._changes.record(session, "key", old.digest.hex())
            record(
                session,
                caller,
                "key.rotate",
                _subject(old),
                replaced_by=new.id,
                overlap_seconds=overlap_seconds,
                **_details(new),
            )
        self._callers.revoke(old.digest)
        self._callers.forget_unknown(new.digest)
        return MadeKey(new, secret)

    async def revoke_key(self, caller: Caller, key_id: str) -> None:
        """Revoke a key of the caller (an administrator: of anybody): here at once, on other replicas within a second.
        Raises NotFound."""
        async with self._database.write() as session:
            found = await session.get(ApiKey, key_id, with_for_update={"of": ApiKey})
            row = _visible(caller, None if found is None else CountedKey(found, 0), key_id).row
            if row.revoked_at is None:
                row.revoked_at = now()
                self._changes.record(session, "key", row.digest.hex())
                record(session, caller, "key.revoke", _subject(row), **_details(row))
        self._callers.revoke(row.digest)


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
    """Return the row of a key, which holds nothing that the key could be made from."""
    return ApiKey(
        id=new_id("key"),
        user_id=user_id,
        name=name,
        digest=keys.digest(secret),
        prefix=keys.visible_prefix(secret),
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


def _keys(at: datetime) -> Select[ApiKey, int]:
    """Keys, each with the predictions that are counted for it in the month of a moment."""
    return select(ApiKey, USED).select_from(ApiKey).outerjoin(KeyUsage, counted_in(month_of(at)))


async def _one(session: AsyncSession, query: Select[ApiKey, int]) -> CountedKey | None:
    found = (await session.execute(query)).one_or_none()
    return None if found is None else CountedKey(found[0], found[1])


async def _whose(session: AsyncSession, caller: Caller, reference: str) -> str:
    """The id of the user whose keys are asked for."""
    if reference in {caller.user_id, caller.username}:
        return caller.user_id
    if not caller.is_admin:
        raise NotPermitted("Only administrators may see the keys of others.")
    user_id = await session.scalar(select(User.id).where(User.called(reference)))
    if user_id is None:
        raise NotFound(f"There is no user `{reference[:100]}`.")
    return user_id


def _visible(caller: Caller, found: CountedKey | None, key_id: str) -> CountedKey:
    if found is None or not caller.may_see(found.row.user_id):
        raise NotFound(f"There is no API key `{key_id[:100]}`.")
    return found


async def _locked_family(session: AsyncSession, caller: Caller, key_id: str) -> Sequence[ApiKey]:
    """A key of the caller and those that it has replaced, locked in the order of their ids. Raises NotFound,
    NotPermitted."""
    row = await session.get(ApiKey, key_id)
    owner_id = _visible(caller, None if row is None else CountedKey(row, 0), key_id).row.user_id
    if owner_id != caller.user_id:
        raise NotPermitted("Only whom a key belongs to may see the one that takes over: revoke it instead.")
    query = (
        select(ApiKey)
        .where(ApiKey.user_id == owner_id, or_(ApiKey.id == key_id, ApiKey.replaced_by == key_id))
        .order_by(ApiKey.id)
    )
    return (await session.scalars(query.with_for_update(of=ApiKey).execution_options(populate_existing=True))).all()


def _check_rotatable(caller: Caller, row: ApiKey, at: datetime) -> None:
    if (
        row.revoked_at is not None
        or row.replaced_by is not None
        or (row.expires_at is not None and row.expires_at <= at)
    ):
        state = "revoked" if row.revoked_at else "rotated already" if row.replaced_by else "expired"
        raise Conflict(f"The key `{row.id}` is {state}: make a new one.")
    check_scopes(caller, frozenset(row.scopes))
    check_models(caller, row.models)


def _subject(row: ApiKey) -> Subject:
    return Subject(row.id, row.name, row.user_id)


def _details(row: ApiKey) -> dict[str, Any]:
    """What the audit trail keeps of a key."""
    return {"prefix": row.prefix, "scopes": row.scopes, "models": row.models}
