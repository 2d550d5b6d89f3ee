"""In the end the audit trail forgets."""

import time
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select

from serval.audit.tables import AuditEntry
from serval.db.engine import Database
from serval.ids import first_id
from serval.log import Log
from serval.periodic import PeriodicTask

SWEEP_SECONDS = 3600.0
FORGET_ROWS = 1000
"""What is deleted in one transaction."""
DAY_SECONDS = 86_400.0


class AuditRetention:
    """Deletes entries that are older than the settings keep, at the start and each hour."""

    def __init__(self, database: Database, days: float, log: Log) -> None:
        self._database = database
        self._days = days
        self._log = log
        event = "audit_retention_failed"
        self._rounds = PeriodicTask(
            self._sweep_and_tell, SWEEP_SECONDS, log, name="forget audit entries", failed=event, away=event
        )

    async def start(self) -> None:
        await self._rounds.start()

    async def stop(self) -> None:
        await self._rounds.stop()

    async def _sweep_and_tell(self) -> None:
        if entries := await self.sweep():
            self._log.info("audit_entries_deleted", entries=entries)

    async def sweep(self) -> int:
        """Delete what is too old, and return how many entries that was. Raises DatabaseUnavailable."""
        # Longer than since 1970 is for ever.
        before = first_id("aud", datetime.fromtimestamp(max(0.0, time.time() - self._days * DAY_SECONDS), UTC))
        oldest = select(AuditEntry.id).where(AuditEntry.id < before).order_by(AuditEntry.id).limit(FORGET_ROWS)
        forgotten, is_full = 0, True
        while is_full:
            async with self._database.write() as session:
                deleted = cast(
                    CursorResult[Any], await session.execute(delete(AuditEntry).where(AuditEntry.id.in_(oldest)))
                )
            forgotten += deleted.rowcount
            is_full = deleted.rowcount == FORGET_ROWS
        return forgotten
