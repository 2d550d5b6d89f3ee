"""How many users, logins and keys there are, counted in the background, so that whoever asks waits for no database."""

import asyncio
import math
from typing import NamedTuple

from sqlalchemy import Select, func, or_, select

from serval.db.base import now
from serval.db.engine import Database
from serval.errors import DatabaseAway
from serval.log import Log
from serval.metrics import Gauges
from serval.users.tables import ApiKey, LoginSession, User

COUNT_SECONDS = 15.0


class Counts(NamedTuple):
    """How many there are; NaN until they were counted."""

    users: float = math.nan
    sessions: float = math.nan
    api_keys: float = math.nan


class Population:
    """Counts and remembers."""

    def __init__(self, database: Database, gauges: Gauges, log: Log) -> None:
        self._database = database
        self._log = log
        self._is_away = False
        self._counting: asyncio.Task[None] | None = None
        self.counts = Counts()
        gauges.add("serval_users_active", "Users that are not disabled", lambda: self.counts.users)
        gauges.add("serval_sessions_active", "Logins that are neither ended nor expired", lambda: self.counts.sessions)
        gauges.add("serval_api_keys_active", "API keys that open something", lambda: self.counts.api_keys)

    def start(self) -> None:
        self._counting = asyncio.create_task(self._count_often(), name="count people")

    async def stop(self) -> None:
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait([self._counting])

    async def _count_often(self) -> None:
        while True:
            try:
                self.counts = await self._count()
                self._is_away = False
            except DatabaseAway:
                if not self._is_away:
                    self._log.warning("people_are_not_counted")
                self._is_away = True
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round may do better
                self._log.error("people_are_not_counted", exception=error)
            await asyncio.sleep(COUNT_SECONDS)

    async def _count(self) -> Counts:
        """Raises DatabaseAway."""
        async with self._database.read() as session:
            users, sessions, api_keys = (await session.execute(_query())).one()
            return Counts(users, sessions, api_keys)


def _query() -> Select[int, int, int]:
    at = now()
    users = select(func.count()).select_from(User).where(User.disabled_at.is_(None))
    sessions = select(func.count()).select_from(LoginSession).where(LoginSession.ended_at.is_(None), LoginSession.expires_at > at)
    api_keys = (
        select(func.count())
        .select_from(ApiKey)
        .join(User, User.id == ApiKey.user_id)
        .where(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at), User.disabled_at.is_(None))
    )
    return select(users.scalar_subquery(), sessions.scalar_subquery(), api_keys.scalar_subquery())
