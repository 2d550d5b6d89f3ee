"""Gauges of users, logins and keys, counted in the background so that reading them needs no database."""

import math
from typing import NamedTuple

from sqlalchemy import Select, func, or_, select

from serval.db.engine import Database, now
from serval.log import Log
from serval.metrics import Gauges
from serval.periodic import PeriodicTask
from serval.users.tables import ApiKey, LoginSession, User

COUNT_SECONDS = 15.0


class Counts(NamedTuple):
    """Numbers of active users, logins and keys; NaN before the first count."""

    users: float = math.nan
    sessions: float = math.nan
    api_keys: float = math.nan


class UserGauges:
    """Counts every few seconds and keeps the last numbers."""

    def __init__(self, database: Database, gauges: Gauges, log: Log) -> None:
        self._database = database
        event = "user_gauges_failed"
        self._task = PeriodicTask(
            self._count, COUNT_SECONDS, log, name="count users", failure_event=event, unavailable_event=event
        )
        self.counts = Counts()
        gauges.add("serval_users_active", "Users that are not disabled.", lambda: self.counts.users)
        gauges.add("serval_sessions_active", "Logins that are neither ended nor expired.", lambda: self.counts.sessions)
        gauges.add("serval_api_keys_active", "API keys that are valid.", lambda: self.counts.api_keys)

    async def start(self) -> None:
        await self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def _count(self) -> None:
        """Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            users, sessions, api_keys = (await session.execute(_active_counts())).one()
            self.counts = Counts(users, sessions, api_keys)


def _active_counts() -> Select[int, int, int]:
    at = now()
    users = select(func.count()).select_from(User).where(User.disabled_at.is_(None))
    sessions = (
        select(func.count())
        .select_from(LoginSession)
        .where(LoginSession.ended_at.is_(None), LoginSession.expires_at > at)
    )
    api_keys = (
        select(func.count())
        .select_from(ApiKey)
        .join(User, User.id == ApiKey.user_id)
        .where(
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at),
            User.disabled_at.is_(None),
        )
    )
    return select(users.scalar_subquery(), sessions.scalar_subquery(), api_keys.scalar_subquery())
