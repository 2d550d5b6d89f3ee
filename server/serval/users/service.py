"""People and their keys: the first administrator, new keys, revoked keys, who a key belongs to."""

import os
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from serval.auth import keys
from serval.auth.caller import SCOPES, Caller, Origin
from serval.auth.credentials import Presented
from serval.changes import Changes
from serval.data_plane import Publisher
from serval.db.base import now
from serval.db.engine import Database
from serval.errors import BadRequest, NotAuthenticated, NotFound
from serval.ids import new_id
from serval.users.limits import UserLimits
from serval.users.tables import ApiKey, User

ADMIN_KEY_FILE = "admin.key"


def unknown_key() -> NotAuthenticated:
    """What whoever presents a key that opens nothing is told."""
    return NotAuthenticated("The API key is unknown, revoked or expired.")


class UserService:
    """Reads and writes users and API keys."""

    def __init__(self, database: Database, publisher: Publisher, changes: Changes, limits: UserLimits) -> None:
        self._database = database
        self._publisher = publisher
        self._changes = changes
        self._limits = limits
        changes.on("key", lambda digest: publisher.forget_caller(bytes.fromhex(digest)), reset=publisher.forget_callers)

    async def find_caller(self, presented: Presented, origin: Origin) -> Caller:
        """Return who presents a credential. Raises NotAuthenticated."""
        digest = presented.digest
        key = None if presented.kind == "token" or self._publisher.is_unknown(digest) else await self._find_key(digest)
        if key is None:
            raise unknown_key()
        return Caller(
            user_id=key.user_id,
            username=key.user.username,
            role=key.user.role,
            scopes=frozenset(key.scopes),
            models=None if key.models is None else frozenset(key.models),
            key_id=key.id,
            session_id=None,
            digest=key.digest,
            expires_at=key.expires_at,
            api_rate=self._limits.api_rate(key.user.subscription_tier),
            predict_limits=self._limits.predict_limits(key.user_id, key.user.subscription_tier, key.id, key.predict_rate),
            quota=None,
            origin=origin,
        )

    async def _find_key(self, digest: bytes) -> ApiKey | None:
        async with self._database.read() as session:
            key = await session.scalar(select(ApiKey).where(ApiKey.digest == digest))
        if key is not None and key.is_valid(now()):
            return key
        if key is None or key.user.disabled_at is None:  # whoever is let in again has waited long enough
            self._publisher.put_unknown(digest)
        return None

    async def list_keys(self, caller: Caller) -> list[ApiKey]:
        """Return the caller's keys, newest first, revoked ones included."""
        async with self._database.read() as session:
            keys_ = await session.scalars(select(ApiKey).where(ApiKey.user_id == caller.user_id).order_by(ApiKey.id.desc()))
            return list(keys_)

    async def create_key(self, caller: Caller, name: str, expires_in_days: int | None) -> tuple[ApiKey, str]:
        """Return a new key of the caller: its row and, this once, the key itself."""
        secret = keys.new_key()
        expires_at = None if expires_in_days is None else now() + timedelta(days=expires_in_days)
        return await self._store_key(caller.user_id, name, secret, expires_at), secret

    async def _store_key(self, user_id: str, name: str, secret: str, expires_at: datetime | None) -> ApiKey:
        if not name.strip():
            raise BadRequest("`name`: give the key a name to recognise it by.")
        row = ApiKey(
            id=new_id("key"),
            user_id=user_id,
            name=name.strip(),
            digest=keys.digest(secret),
            prefix=keys.visible_prefix(secret),
            scopes=list(SCOPES),
            created_at=now(),
            expires_at=expires_at,
            revoked_at=None,
        )
        async with self._database.write() as session:
            session.add(row)
        self._publisher.forget_unknown(row.digest)
        return row

    async def revoke_key(self, caller: Caller, key_id: str) -> None:
        """Revoke a key of the caller (an administrator: of anybody): here at once, on other replicas within a second. Raises NotFound."""
        async with self._database.write() as session:
            row = await session.get(ApiKey, key_id)
            if row is None or not caller.may_see(row.user_id):
                raise NotFound(f"There is no API key `{key_id}`.")
            row.revoked_at = row.revoked_at or now()
            self._changes.record(session, "key", row.digest.hex())
        self._publisher.forget_caller(row.digest)

    async def ensure_administrator(self, data_dir: Path) -> Path | None:
        """Make the first administrator and write its key to `admin.key` (mode 0600); return that file when it was written."""
        async with self._database.read() as session:
            admin_id = await session.scalar(select(User.id).where(User.role == "admin").order_by(User.id).limit(1))
            has_key = admin_id and await session.scalar(select(ApiKey.id).where(ApiKey.user_id == admin_id).limit(1))
        if has_key:
            return None
        if admin_id is None:
            admin_id = new_id("usr")
            async with self._database.write() as session:
                session.add(User(id=admin_id, username="admin", role="admin", created_at=now()))
        # The file comes first: a crash in between leaves a key that opens nothing, and the next start makes another.
        path, secret = data_dir / ADMIN_KEY_FILE, keys.new_key()
        _write_private(path, secret + "\n")
        await self._store_key(admin_id, "first key", secret, None)
        return path


def _write_private(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
