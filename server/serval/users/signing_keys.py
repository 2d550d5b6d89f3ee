"""The keys that sign access tokens: stored in the database, and rotated without ending logins."""

import asyncio
import secrets
import time
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import AuditSubject, record
from serval.auth import tokens
from serval.auth.caller import Caller
from serval.auth.tokens import Claims
from serval.changes import Changes
from serval.db.engine import Database, now
from serval.ids import new_id
from serval.users.tables import SigningKey

SECRET_BYTES = 32
MAX_KEYS = 2
"""The key that signs, and the one before it, whose tokens are still in use."""
RELOAD_SECONDS = 1.0
"""Least time between two reloads for an unknown `kid`."""


class SigningKeys:
    """Signs access tokens with the newest key and verifies those of every stored key."""

    def __init__(self, database: Database, changes: Changes, key_days: float, token_minutes: float) -> None:
        self._database = database
        self._changes = changes
        self._key_age = timedelta(days=key_days)
        self.token_seconds = int(token_minutes * 60)
        self._keys: list[SigningKey] = []
        self._loaded_at = 0.0
        self._clears = 0
        self._lock = asyncio.Lock()
        changes.on("signing_key", lambda _: self._clear(), reset=self._clear)

    async def sign(self, user_id: str, session_id: str) -> str:
        """Return an access token for a login. Raises DatabaseUnavailable."""
        newest = await self._newest()
        return tokens.sign(newest.secret, newest.id, user_id, session_id, self.token_seconds)

    async def read(self, token: str) -> Claims:
        """Return the claims of an access token. Raises NotAuthenticated, DatabaseUnavailable."""
        key_id = tokens.key_id_of(token)
        secret = self._secret(key_id)
        if secret is None and time.monotonic() - self._loaded_at > RELOAD_SECONDS:
            async with self._lock:
                await self._load()
            secret = self._secret(key_id)
        if secret is None:
            raise tokens.not_valid()
        return tokens.read(token, secret)

    async def replace(self, caller: Caller, *, revoke_issued_tokens: bool) -> str:
        """Sign with a new key from now on; return its id. `revoke_issued_tokens` invalidates all earlier tokens."""
        async with self._database.write() as session:
            key_id = await self._rotate(session, revoke_issued_tokens=revoke_issued_tokens)
            record(
                session,
                caller,
                "signing_key.rotate",
                AuditSubject(key_id, key_id, None),
                revoke_issued_tokens=revoke_issued_tokens,
            )
        self._clear()
        return key_id

    async def _rotate(self, session: AsyncSession, *, revoke_issued_tokens: bool = False) -> str:
        key = SigningKey(id=new_id("sgk"), secret=secrets.token_bytes(SECRET_BYTES), created_at=now())
        session.add(key)
        await session.flush()
        newest = (
            select(SigningKey.id)
            .order_by(SigningKey.created_at.desc(), SigningKey.id.desc())
            .limit(1 if revoke_issued_tokens else MAX_KEYS)
        )
        kept_ids = list(await session.scalars(newest))
        await session.execute(delete(SigningKey).where(SigningKey.id.not_in(kept_ids)))
        self._changes.record(session, "signing_key", key.id)
        return key.id

    async def _newest(self) -> SigningKey:
        async with self._lock:
            if not self._keys:
                await self._load()
            if not self._keys or now() - self._keys[0].created_at > self._key_age:
                await self._rotate_if_due()
                await self._load()
            return self._keys[0]

    async def _rotate_if_due(self) -> None:
        """Add a key unless another replica has done so."""
        async with self._database.write() as session:
            newest = await session.scalar(
                select(SigningKey).order_by(SigningKey.created_at.desc()).limit(1).with_for_update()
            )
            if newest is None or now() - newest.created_at > self._key_age:
                await self._rotate(session)

    async def _load(self) -> None:
        query = select(SigningKey).order_by(SigningKey.created_at.desc(), SigningKey.id.desc())
        while True:
            clears = self._clears
            async with self._database.read() as session:
                keys = list(await session.scalars(query))
            if clears == self._clears:  # a change in the meantime may not be among them
                break
        self._keys, self._loaded_at = keys, time.monotonic()

    def _secret(self, key_id: str) -> bytes | None:
        return next((key.secret for key in self._keys if key.id == key_id), None)

    def _clear(self) -> None:
        self._keys = []
        self._loaded_at = 0.0
        self._clears += 1
