"""What changed, as rows that every serving process reads twice a second: the truth behind what each has in memory."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import BigInteger, Index, Integer, String, delete, event, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from serval.db.base import Table, UtcDateTime
from serval.db.engine import Database
from serval.log import Log
from serval.periodic import PeriodicTask

Kind = Literal["key", "model", "user", "signing_key"]

POLL_SECONDS = 0.5
OVERLAP = timedelta(seconds=60)
"""Each poll reads so far back: PostgreSQL hands out ids and moments in one order and commits in another."""
BLIND_SECONDS = OVERLAP.total_seconds() / 2
"""Who has not read for longer may have missed something."""
KEPT = timedelta(days=1)
SWEEP_SECONDS = 3600.0

CHANNEL = "serval:changes"
HEAR_SECONDS = 1.0
RETRY_SECONDS = 1.0

_NOW = func.now(type_=UtcDateTime())


class Change(Table):
    """Something that other serving processes must take notice of."""

    __tablename__ = "changes"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(100))
    """Of a key the SHA-256 in hexadecimal, of anything else the id."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=_NOW)
    """By the clock of the database, so that those of the servers do not matter."""


class Changes:
    """Records what this process changes and puts in force what others did."""

    def __init__(self, database: Database, seen: Counter, log: Log) -> None:
        """`seen`: by kind."""
        self._database = database
        self._counter = seen
        self._log = log
        self._reactions: dict[str, Callable[[str], None]] = {}
        self._resets: list[Callable[[], None]] = []
        self._seen: set[int] = set()
        self._read_at = self._swept_at = 0.0
        self.woken = asyncio.Event()
        """Set to read now instead of at the next half second."""
        failed, away = "changes_can_not_be_read", "changes_wait_for_the_database"
        self._rounds = PeriodicTask(
            self._read, POLL_SECONDS, log, name="poll changes", failed=failed, away=away, woken=self.woken
        )
        self.committed = asyncio.Event()
        """Set when this process has changed something."""

    def on(self, kind: Kind, react: Callable[[str], None], *, reset: Callable[[], None]) -> None:
        """Call `react` with each subject of a kind that another process has changed, `reset` when changes may have been
        missed.

        Both return at once.
        """
        self._reactions[kind] = react
        self._resets.append(reset)

    def record(self, session: AsyncSession, kind: Kind, subject: str) -> None:
        """Record a change in the transaction that makes it. Whoever makes it puts it in force in this process
        itself."""
        change = Change(kind=kind, subject=subject)
        session.add(change)

        def on_commit(_: object) -> None:
            self._seen.add(change.id)
            self.committed.set()

        event.listen(session.sync_session, "after_commit", on_commit, once=True)

    async def start(self) -> None:
        self._read_at = self._swept_at = time.monotonic()
        await self._rounds.start()

    async def stop(self) -> None:
        await self._rounds.stop()

    async def _read(self) -> None:
        """Put in force what others changed. Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            since: datetime = (await session.execute(select(_NOW))).scalar_one() - OVERLAP
            changes = list(await session.scalars(select(Change).where(Change.at > since).order_by(Change.id)))
        now = time.monotonic()
        if now - self._read_at > BLIND_SECONDS:
            self._reset()
        self._read_at = now
        for change in changes:
            if change.id not in self._seen:
                self._react(change)
        self._seen = {change.id for change in changes}
        if now - self._swept_at > SWEEP_SECONDS:
            self._swept_at = now
            await self._sweep(since - KEPT)

    def _react(self, change: Change) -> None:
        self._counter.labels(change.kind).inc()
        react = self._reactions.get(change.kind)
        if react is None:  # a newer server changed something that this one knows nothing of
            self._reset()
        else:
            react(change.subject)

    def _reset(self) -> None:
        for reset in self._resets:
            reset()

    async def _sweep(self, before: datetime) -> None:
        async with self._database.write() as session:
            await session.execute(delete(Change).where(Change.at < before))


class ChangeNotifier:
    """Tells the other serving processes over Redis to read the changes now, and hears them; without Redis they read
    them a little later."""

    def __init__(self, redis: Redis, changes: Changes, failures: Counter, log: Log) -> None:
        """`failures`: calls of Redis that failed, by use."""
        self._redis = redis
        self._changes = changes
        self._failures = failures.labels("changes")
        self._log = log
        self._is_away = False
        self._tasks: list[asyncio.Task[None]] = []
        self.replicas = 1
        """The serving processes that listen, as far as is known."""

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._hear(), name="hear changes"),
            asyncio.create_task(self._ring(), name="tell changes"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _hear(self) -> None:
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                self._failures.inc()
                if not self._is_away:
                    self._log.warning("change_notifications_unavailable", reason=str(error))
                self._is_away = True
                await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as messages:
            await messages.subscribe(CHANNEL)
            if self._is_away:
                self._log.info("change_notifications_restored")
            self._is_away = False
            self._changes.woken.set()  # something may have been told before
            while True:
                ((_, listeners),) = await self._redis.pubsub_numsub(CHANNEL)
                self.replicas = max(1, listeners)
                if await messages.get_message(timeout=HEAR_SECONDS) is not None:
                    self._changes.woken.set()

    async def _ring(self) -> None:
        while True:
            await self._changes.committed.wait()
            self._changes.committed.clear()
            try:
                await self._redis.publish(CHANNEL, b"")
            except (RedisError, OSError):
                self._failures.inc()
