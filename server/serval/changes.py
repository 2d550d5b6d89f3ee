"""Changes that other serving processes must apply: rows that each of them reads twice a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import BigInteger, Index, Integer, String, event, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from serval.db.base import Table, UtcDateTime
from serval.db.engine import Database
from serval.db.retention import delete_below
from serval.log import Log
from serval.periodic import PeriodicTask, cancelled

Kind = Literal["key", "model", "user", "signing_key"]

POLL_SECONDS = 0.5
OVERLAP = timedelta(seconds=60)
"""How far back each poll reads: PostgreSQL assigns ids and times in one order and commits in another."""
BLIND_SECONDS = OVERLAP.total_seconds() / 2
"""A process that has not polled for longer may have missed changes."""
RETENTION = timedelta(days=1)
SWEEP_SECONDS = 3600.0

CHANNEL = "serval:changes"
LISTEN_SECONDS = 1.0
RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 30.0

_NOW = func.now(type_=UtcDateTime())


class Change(Table):
    """A change that other serving processes must apply."""

    __tablename__ = "changes"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(100))
    """The SHA-256 of a key in hexadecimal; the id of anything else."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=_NOW)
    """By the clock of the database: those of the servers may differ."""


class Changes:
    """Records what this process changes and applies what others changed."""

    def __init__(self, database: Database, applied: Counter, log: Log) -> None:
        """`applied`: counts changes of others, by kind."""
        self._database = database
        self._applied = applied
        self._reactions: dict[str, list[Callable[[str], None]]] = {}
        self._resets: list[Callable[[], None]] = []
        self._known_ids: set[int] = set()
        self._read_at = self._swept_at = 0.0
        self.wake = asyncio.Event()
        """Set to poll now instead of at the next half second."""
        self._polling = PeriodicTask(
            self._poll,
            POLL_SECONDS,
            log,
            name="poll changes",
            failure_event="changes_poll_failed",
            unavailable_event="changes_waiting_for_database",
            wake=self.wake,
        )
        self.committed = asyncio.Event()
        """Set when this process has committed a change."""

    def on(self, kind: Kind, react: Callable[[str], None], *, reset: Callable[[], None]) -> None:
        """Call `react` with the subject of each change of a kind that another process made, and `reset` when changes
        may have been missed.

        Both must return at once.
        """
        self._reactions.setdefault(kind, []).append(react)
        self._resets.append(reset)

    def record(self, session: AsyncSession, kind: Kind, subject: str) -> None:
        """Record a change in the transaction that makes it. The caller applies it in this process."""
        change = Change(kind=kind, subject=subject)
        session.add(change)

        def on_commit(_: object) -> None:
            self._known_ids.add(change.id)
            self.committed.set()

        event.listen(session.sync_session, "after_commit", on_commit, once=True)

    async def start(self) -> None:
        self._read_at = self._swept_at = time.monotonic()
        await self._polling.start()

    async def stop(self) -> None:
        await self._polling.stop()

    async def _poll(self) -> None:
        """Apply the changes of other processes. Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            since: datetime = (await session.execute(select(_NOW))).scalar_one() - OVERLAP
            changes = list(await session.scalars(select(Change).where(Change.at > since).order_by(Change.id)))
        now = time.monotonic()
        if now - self._read_at > BLIND_SECONDS:
            self._reset()
        self._read_at = now
        for change in changes:
            if change.id not in self._known_ids:
                self._react(change)
        self._known_ids = {change.id for change in changes}
        if now - self._swept_at > SWEEP_SECONDS:
            self._swept_at = now
            await delete_below(self._database, Change.at, since - RETENTION)

    def _react(self, change: Change) -> None:
        self._applied.labels(change.kind).inc()
        if change.kind not in self._reactions:  # a newer server changed something that this one does not know
            self._reset()
        for react in self._reactions.get(change.kind, ()):
            react(change.subject)

    def _reset(self) -> None:
        for reset in self._resets:
            reset()


class ChangeNotifier:
    """Notifies other serving processes over Redis that there are changes to poll, and listens for their notifications.

    Without Redis they poll a little later.
    """

    def __init__(self, redis: Redis, changes: Changes, failures: Counter, log: Log) -> None:
        """`failures`: calls of Redis that failed, by use."""
        self._redis = redis
        self._changes = changes
        self._failures = failures.labels("changes")
        self._log = log
        self._is_unavailable = False
        self._tasks: list[asyncio.Task[None]] = []
        self.replicas = 1
        """The serving processes that listen, as far as is known."""

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._always(self._listen), name="listen for changes"),
            asyncio.create_task(self._always(self._notify), name="notify of changes"),
        ]

    async def stop(self) -> None:
        await cancelled(*self._tasks)

    async def _always(self, work: Callable[[], Awaitable[None]]) -> None:
        """Work until it is cancelled; after a failure again, later each time that follows soon."""
        pause = RETRY_SECONDS
        while True:
            began = time.monotonic()
            try:
                await work()
            except (RedisError, OSError) as error:
                pause = RETRY_SECONDS
                if not self._is_unavailable:
                    self._log.warning("change_notifications_unavailable", reason=str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                pause = RETRY_SECONDS if time.monotonic() - began > MAX_RETRY_SECONDS else pause
                self._log.error("change_notifications_failed", exception=error, next_in_seconds=pause)
            self._failures.inc()
            self._is_unavailable = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_SECONDS)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as messages:
            await messages.subscribe(CHANNEL)
            if self._is_unavailable:
                self._log.info("change_notifications_restored")
            self._is_unavailable = False
            self._changes.wake.set()  # a notification may have been missed
            while True:
                ((_, listeners),) = await self._redis.pubsub_numsub(CHANNEL)
                self.replicas = max(1, listeners)
                if await messages.get_message(timeout=LISTEN_SECONDS) is not None:
                    self._changes.wake.set()

    async def _notify(self) -> None:
        while True:
            await self._changes.committed.wait()
            self._changes.committed.clear()
            try:
                await self._redis.publish(CHANNEL, b"")
            except (RedisError, OSError):
                self._failures.inc()
