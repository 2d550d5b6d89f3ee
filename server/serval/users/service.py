"""Users: registration, login, and changes by themselves and by administrators."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from serval.audit.record import AuditSubject, record, record_unauthenticated
from serval.auth.caller import Caller, ClientInfo, Role
from serval.auth.passwords import Passwords, delay_failure, generate_password
from serval.auth.request_limiter import RequestLimiter
from serval.changes import Changes
from serval.db.engine import Database, now
from serval.errors import BadRequest, NameTaken, NotAuthenticated
from serval.ids import new_id
from serval.log import Log
from serval.settings.plans import Rate
from serval.users.failed_logins import FailedLogins
from serval.users.grants import check_lasts_no_longer
from serval.users.names import check_email, check_username, username_from
from serval.users.queries import find_account, get_user, subject_of
from serval.users.schemas import Registration
from serval.users.sessions import LoginTokens, SessionService
from serval.users.tables import User
from serval.users.user_rows import apply, check_not_last_administrator, insert

LOGIN_RATE = Rate(10, 60)
"""Attempts to log in to one account from one address: guessing there does not slow down the logins of others."""


class UserService:
    """Registers, logs in and changes users."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        passwords: Passwords,
        sessions: SessionService,
        limiter: RequestLimiter,
        log: Log,
        failed_logins: FailedLogins,
    ) -> None:
        self._database = database
        self._changes = changes
        self._passwords = passwords
        self._sessions = sessions
        self._limiter = limiter
        self._log = log
        self._failed_logins = failed_logins

    async def register(self, client: ClientInfo, data: Registration) -> User:
        """Register a user. Raises BadRequest, NameTaken."""
        user = await self._new_user(data.email, data.password, data.full_name, data.username, client.network)
        async with self._database.write() as session:
            await insert(session, user, is_named=data.username is not None)
            record_unauthenticated(session, client, "user.register", subject_of(user), "success", user.username)
        return user

    async def register_untold(self, client: ClientInfo, data: Registration) -> None:
        """Register a user unless the email address or username is taken, which only the audit trail tells: not the
        time either. Raises BadRequest."""
        started = time.monotonic()
        try:
            await self.register(client, data)
        except NameTaken:
            async with self._database.write() as session:
                subject = AuditSubject(None, data.email, None)
                record_unauthenticated(session, client, "user.register", subject, "failure", data.email)
        await delay_failure(started)

    async def create_user(
        self,
        caller: Caller,
        *,
        email: str,
        password: str | None,
        password_hash: str | None,
        full_name: str,
        username: str | None,
        role: Role,
    ) -> User:
        """Create a user, who cannot log in without a password. Raises BadRequest, NameTaken, NotPermitted."""
        user = await self._new_user(email, password, full_name, username, caller.user_id)
        if password_hash is not None:
            problem = self._passwords.problem_of(password_hash)
            if problem is not None:
                raise BadRequest(f"`password_hash`: {problem}.", errors=[("password_hash", problem)])
            user.password_hash = password_hash
        check_lasts_no_longer(caller, role)
        user.role = role
        async with self._database.write() as session:
            await insert(session, user, is_named=username is not None)
            record(session, caller, "user.create", subject_of(user), role=user.role)
        return user

    async def _new_user(
        self, email: str, password: str | None, full_name: str, username: str | None, subject: str
    ) -> User:
        """`subject`: whose turn hashing the password takes."""
        email = check_email(email)
        name = username_from(email) if username is None else check_username(username)
        hashed = (
            None
            if password is None
            else await self._passwords.hash(self._passwords.check(password, (email, name, full_name)), subject=subject)
        )
        return User(
            id=new_id("usr"),
            username=name,
            email=email,
            full_name=full_name.strip(),
            role="user",
            subscription_tier="default",
            password_hash=hashed,
            created_at=now(),
        )

    async def get_user(self, user_id: str) -> User:
        """Return a user by id. Raises NotFound."""
        async with self._database.read() as session:
            return await get_user(session, user_id)

    async def find_user(self, reference: str) -> User:
        """Return a user by id, username or email address. Raises NotFound."""
        async with self._database.read() as session:
            return await find_account(session, reference)

    async def list_users(self, *, search: str | None, after: str | None, limit: int) -> list[User]:
        """Return users, oldest first. `search`: part of a name or email address; `after`: the last id of a page."""
        query = select(User).order_by(User.id).limit(limit)
        if after is not None:
            query = query.where(User.id > after)
        if search is not None:
            part = f"%{search.lower().translate(_LITERAL)}%"
            query = query.where(User.username.like(part, escape="\\") | User.email.like(part, escape="\\"))
        async with self._database.read() as session:
            return list(await session.scalars(query))

    async def update_profile(self, caller: Caller, changes: Mapping[str, Any]) -> User:
        """Update the caller's own `full_name` and `email`. Raises BadRequest, NameTaken."""
        async with self._database.write() as session:
            user = await get_user(session, caller.user_id, to_change=True)
            await apply(session, user, changes)
            record(session, caller, "user.change", subject_of(user), fields=sorted(changes))
        return user

    async def update_user(self, caller: Caller, reference: str, changes: Mapping[str, Any]) -> User:
        """Update a user as an administrator: also `role` and `subscription_tier`.

        Raises NotFound, Conflict, BadRequest, NameTaken, NotPermitted.
        """
        async with self._database.write() as session:
            user = await find_account(session, reference, to_change=True)
            if changes.get("role") == "admin":
                check_lasts_no_longer(caller, "admin")
            if changes.get("role", user.role) != "admin":
                await check_not_last_administrator(session, user)
            await apply(session, user, changes)
            self._changes.record(session, "user", user.id)
            record(
                session, caller, "user.change", subject_of(user), **{name: changes[name] for name in sorted(changes)}
            )
        self._sessions.forget_user(user.id)
        return user

    async def disable_user(self, caller: Caller, reference: str) -> User:
        """End a user's logins and suspend their keys, here at once and elsewhere within a second.

        Raises NotFound, Conflict.
        """
        async with self._database.write(spends_reserve=True) as session:
            user = await find_account(session, reference, to_change=True)
            await check_not_last_administrator(session, user)
            user.disabled_at = user.disabled_at or now()
            await self._sessions.end_all(session, user.id)
            record(session, caller, "user.disable", subject_of(user))
        self._sessions.forget_user(user.id)
        return user

    async def enable_user(self, caller: Caller, reference: str) -> User:
        """Let a disabled user log in again, and their keys work again. Raises NotFound, NotPermitted."""
        async with self._database.write() as session:
            user = await find_account(session, reference, to_change=True)
            check_lasts_no_longer(caller, user.role)
            user.disabled_at = None
            self._changes.record(session, "user", user.id)
            record(session, caller, "user.enable", subject_of(user))
        self._sessions.forget_user(user.id)
        return user

    async def login(self, client: ClientInfo, account: str, password: str) -> LoginTokens:
        """Log in by email address or username.

        Raises NotAuthenticated, with the same message after the same time for every cause; RateLimited.
        """
        started = time.monotonic()
        account = account.strip().lower()
        attempts = f"login:{hashlib.sha256(account.encode()).hexdigest()[:32]}:{client.network}"
        self._limiter.charge(attempts, LOGIN_RATE)
        async with self._database.read() as session:
            user = await session.scalar(
                select(User).where((User.email == account) if "@" in account else (User.username == account))
            )
        is_right, newer = await self._verify(password, user, client.network)
        if user is None or not is_right or user.disabled_at is not None:
            await self._failed_logins.record(client, account, None if user is None else subject_of(user))
            await delay_failure(started)
            raise NotAuthenticated("The account or the password is wrong.")
        self._limiter.refund(attempts, LOGIN_RATE)
        async with self._database.write() as session:
            row = await get_user(session, user.id, to_change=True)
            row.last_login_at = now()
            row.password_hash = newer or row.password_hash
            grant = await self._sessions.open(session, row, client)
            record_unauthenticated(
                session, client, "login", subject_of(row), "success", row.username, login=grant.session_id
            )
        return await self._sessions.issue(grant)

    async def _verify(self, password: str, user: User | None, subject: str) -> tuple[bool, str | None]:
        """Verify a user's password in the turn of `subject`; say in the log why a stored hash is not verified."""
        stored = None if user is None else user.password_hash
        problem = None if stored is None else self._passwords.problem_of(stored)
        if user is not None and problem is not None:
            self._log.warning(
                "password_hash_refused",
                user=user.username,
                reason=f"The stored password hash is not verified, so this user cannot log in with it: {problem}. "
                "An administrator can set a new password.",
            )
        return await self._passwords.verify(password, stored, subject=subject)

    async def logout(self, client: ClientInfo, session_id: str) -> None:
        """End a login, unless it has ended."""
        login = await self._sessions.end(session_id)
        if login is not None:
            async with self._database.write(spends_reserve=True) as session:
                record_unauthenticated(
                    session, client, "logout", subject_of(login.user), "success", login.user.username, login=session_id
                )

    async def change_password(self, caller: Caller, current: str, new: str) -> None:
        """Change the caller's own password and end their other logins. Raises BadRequest, RateLimited."""
        user = await self.get_user(caller.user_id)
        attempts = f"login:{user.id}:{caller.origin.network}"
        self._limiter.charge(attempts, LOGIN_RATE)
        is_right, _ = await self._verify(current, user, caller.user_id)
        if not is_right:
            raise BadRequest(
                "`current_password`: this is not the current password.", errors=[("current_password", "wrong")]
            )
        await self._set_password(caller, user, new)

    async def reset_password(self, caller: Caller, reference: str, new: str | None) -> tuple[User, str]:
        """Set a user's password, a generated one by default, and end their logins; return both.

        Raises NotFound, BadRequest, NotPermitted.
        """
        user = await self.find_user(reference)
        check_lasts_no_longer(caller, user.role)
        password = new or generate_password()
        await self._set_password(caller, user, password)
        return user, password

    async def _set_password(self, caller: Caller, user: User, password: str) -> None:
        text = self._passwords.check(password, (user.email or "", user.username, user.full_name))
        hashed = await self._passwords.hash(text, subject=caller.user_id)
        async with self._database.write() as session:
            row = await get_user(session, user.id, to_change=True)
            row.password_hash = hashed
            await self._sessions.end_all(session, row.id, except_id=caller.session_id)
            record(session, caller, "user.password", subject_of(row))
        self._sessions.forget_user(user.id)


_LITERAL = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
