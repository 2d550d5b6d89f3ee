"""What keys are used for goes to the database in bulk: when each was used last, and how much it has predicted this month."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from sqlalchemy import ColumnElement, Dialect, Executable, Table, and_, bindparam, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from serval.data_plane.plane import CALLER_AGE_SECONDS, Callers
from serval.db.base import UtcDateTime, now
from serval.db.engine import Database
from serval.errors import DatabaseUnavailable
from serval.log import Log
from serval.users.months import month_of
from serval.users.tables import ApiKey, KeyUsage

WRITE_SECONDS = 2.0
BATCH_KEYS = 1000
"""Keys that are written in one transaction."""
CLOSE_SECONDS = 5.0
"""What a stopping server gives the database to take the last of it."""

COUNTED_AS = func.coalesce(ApiKey.replaced_by, ApiKey.id)
"""The id under which the predictions of a key are counted: a rotated key and those after it share one count, or
rotating would be a way
to a fresh quota."""
USED = func.coalesce(KeyUsage.predictions, 0)
"""What is counted for a key, in a query that joins `counted_in`."""


def counted_in(month: str) -> ColumnElement[bool]:
    """Join what is counted for a key in a month; there may be nothing yet."""
    return and_(KeyUsage.key_id == COUNTED_AS, KeyUsage.month == month)


class Use(msgspec.Struct):
    """What the database has not been told of a key yet."""

    last: datetime
    predictions: Counter[str] = msgspec.field(default_factory=Counter)
    """By month."""

    def add(self, other: "Use") -> None:
        self.last = max(self.last, other.last)
        self.predictions.update(other.predictions)


class UsageRecorder:
    """Collects what keys are used for, writes it, and tells the data plane what all servers together have counted."""

    def __init__(self, callers: Callers, database: Database, log: Log) -> None:
        self._callers = callers
        self._database = database
        self._log = log
        self._untold: dict[str, Use] = {}
        self._metered: dict[str, float] = {}
        self._is_away = False
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._add = _add_predictions(database.engine.dialect)

    async def start(self) -> None:
        self._writing = asyncio.create_task(self._write_regularly(), name="write uses of keys")

    async def stop(self) -> None:
        """Write what is left, if the database takes it in time. A round under way is not cut off: nobody would know
        what it wrote."""
        self._closing.set()
        if self._writing is None:
            return
        await asyncio.wait([self._writing], timeout=CLOSE_SECONDS)
        if not self._writing.done():
            self._writing.cancel()
            await asyncio.wait([self._writing])
        if self._untold:
            self._log.warning("usage_write_failed", keys=len(self._untold))

    def note(self, key_id: str, *, has_quota: bool) -> None:
        """A key has opened something just now."""
        self._keep({key_id: Use(now())})
        if has_quota:
            self._metered[key_id] = time.monotonic()

    async def _write_regularly(self) -> None:
        while not self._closing.is_set():
            await self._round()
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._closing.wait()
        await self._round()

    async def _round(self) -> None:
        try:
            await self._write()
            await self._tell()
            self._is_away = False
        except DatabaseUnavailable:
            if not self._is_away:
                self._log.warning("usage_waiting_for_database", keys=len(self._untold))
            self._is_away = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the next round may do better
            self._log.error("usage_failed", exception=error)

    async def _write(self) -> None:
        """Write all that was used so far. What the database can not take now is kept and written later. Raises
        DatabaseUnavailable."""
        for key_id, last_seconds, predictions in self._callers.take_usage():
            last = datetime.fromtimestamp(last_seconds, UTC)
            self._keep({key_id: Use(last, Counter({month_of(last): predictions}))})
        for key_ids in _batches(sorted(self._untold)):
            batch = {key_id: self._untold.pop(key_id) for key_id in key_ids}
            try:
                await self._store(batch)
            except BaseException:
                self._keep(batch)
                raise

    def _keep(self, uses: Mapping[str, Use]) -> None:
        for key_id, use in uses.items():
            if key_id in self._untold:
                self._untold[key_id].add(use)
            else:
                self._untold[key_id] = use

    async def _store(self, uses: Mapping[str, Use]) -> None:
        """In the order of ids, in which every server takes its locks. The first statement locks the keys, so that none
        is rotated between
        the look at where it is counted and the count."""
        async with self._database.write() as session:
            connection = await session.connection()
            await connection.execute(_TOUCH, [{"key": key_id, "at": use.last} for key_id, use in sorted(uses.items())])
            counts = await _counts(
                session, {key_id: use.predictions for key_id, use in uses.items() if use.predictions}
            )
            if counts:
                await connection.execute(self._add, counts)

    async def _tell(self) -> None:
        """Tell the data plane what is counted for the keys with a quota that it may know. Raises
        DatabaseUnavailable."""
        oldest = time.monotonic() - 2 * CALLER_AGE_SECONDS
        self._metered = {key_id: seen for key_id, seen in self._metered.items() if seen > oldest}
        counts = select(ApiKey.id, USED).select_from(ApiKey).outerjoin(KeyUsage, counted_in(month_of(now())))
        for key_ids in _batches(self._metered):
            query = counts.where(ApiKey.id.in_(key_ids))
            async with self._database.read() as session:
                found = (await session.execute(query)).all()
            for key_id, used in found:
                self._callers.set_usage(key_id, used)


_KEYS = cast(Table, ApiKey.__table__)
_AT = bindparam("at", type_=UtcDateTime)
_IS_LATER = or_(_KEYS.c.last_used_at.is_(None), _KEYS.c.last_used_at < _AT)
_TOUCH = (
    update(_KEYS)
    .where(_KEYS.c.id == bindparam("key"))
    .values(last_used_at=case((_IS_LATER, _AT), else_=_KEYS.c.last_used_at))
)
"""Another server may have seen a later use already."""


def _add_predictions(dialect: Dialect) -> Executable:
    """The statement that adds to a key's month."""
    table = cast(Table, KeyUsage.__table__)
    insert = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    added = {"predictions": table.c.predictions + insert.excluded.predictions}
    return insert.on_conflict_do_update(index_elements=[table.c.key_id, table.c.month], set_=added)


async def _counts(session: AsyncSession, predictions: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
    """Rows to add, in the order of their keys; `predictions`: by key and month."""
    found = await session.execute(select(ApiKey.id, COUNTED_AS).where(ApiKey.id.in_(predictions)))
    counts: Counter[tuple[str, str]] = Counter()
    for key_id, counted_as in found:
        counts.update({(counted_as, month): number for month, number in predictions[key_id].items()})
    return [
        {"key_id": key_id, "month": month, "predictions": number} for (key_id, month), number in sorted(counts.items())
    ]


def _batches(key_ids: Iterable[str]) -> Iterator[list[str]]:
    waiting = list(key_ids)
    for start in range(0, len(waiting), BATCH_KEYS):
        yield waiting[start : start + BATCH_KEYS]
