"""Deletes the files of versions that failed some time ago."""

import asyncio
from datetime import datetime, timedelta

from sqlalchemy import select

from serval.db.engine import Database, now
from serval.log import Log
from serval.models.files import VersionFiles
from serval.models.tables import Version, set_stored_bytes
from serval.periodic import PeriodicTask

SWEEP_SECONDS = 3600.0


class FailedUploadRetention:
    """Deletes old files at the start and each hour; their versions stay, and say why they failed."""

    def __init__(self, database: Database, files: VersionFiles, days: float, log: Log) -> None:
        self._database = database
        self._files = files
        self._kept = timedelta(days=min(days, 36_500))
        self._log = log
        event = "failed_upload_retention_failed"
        self._task = PeriodicTask(
            self._sweep,
            SWEEP_SECONDS,
            log,
            name="delete files of failed uploads",
            failure_event=event,
            unavailable_event=event,
        )

    async def start(self) -> None:
        await self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def _sweep(self) -> None:
        await self.delete_failed_before(now() - self._kept)

    async def delete_failed_before(self, moment: datetime) -> None:
        """Delete the files of versions that failed before a moment. Raises DatabaseUnavailable, OSError."""
        query = select(Version.id).where(
            Version.status == "failed", Version.failed_at < moment, Version.stored_bytes > 0
        )
        async with self._database.read() as session:
            version_ids = list(await session.scalars(query))
        freed_bytes = 0
        for version_id in version_ids:
            # The files go first: what a crash leaves in between is done again, and a full disk has room for the row.
            await asyncio.to_thread(self._files.delete, version_id)
            async with self._database.write() as session:
                version = await session.get(Version, version_id)
                if version is not None:
                    freed_bytes += version.stored_bytes
                    await set_stored_bytes(session, version, 0)
        if version_ids:
            self._log.info("failed_uploads_deleted", versions=len(version_ids), freed_bytes=freed_bytes)
