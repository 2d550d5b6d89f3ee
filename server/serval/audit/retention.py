"""Deletes entries of the audit trail that are older than the settings keep."""

import time
from datetime import UTC, datetime

from serval.audit.tables import AuditEntry
from serval.db.engine import Database
from serval.db.retention import delete_below
from serval.ids import first_id
from serval.log import Log
from serval.periodic import PeriodicTask

SWEEP_SECONDS = 3600.0
DAY_SECONDS = 86_400.0


class AuditRetention:
    """Deletes old entries at the start and each hour."""

    def __init__(self, database: Database, days: float, log: Log) -> None:
        self._database = database
        self._days = days
        self._log = log
        event = "audit_retention_failed"
        self._task = PeriodicTask(
            self._sweep,
            SWEEP_SECONDS,
            log,
            name="delete old audit entries",
            failure_event=event,
            unavailable_event=event,
        )

    async def start(self) -> None:
        await self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def _sweep(self) -> None:
        # A retention of more days than have passed since 1970 keeps everything.
        oldest = datetime.fromtimestamp(max(0.0, time.time() - self._days * DAY_SECONDS), UTC)
        entries = await delete_below(self._database, AuditEntry.id, first_id("aud", oldest))
        if entries:
            self._log.info("audit_entries_deleted", entries=entries)
