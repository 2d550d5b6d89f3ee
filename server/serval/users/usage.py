"""Writes the use of keys in bulk: when each was used last, and how much it has predicted this month."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from sqlalchemy import ColumnElement, Dialect, Executable, Table, and_, bindparam, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from serval.data_plane.plane import CALLER_AGE_SECONDS, Callers
from serval.db.base import UtcDateTime
from serval.db.engine import Database, now
from serval.log import Log
from serval.periodic import PeriodicTask
from serval.users.months import month_of
from serval.users.tables import ApiKey, KeyUsage

WRITE_SECONDS = 2.0
BATCH_KEYS = 1000
"""Keys that are written in one transaction."""
STOP_SECONDS = 5.0
"""How long a stopping server lets the database take the last uses."""

COUNTED_AS = func.coalesce(ApiKey.replaced_by, ApiKey.id)
"""The id under which the predictions of a key are counted.

A rotated key and its successors share one count: rotating must not give a fresh quota."""
USED = func.coalesce(KeyUsage.predictions, 0)
"""The predictions counted for a key, in a query that joins `counted_in`."""


def counted_in(month: str) -> ColumnElement[bool]:
    """Return the condition to outer join the count of a key in a month."""
    return and_(KeyUsage.key_id == COUNTED_AS, KeyUsage.month == month)


class KeyUse(msgspec.Struct):
    """The use of a key that is not in the database yet."""

    last: datetime
    predictions: Counter[str] = msgspec.field(default_factory=Counter)
    """By month."""

    def add(self, other: "KeyUse") -> None:
        self.last = max(self.last, other.last)
        self.predictions.update(other.predictions)


class UsageRecorder:
    """Collects the use of keys, writes it, and publishes the totals of all servers to the data plane."""

    def __init__(self, callers: Callers, database: Database, log: Log) -> None:
        self._callers = callers
        self._database = database
        self._log = log
        self._unwritten: dict[str, KeyUse] = {}
        self._metered: dict[str, float] = {}
        self._add = _add_predictions(database.engine.dialect)
        self._task = PeriodicTask(
            self._write_and_publish,
            WRITE_SECONDS,
            log,
            name="write key usage",
            failure_event="usage_failed",
            unavailable_event="usage_waiting_for_database",
            details=lambda: {"keys": len(self._unwritten)},
            finish_seconds=STOP_SECONDS,
        )

    async def start(self) -> None:
        await self._task.start()

    async def stop(self) -> None:
        """Write what is left, if the database takes it in time.

        A round under way is not cancelled: nobody would know what it wrote.
        """
        await self._task.stop()
        if self._unwritten:
            self._log.warning("usage_write_failed", keys=len(self._unwritten))

    def note(self, key_id: str, *, has_quota: bool) -> None:
        """Note that a key is used now."""
        self._keep({key_id: KeyUse(now())})
        if has_quota:
            self._metered[key_id] = time.monotonic()

    def count(self, key_id: str) -> None:
        """Count a prediction of a key that the data plane has not answered."""
        at = now()
        self._keep({key_id: KeyUse(at, Counter({month_of(at): 1}))})

    async def _write_and_publish(self) -> None:
        """Raises DatabaseUnavailable."""
        await self._write()
        await self._publish_totals()

    async def _write(self) -> None:
        """Write all uses so far; those that cannot be written now are kept. Raises DatabaseUnavailable."""
        for key_id, last_seconds, predictions in self._callers.take_usage():
            last = datetime.fromtimestamp(last_seconds, UTC)
            self._keep({key_id: KeyUse(last, Counter({month_of(last): predictions}))})
        for key_ids in _batches(sorted(self._unwritten)):
            batch = {key_id: self._unwritten.pop(key_id) for key_id in key_ids}
            try:
                await self._store(batch)
            except BaseException:
                self._keep(batch)
                raise

    def _keep(self, uses: Mapping[str, KeyUse]) -> None:
        for key_id, use in uses.items():
            if key_id in self._unwritten:
                self._unwritten[key_id].add(use)
            else:
                self._unwritten[key_id] = use

    async def _store(self, uses: Mapping[str, KeyUse]) -> None:
        """Write in the order of ids, in which every server takes its locks.

        The first statement locks the keys, so that none is rotated between reading where it is counted and counting.
        """
        async with self._database.write() as session:
            connection = await session.connection()
            await connection.execute(_TOUCH, [{"key": key_id, "at": use.last} for key_id, use in sorted(uses.items())])
            counts = await _counts(
                session, {key_id: use.predictions for key_id, use in uses.items() if use.predictions}
            )
            if counts:
                await connection.execute(self._add, counts)

    async def _publish_totals(self) -> None:
        """Publish the totals of the keys with a quota that the data plane may know. Raises DatabaseUnavailable."""
        oldest = time.monotonic() - 2 * CALLER_AGE_SECONDS
        self._metered = {key_id: used_at for key_id, used_at in self._metered.items() if used_at > oldest}
        counts = select(ApiKey.id, USED).select_from(ApiKey).outerjoin(KeyUsage, counted_in(month_of(now())))
        for key_ids in _batches(self._metered):
            query = counts.where(ApiKey.id.in_(key_ids))
            async with self._database.read() as session:
                totals = (await session.execute(query)).all()
            for key_id, used in totals:
                self._callers.set_usage(key_id, used)


_KEYS = cast(Table, ApiKey.__table__)
_AT = bindparam("at", type_=UtcDateTime)
_IS_LATER = or_(_KEYS.c.last_used_at.is_(None), _KEYS.c.last_used_at < _AT)
_TOUCH = (
    update(_KEYS)
    .where(_KEYS.c.id == bindparam("key"))
    .values(last_used_at=case((_IS_LATER, _AT), else_=_KEYS.c.last_used_at))
)
"""Another server may have written a later use already."""


def _add_predictions(dialect: Dialect) -> Executable:
    """Return the statement that adds to a key's month."""
    table = cast(Table, KeyUsage.__table__)
    insert = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    added = {"predictions": table.c.predictions + insert.excluded.predictions}
    return insert.on_conflict_do_update(index_elements=[table.c.key_id, table.c.month], set_=added)


async def _counts(session: AsyncSession, predictions: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
    """Return the rows to add, in the order of their keys; `predictions`: by key and month."""
    rows = await session.execute(select(ApiKey.id, COUNTED_AS).where(ApiKey.id.in_(predictions)))
    counts: Counter[tuple[str, str]] = Counter()
    for key_id, counted_as in rows:
        counts.update({(counted_as, month): number for month, number in predictions[key_id].items()})
    return [
        {"key_id": key_id, "month": month, "predictions": number} for (key_id, month), number in sorted(counts.items())
    ]


def _batches(key_ids: Iterable[str]) -> Iterator[list[str]]:
    ids = list(key_ids)
    for start in range(0, len(ids), BATCH_KEYS):
        yield ids[start : start + BATCH_KEYS]
