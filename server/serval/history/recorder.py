"""What was predicted goes from the ring of the data plane to the database, in bulk, and in the end is forgotten."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite

from serval.data_plane.plane import History, PredictionRecord
from serval.db.engine import Database, now
from serval.db.retention import delete_below
from serval.errors import DatabaseUnavailable
from serval.history.tables import Prediction
from serval.ids import first_id
from serval.log import Log
from serval.metrics import HistoryMetrics
from serval.periodic import PeriodicTask
from serval.settings.settings import Settings

DRAIN_SECONDS = 0.5
DRAIN_ROWS = 1000
"""What is drained at a time, and written in one transaction."""
MAX_PENDING_ROWS = 32_768
"""What waits for the database at most; more is lost."""
DELETE_SECONDS = 60.0
COLUMNS = [
    "id", "created_at", "owner_id", "user_id", "model_id", "version_id", "version_number", "rows", "digest", "inputs",
    "predictions", "probabilities", "cache", "latency_ms",
]  # fmt: skip
CLOSE_SECONDS = 5.0
"""What a stopping server gives the database to take the last of it."""

Row = tuple[Any, ...]
"""What a row of the table is made of, in the order of `COLUMNS`."""


class HistoryRecorder:
    """Drains, writes and forgets, each in a task of its own: a database that hangs does not keep the ring from being
    drained."""

    def __init__(
        self,
        ring: History,
        database: Database,
        settings: Settings,
        metrics: HistoryMetrics,
        log: Log,
        *,
        is_disk_low: Callable[[], bool],
    ) -> None:
        """`is_disk_low`: whether nothing may be written for now."""
        self._ring = ring
        self._database = database
        self._days = settings.history_days
        self._slow_ms = settings.slow_request_ms
        self._metrics = metrics
        self._log = log
        self._pending: deque[list[Row]] = deque()
        self._pending_rows = 0
        self._is_unavailable = False
        self._is_disk_low = is_disk_low
        self._has_told_of_disk = False
        self._tasks = [
            PeriodicTask(
                step,
                seconds,
                log,
                name=f"history{step.__name__}",
                failure_event="history_failed",
                unavailable_event=None,  # `_write` logs it
            )
            for seconds, step in (
                (DRAIN_SECONDS, self._drain),
                (DRAIN_SECONDS, self._write),
                (DELETE_SECONDS, self._delete_old),
            )
        ]
        dialect = database.engine.dialect
        self._insert = _insert_of(dialect)
        self._moment = (lambda moment: moment) if dialect.name == "postgresql" else _text_of
        self._most_drained = settings.history_capacity

    async def start(self) -> None:
        for task in self._tasks:
            await task.start()

    async def stop(self) -> None:
        """Drain once more and write what waits, if the database takes it in time."""
        for task in self._tasks:
            await task.stop()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._drain()
                await self._write()
        except (DatabaseUnavailable, TimeoutError):
            pass
        if self._pending:
            self._log.warning("history_write_failed", rows=self._pending_rows)

    async def _drain(self) -> None:
        """Log what belongs in the log, keep what belongs in the table; no more than a full ring, or a rush would never
        end."""
        is_full, left = True, self._most_drained
        while is_full and left > 0:
            rows, logged, is_full = await asyncio.to_thread(self._drained)
            left -= DRAIN_ROWS
            for record in logged:
                self._log_prediction(record)
            if self._pending_rows + len(rows) > MAX_PENDING_ROWS:
                self._metrics.lost.inc(len(rows))
            elif rows:
                self._pending.append(rows)
                self._pending_rows += len(rows)

    def _drained(self) -> tuple[list[Row], list[PredictionRecord], bool]:
        """Rows for the table, predictions for the log, and whether there may be more."""
        drained = self._ring.drain(DRAIN_ROWS)
        return (
            [self._row(record) for record in drained if record.is_kept],
            [record for record in drained if record.is_logged],
            len(drained) == DRAIN_ROWS,
        )

    def _row(self, record: PredictionRecord) -> Row:
        return (
            record.id,
            self._moment(datetime.fromtimestamp(record.unix_microseconds / 1e6, UTC)),
            record.owner,
            record.user,
            record.model,
            record.version,
            record.version_number,
            record.rows,
            record.digest,
            record.inputs,
            record.predictions,
            record.probabilities,
            record.cache,
            round(record.latency_seconds * 1e3, 3),
        )

    def _log_prediction(self, record: PredictionRecord) -> None:
        ms = record.latency_seconds * 1e3
        is_slow = ms > self._slow_ms
        write = self._log.warning if is_slow else self._log.info
        write(
            "slow_prediction" if is_slow else "prediction",
            prediction=record.id,
            user=record.user,
            model=record.model,
            version=record.version_number,
            rows=record.rows,
            cache=record.cache,
            ms=round(ms, 3),
        )

    async def _write(self) -> None:
        """Write what is kept; what the database or its disk cannot take now stays. Raises DatabaseUnavailable."""
        while self._pending and not await self._must_wait_for_disk():
            rows = self._pending[0]
            try:
                await self._insert_rows(rows)
            except DatabaseUnavailable:
                if not self._is_unavailable:
                    self._log.warning("history_waiting_for_database", rows=self._pending_rows)
                self._is_unavailable = True
                raise
            except Exception as error:  # noqa: BLE001 - a batch that cannot be written must not keep the next ones waiting
                self._log.error("history_lost", rows=len(rows), exception=error)
                self._metrics.lost.inc(len(rows))
            else:
                self._is_unavailable = False
                self._metrics.written.inc(len(rows))
            self._pending.popleft()
            self._pending_rows -= len(rows)

    async def _must_wait_for_disk(self) -> bool:
        is_low = await asyncio.to_thread(self._is_disk_low)
        if is_low and not self._has_told_of_disk:
            self._log.warning("history_waiting_for_disk", rows=self._pending_rows)
        self._has_told_of_disk = is_low
        return is_low

    async def _insert_rows(self, rows: list[Row]) -> None:
        """The driver is given the rows as they are: SQLAlchemy's own preparation takes ten times as long as writing
        them."""
        async with self._database.write() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(self._insert, rows)

    async def _delete_old(self) -> None:
        """Delete what is older than the settings keep. Raises DatabaseUnavailable."""
        await delete_below(self._database, Prediction.id, first_id("prd", now() - timedelta(days=self._days)))


def _insert_of(dialect: Dialect) -> str:
    """The statement for rows of `COLUMNS`. What was written before its connection broke is written again without
    harm."""
    table = cast(Table, Prediction.__table__)
    insert = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    compiled = insert.on_conflict_do_nothing().compile(dialect=dialect, column_keys=COLUMNS)
    if compiled.positiontup != COLUMNS:
        raise ValueError(f"the statement takes {compiled.positiontup}")
    return str(compiled)


def _text_of(moment: datetime) -> str:
    """A moment as SQLAlchemy writes it to SQLite."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
