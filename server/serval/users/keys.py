"""API keys: creation, listing, rotation, revocation, and the caller of one."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import AuditSubject, record
from serval.auth import key_format
from serval.auth.caller import Caller, ClientInfo, Quota
from serval.auth.credentials import Credential
from serval.changes import Changes
from serval.data_plane.plane import Callers
from serval.db.engine import Database, now
from serval.errors import Conflict, NotAuthenticated, NotPermitted
from serval.users.callers import caller_of
from serval.users.grants import check_models, check_scopes, expiry_of, name_of, scopes_of, successor_expiry
from serval.users.key_rows import (
    KeyWithUsage,
    check_name,
    keys_of,
    keys_with_usage,
    locked_family,
    new_row,
    one_key,
    visible_key,
)
from serval.users.key_schemas import NewKey
from serval.users.limits import UserLimits
from serval.users.months import end_of_month
from serval.users.queries import find_user
from serval.users.tables import ApiKey, KeyUsage, User
from serval.users.usage import UsageRecorder

FindModel = Callable[[Caller, str], Awaitable[str]]
"""Returns the id of a model by its id, name or `owner/name`. Raises NotFound."""


class KeyWithSecret(NamedTuple):
    """A new key and its secret, which is not stored."""

    row: ApiKey
    secret: str


def unknown_key() -> NotAuthenticated:
    """Return the error of a key that is not valid."""
    return NotAuthenticated("The API key is unknown, revoked or expired.")


class KeyService:
    """Creates, lists, rotates and revokes API keys, and finds their callers."""

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
        """Return the caller of a key. Raises NotAuthenticated."""
        at = now()
        found = None if self._callers.is_unknown(presented.digest) else await self._look_up(presented, at)
        if found is None:
            raise unknown_key()
        key = found.row
        allowed = self._limits.monthly_quota(key.user.subscription_tier, key.monthly_quota)
        self._uses.note(key.id, has_quota=allowed is not None)
        quota = None if allowed is None else Quota(found.used, allowed, end_of_month(at))
        return caller_of(key.user, self._limits, presented, origin, expires_at=key.expires_at, key=key, quota=quota)

    async def _look_up(self, presented: Credential, at: datetime) -> KeyWithUsage | None:
        async with self._database.read() as session:
            found = await one_key(session, keys_with_usage(at).where(ApiKey.digest == presented.digest))
        if found is not None and found.row.is_valid(at):
            return found
        if found is None or found.row.user.disabled_at is None:  # the key of an enabled user must work at once
            self._callers.put_unknown(presented.digest)
        return None

    async def list_keys(
        self, caller: Caller, *, user: str | None, before: str | None, limit: int
    ) -> list[KeyWithUsage]:
        """Return keys of the caller, newest first, including expired and revoked ones; of a key for some models, those
        for no others.

        `user`: id or username of the owner, for administrators. `before`: the id of a key; only older ones.
        Raises NotPermitted, NotFound.
        """
        async with self._database.read() as session:
            owner_id = caller.user_id if user is None else await _owner_id(session, caller, user)
            return await keys_of(session, caller, owner_id, before, limit, now())

    async def get_key(self, caller: Caller, key_id: str) -> KeyWithUsage:
        """Return a key of the caller, or for an administrator of any user. Raises NotFound."""
        async with self._database.read() as session:
            return visible_key(
                caller, await one_key(session, keys_with_usage(now()).where(ApiKey.id == key_id)), key_id
            )

    async def create_key(self, caller: Caller, request: NewKey) -> KeyWithSecret:
        """Create a key of the caller, with no more access than the caller's credential has.

        Raises BadRequest, NotPermitted, NotFound, NameTaken.
        """
        at, secret = now(), key_format.new_key()
        row = new_row(
            caller.user_id,
            name_of(request.name),
            secret,
            at,
            scopes=scopes_of(caller, request.scopes),
            models=await self._models_of(caller, request.models),
            expires_at=expiry_of(caller, at, request.expires_in_days, request.expires_at),
            predict_rate=request.predict_rate,
            monthly_quota=request.monthly_quota,
        )
        async with self._database.write() as session:
            await self._check_quota(session, caller, request.monthly_quota)
            await check_name(session, row, at)
            session.add(row)
            record(session, caller, "key.create", _subject(row), **_details(row))
        self._callers.forget_unknown(row.digest)
        return KeyWithSecret(row, secret)

    async def _models_of(self, caller: Caller, references: Sequence[str] | None) -> list[str] | None:
        """Return the ids of the models of a new key; None: those of the creating key."""
        if references is None:
            return None if caller.models is None else sorted(caller.models)
        ids = list(dict.fromkeys([await self._find_model(caller, model) for model in references]))
        check_models(caller, ids)
        return ids

    async def _check_quota(self, session: AsyncSession, caller: Caller, quota: int | None) -> None:
        """Raises NotPermitted where a quota exceeds the plan of its user."""
        if quota is None or caller.is_admin:
            return
        user = await session.get_one(User, caller.user_id)
        allowed = self._limits.monthly_quota(user.subscription_tier, None)
        if allowed is not None and quota > allowed:
            raise NotPermitted(
                f"`monthly_quota`: the plan `{user.subscription_tier}` allows at most {allowed} predictions a month."
            )

    async def rotate_key(self, caller: Caller, key_id: str, overlap_seconds: int) -> KeyWithSecret:
        """Create the successor of a key of the caller; the old key expires after an overlap.

        It expires on time here, and within a second elsewhere. Raises NotFound, NotPermitted, Conflict.
        """
        at, secret = now(), key_format.new_key()
        async with self._database.write() as session:
            family = await locked_family(session, caller, key_id)
            old = next(row for row in family if row.id == key_id)
            _check_rotatable(caller, old, at)
            new = new_row(
                old.user_id,
                old.name,
                secret,
                at,
                scopes=old.scopes,
                models=old.models,
                expires_at=successor_expiry(caller, at, old.created_at, old.expires_at),
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
        return KeyWithSecret(new, secret)

    async def revoke_key(self, caller: Caller, key_id: str) -> None:
        """Revoke a key of the caller (an administrator: of any user), here at once and elsewhere within a second.

        Raises NotFound.
        """
        async with self._database.write(spends_reserve=True) as session:
            stored = await session.get(ApiKey, key_id, with_for_update={"of": ApiKey})
            row = visible_key(caller, None if stored is None else KeyWithUsage(stored, 0), key_id).row
            if row.revoked_at is None:
                row.revoked_at = now()
                self._changes.record(session, "key", row.digest.hex())
                record(session, caller, "key.revoke", _subject(row), **_details(row))
        self._callers.revoke(row.digest)


async def _owner_id(session: AsyncSession, caller: Caller, reference: str) -> str:
    """Return the id of the user whose keys are listed."""
    if reference in {caller.user_id, caller.username}:
        return caller.user_id
    if not caller.is_admin:
        raise NotPermitted("Only administrators may list the keys of other users.")
    return (await find_user(session, reference)).id


def _check_rotatable(caller: Caller, row: ApiKey, at: datetime) -> None:
    if (
        row.revoked_at is not None
        or row.replaced_by is not None
        or (row.expires_at is not None and row.expires_at <= at)
    ):
        state = "revoked" if row.revoked_at else "already rotated" if row.replaced_by else "expired"
        raise Conflict(f"The key `{row.id}` is {state}: create a new one.")
    check_scopes(caller, frozenset(row.scopes))
    check_models(caller, row.models)


def _subject(row: ApiKey) -> AuditSubject:
    return AuditSubject(row.id, row.name, row.user_id)


def _details(row: ApiKey) -> dict[str, Any]:
    """Return the details of a key in the audit trail."""
    return {"prefix": row.prefix, "scopes": row.scopes, "models": row.models}
