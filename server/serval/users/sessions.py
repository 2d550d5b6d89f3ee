"""Logins: access tokens that are short, refresh tokens that are used once, and how a login ends."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import Subject, record_unknown
from serval.auth import key_format as keys
from serval.auth.caller import Caller, ClientInfo
from serval.auth.credentials import Credential
from serval.auth.tokens import not_valid
from serval.changes import Changes
from serval.data_plane.plane import Callers
from serval.db.base import now
from serval.db.engine import Database
from serval.errors import NotAuthenticated
from serval.ids import new_id
from serval.users.callers import caller_of
from serval.users.limits import UserLimits
from serval.users.signing_keys import SigningKeys
from serval.users.tables import LoginSession, RefreshToken, User

GRACE = timedelta(seconds=10)
"""How long a refresh token that was just used may be used again: two tabs of a browser refresh at the same time."""
SWEPT = timedelta(days=1)
"""What ended so long ago is forgotten."""


class Opened(NamedTuple):
    """A login that has begun or goes on, with its next refresh token."""

    user_id: str
    session_id: str
    refresh_token: str


class LoggedIn(NamedTuple):
    """What a login gets."""

    session_id: str
    access_token: str
    access_seconds: int
    refresh_token: str
    refresh_seconds: int


class SessionService:
    """Opens logins, goes on with them, ends them."""

    def __init__(
        self,
        database: Database,
        callers: Callers,
        changes: Changes,
        ring: SigningKeys,
        limits: UserLimits,
        refresh_days: float,
    ) -> None:
        self._database = database
        self._callers = callers
        self._changes = changes
        self._ring = ring
        self._limits = limits
        self._lifetime = timedelta(days=refresh_days)
        changes.on("user", callers.revoke_user, reset=callers.revoke_all)

    async def find_caller(self, presented: Credential, origin: ClientInfo) -> Caller:
        """Return who presents an access token. Raises NotAuthenticated."""
        if self._callers.is_unknown(presented.digest):
            raise not_valid()
        try:
            claims = await self._ring.read(presented.text)
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

    async def open(self, session: AsyncSession, user: User, origin: ClientInfo) -> Opened:
        """Begin a login in a transaction, always a new one, whatever the request presented; `grant` gives it its access
        token."""
        await self._sweep(session, user.id)
        login = LoginSession(
            id=new_id("ses"),
            user_id=user.id,
            address=origin.address,
            created_at=now(),
            expires_at=now() + self._lifetime,
            ended_at=None,
        )
        session.add(login)
        await session.flush()
        return _issue(session, login)

    async def grant(self, opened: Opened) -> LoggedIn:
        """Return the tokens of a login, after its transaction: a key that is due is replaced in one of its own."""
        access_token = await self._ring.sign(opened.user_id, opened.session_id)
        seconds = int(self._lifetime.total_seconds())
        return LoggedIn(opened.session_id, access_token, self._ring.token_seconds, opened.refresh_token, seconds)

    async def refresh(self, refresh_token: str, origin: ClientInfo) -> LoggedIn:
        """Replace a refresh token. One that was replaced before, but for a moment ago, ends its login. Raises
        NotAuthenticated."""
        opened: Opened | None = None
        async with self._database.write() as session:
            token = await self._token(session, refresh_token)
            if token.used_at is not None and now() - token.used_at > GRACE:
                self._end(session, token.session)
                subject = Subject(token.session_id, token.session.user.username, token.session.user_id)
                record_unknown(session, origin, "session.reuse", subject, "failure", token.session.user.username)
            else:
                token.used_at = token.used_at or now()
                token.session.expires_at = now() + self._lifetime
                await _forget_old_tokens(session, token.session_id, now() - self._lifetime)
                opened = _issue(session, token.session)
        if opened is None:
            self._callers.revoke_user(token.session.user_id)
            raise NotAuthenticated(
                "This refresh token was used before: somebody may have copied it, so the login has ended. Log in again."
            )
        return await self.grant(opened)

    async def session_of(self, refresh_token: str) -> str:
        """Return the id of the login that a refresh token belongs to. Raises NotAuthenticated."""
        async with self._database.read() as session:
            return (await self._token(session, refresh_token)).session_id

    async def end(self, session_id: str) -> LoginSession | None:
        """End a login: here at once, elsewhere within a second. None: it had ended, or never was."""
        async with self._database.write() as session:
            login = await session.get(LoginSession, session_id, with_for_update={"of": LoginSession})
            if login is None or login.ended_at is not None:
                return None
            self._end(session, login)
        self._callers.revoke_user(login.user_id)
        return login

    async def end_all(self, session: AsyncSession, user_id: str, *, but: str | None = None) -> None:
        """End the logins of a user in a transaction; `forget_user` is for after it. `but`: the id of one to keep."""
        query = update(LoginSession).where(LoginSession.user_id == user_id, LoginSession.ended_at.is_(None))
        if but is not None:
            query = query.where(LoginSession.id != but)
        await session.execute(query.values(ended_at=now()))
        self._changes.record(session, "user", user_id)

    def forget_user(self, user_id: str) -> None:
        """Let the data plane ask again about every credential of a user."""
        self._callers.revoke_user(user_id)

    def _end(self, session: AsyncSession, login: LoginSession) -> None:
        login.ended_at = now()
        self._changes.record(session, "user", login.user_id)

    async def _token(self, session: AsyncSession, refresh_token: str) -> RefreshToken:
        """The row of a refresh token whose login goes on; others who want it wait for the end of this transaction."""
        query = (
            select(RefreshToken)
            .where(RefreshToken.digest == keys.digest(refresh_token))
            .with_for_update(of=RefreshToken)
        )
        is_ours = keys.is_key(refresh_token, keys.REFRESH_PREFIX)
        token = await session.scalar(query) if is_ours else None
        if (
            token is None
            or token.session.ended_at is not None
            or token.session.expires_at <= now()
            or token.session.user.disabled_at
        ):
            raise NotAuthenticated("The refresh token is not valid, or its login has ended: log in again.")
        return token

    async def _sweep(self, session: AsyncSession, user_id: str) -> None:
        """Forget what ended long ago, of a user who logs in: so nobody's logins grow without end."""
        is_over = (LoginSession.expires_at < now() - SWEPT) | (LoginSession.ended_at < now() - SWEPT)
        over = list(
            await session.scalars(select(LoginSession.id).where(LoginSession.user_id == user_id, is_over).limit(1000))
        )
        await session.execute(delete(RefreshToken).where(RefreshToken.session_id.in_(over)))
        await session.execute(delete(LoginSession).where(LoginSession.id.in_(over)))


def _issue(session: AsyncSession, login: LoginSession) -> Opened:
    refresh_token = keys.new_key(keys.REFRESH_PREFIX)
    session.add(RefreshToken(digest=keys.digest(refresh_token), session_id=login.id, created_at=now(), used_at=None))
    return Opened(login.user_id, login.id, refresh_token)


async def _forget_old_tokens(session: AsyncSession, session_id: str, before: datetime) -> None:
    """A login that goes on for years leaves no trail of tokens that could not be used for long."""
    await session.execute(
        delete(RefreshToken).where(RefreshToken.session_id == session_id, RefreshToken.used_at < before)
    )
