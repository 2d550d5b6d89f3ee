"""Files of versions that the database does not know: whose they are, and what becomes of them.

They are left by a server that died between the file of an upload and its row, or the database is not theirs: another
one by mistake, or an old backup. So nothing is deleted before it was out of the way for a day.
"""

import asyncio
from contextlib import suppress

from sqlalchemy import select

from serval.db.engine import Database
from serval.errors import CannotStart, DiskFull
from serval.log import Log
from serval.models.tables import Version
from serval.periodic import PeriodicTask
from serval.storage.disk import DiskStorage

SWEEP_SECONDS = 3600.0
MIN_AGE_SECONDS = 3600.0
"""Of files without a row: those of an upload are there a moment before it."""
KEPT_SECONDS = 24 * 3600.0
"""How long files stay set aside before they are deleted."""
FEW = 10
"""So many strays are set aside whatever their share of all versions."""


async def check_owner(database: Database, storage: DiskStorage, database_id: str) -> None:
    """Check that the files of versions belong to a database, and write that down.

    Raises CannotStart where they are those of another database, DatabaseUnavailable.
    """
    owner = storage.owner()
    if owner == database_id:
        return
    stored = set(storage.folders())
    if owner is None and (not stored or stored & await _known(database)):
        with suppress(DiskFull):  # the next start says it
            storage.set_owner(database_id)
        return
    raise CannotStart(
        f"`{storage.root}` holds the files of {len(stored)} versions of another database than this server's "
        f"({database.description}): set `SERVAL_DATABASE_URL` (or the data folder) to theirs, or restore that database "
        "from a backup; to begin without these models, move the folder away"
    )


class StrayFiles:
    """Sets aside the files of versions without a row, and deletes them a day later."""

    def __init__(self, database: Database, storage: DiskStorage, log: Log) -> None:
        self._database = database
        self._storage = storage
        self._log = log
        self._task = PeriodicTask(
            self.sweep,
            SWEEP_SECONDS,
            log,
            name="sweep of stray files",
            failure_event="stray_files_sweep_failed",
            unavailable_event=None,
        )

    async def start(self) -> None:
        await self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def sweep(self) -> None:
        """Set aside what has no row, put back what has one again, delete what was set aside a day ago. Raises
        DatabaseUnavailable, OSError."""
        stored = await asyncio.to_thread(self._storage.folders)
        known = await _known(self._database)  # read later: a row is written after its files
        await asyncio.to_thread(self._sweep, set(stored), known)

    def _sweep(self, stored: set[str], known: set[str]) -> None:
        for folder in self._storage.folders_set_aside():
            if folder in known:
                self._storage.put_back(folder)
                self._log.warning("version_files_put_back", version=folder)
            elif self._storage.delete_set_aside(folder, KEPT_SECONDS):
                self._log.warning("version_files_deleted", version=folder)
        stray = {folder for folder in stored - known if self._storage.age_seconds(folder) >= MIN_AGE_SECONDS}
        if len(stray) > max(FEW, len(stored) // 10):
            self._log.error("version_files_without_rows", versions=len(stray), of=len(stored))
            return
        for folder in sorted(stray):
            self._storage.set_aside(folder)
            self._log.warning("version_files_set_aside", version=folder)


async def _known(database: Database) -> set[str]:
    """The ids of all versions."""
    async with database.read() as session:
        return set(await session.scalars(select(Version.id)))
