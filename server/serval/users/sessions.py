"""Logins: short-lived access tokens, single-use refresh tokens, and the end of a login."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import AuditSubject, record_unauthenticated
from serval.auth import key_format
from serval.auth.caller import Caller, ClientInfo
from serval.auth.credentials import Credential
from serval.auth.tokens import not_valid
from serval.changes import Changes
from serval.data_plane.plane import Callers
from serval.db.engine import Database, now
from serval.errors import NotAuthenticated
from serval.ids import new_id
from serval.settings.plans import Rate
from serval.users.callers import caller_of
from serval.users.limits import UserLimits
from serval.users.signing_keys import SigningKeys
from serval.users.tables import LoginSession, RefreshToken, User

GRACE = timedelta(seconds=10)
"""How long a used refresh token may be used again: two tabs of a browser refresh at the same time."""
RETENTION = timedelta(days=1)
"""How long ended logins are kept."""


class RefreshGrant(NamedTuple):
    """A new or refreshed login and its next refresh token."""

    user_id: str
    session_id: str
    refresh_token: str


class LoginTokens(NamedTuple):
    """The tokens of a login."""

    session_id: str
    access_token: str
    access_seconds: int
    refresh_token: str
    refresh_seconds: int


class SessionService:
    """Opens, refreshes and ends logins."""

    def __init__(
        self,
        database: Database,
        callers: Callers,
        changes: Changes,
        signing_keys: SigningKeys,
        limits: UserLimits,
        refresh_days: float,
        refresh_secret: bytes,
    ) -> None:
        """`refresh_secret`: what successors of refresh tokens are made with, the same on every replica."""
        self._database = database
        self._callers = callers
        self._changes = changes
        self._signing_keys = signing_keys
        self._limits = limits
        self._lifetime = timedelta(days=refresh_days)
        self._refresh_secret = refresh_secret
        changes.on("user", callers.revoke_user, reset=callers.revoke_all)

    async def find_caller(self, presented: Credential, origin: ClientInfo) -> Caller:
        """Return who presents an access token. Raises NotAuthenticated."""
        if self._callers.is_unknown(presented.digest):
            raise not_valid()
        try:
            claims = await self._signing_keys.read(presented.text)
            login = await self._find(claims.session_id)
        except NotAuthenticated:
            self._callers.put_unknown(presented.digest)
            raise
        return caller_of(
            login.user,
            self._limits,
            presented,
            origin,
            expires_at=datetime.fromtimestamp(claims.expires_at, UTC),
            session_id=login.id,
        )

    async def _find(self, session_id: str) -> LoginSession:
        async with self._database.read() as session:
            login = await session.get(LoginSession, session_id)
        if (
            login is None
            or login.ended_at is not None
            or login.expires_at <= now()
            or login.user.disabled_at is not None
        ):
            raise not_valid()
        return login

    async def open(self, session: AsyncSession, user: User, client: ClientInfo) -> RefreshGrant:
        """Open a new login in a transaction, whatever credential the request has; `issue` returns its tokens."""
        await self._sweep(session, user.id)
        login = LoginSession(
            id=new_id("ses"),
            user_id=user.id,
            address=client.address,
            created_at=now(),
            expires_at=now() + self._lifetime,
            ended_at=None,
        )
        session.add(login)
        await session.flush()
        refresh_token = key_format.new_key(key_format.REFRESH_PREFIX)
        _add_token(session, login.id, refresh_token)
        return RefreshGrant(user.id, login.id, refresh_token)

    async def issue(self, grant: RefreshGrant) -> LoginTokens:
        """Return the tokens of a login, after its transaction: rotating a signing key needs one of its own."""
        access_token = await self._signing_keys.sign(grant.user_id, grant.session_id)
        seconds = int(self._lifetime.total_seconds())
        return LoginTokens(
            grant.session_id, access_token, self._signing_keys.token_seconds, grant.refresh_token, seconds
        )

    async def refresh(self, refresh_token: str, client: ClientInfo) -> LoginTokens:
        """Replace a refresh token by its successor, which is the same for all who ask within its grace period; reusing
        one after that ends the login. Raises NotAuthenticated."""
        grant: RefreshGrant | None = None
        async with self._database.write() as session:
            token = await self._token(session, refresh_token)
            if token.used_at is not None and now() - token.used_at > GRACE:
                self._end(session, token.session)
                subject = AuditSubject(token.session_id, token.session.user.username, token.session.user_id)
                record_unauthenticated(
                    session, client, "session.reuse", subject, "failure", token.session.user.username
                )
            else:
                token.used_at = token.used_at or now()
                token.session.expires_at = now() + self._lifetime
                await _delete_old_tokens(session, token.session_id, now() - self._lifetime)
                successor = key_format.successor(refresh_token, self._refresh_secret)
                if await session.get(RefreshToken, key_format.digest(successor)) is None:
                    _add_token(session, token.session_id, successor)
                grant = RefreshGrant(token.session.user_id, token.session_id, successor)
        if grant is None:
            self._callers.revoke_user(token.session.user_id)
            raise NotAuthenticated(
                "This refresh token was used before and may have been copied, so the login has ended: log in again."
            )
        return await self.issue(grant)

    async def session_of(self, refresh_token: str) -> LoginSession:
        """Return the login that a refresh token belongs to. Raises NotAuthenticated."""
        async with self._database.read() as session:
            return (await self._token(session, refresh_token)).session

    def api_rate_of(self, login: LoginSession) -> Rate | None:
        """Return the rate of its user's requests; None: unlimited."""
        return self._limits.api_rate(login.user.subscription_tier)

    async def end(self, session_id: str) -> LoginSession | None:
        """End a login, here at once and elsewhere within a second; None: it has ended or does not exist."""
        async with self._database.write(spends_reserve=True) as session:
            login = await session.get(LoginSession, session_id, with_for_update={"of": LoginSession})
            if login is None or login.ended_at is not None:
                return None
            self._end(session, login)
        self._callers.revoke_user(login.user_id)
        return login

    async def end_all(self, session: AsyncSession, user_id: str, *, except_id: str | None = None) -> None:
        """End the logins of a user in a transaction; call `forget_user` after it. `except_id`: a login to keep."""
        query = update(LoginSession).where(LoginSession.user_id == user_id, LoginSession.ended_at.is_(None))
        if except_id is not None:
            query = query.where(LoginSession.id != except_id)
        await session.execute(query.values(ended_at=now()))
        self._changes.record(session, "user", user_id)

    def forget_user(self, user_id: str) -> None:
        """Make the data plane look up every credential of a user again."""
        self._callers.revoke_user(user_id)

    def _end(self, session: AsyncSession, login: LoginSession) -> None:
        login.ended_at = now()
        self._changes.record(session, "user", login.user_id)

    async def _token(self, session: AsyncSession, refresh_token: str) -> RefreshToken:
        """Return the row of a refresh token of an open login, and lock it."""
        query = (
            select(RefreshToken)
            .where(RefreshToken.digest == key_format.digest(refresh_token))
            .with_for_update(of=RefreshToken)
        )
        is_well_formed = key_format.is_key(refresh_token, key_format.REFRESH_PREFIX)
        token = await session.scalar(query) if is_well_formed else None
        if (
            token is None
            or token.session.ended_at is not None
            or token.session.expires_at <= now()
            or token.session.user.disabled_at
        ):
            raise NotAuthenticated("The refresh token is not valid, or its login has ended: log in again.")
        return token

    async def _sweep(self, session: AsyncSession, user_id: str) -> None:
        """Delete old ended logins of a user, whose number would otherwise grow without bound."""
        is_old = (LoginSession.expires_at < now() - RETENTION) | (LoginSession.ended_at < now() - RETENTION)
        old_ids = list(
            await session.scalars(select(LoginSession.id).where(LoginSession.user_id == user_id, is_old).limit(1000))
        )
        await session.execute(delete(RefreshToken).where(RefreshToken.session_id.in_(old_ids)))
        await session.execute(delete(LoginSession).where(LoginSession.id.in_(old_ids)))


def _add_token(session: AsyncSession, session_id: str, refresh_token: str) -> None:
    session.add(
        RefreshToken(digest=key_format.digest(refresh_token), session_id=session_id, created_at=now(), used_at=None)
    )


async def _delete_old_tokens(session: AsyncSession, session_id: str, before: datetime) -> None:
    """Delete used tokens, whose number would otherwise grow for as long as the login is refreshed."""
    await session.execute(
        delete(RefreshToken).where(RefreshToken.session_id == session_id, RefreshToken.used_at < before)
    )
