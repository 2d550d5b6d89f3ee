"""Deletes a model for good, with its files, which frees their bytes at once."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import record
from serval.auth.caller import Caller
from serval.changes import Changes
from serval.db.engine import Database
from serval.errors import Conflict, NotFound
from serval.models.access import DELETE
from serval.models.files import VersionFiles
from serval.models.lifecycle import UNDER_WAY
from serval.models.queries import find_deleted_or_not, find_model, subject_of
from serval.models.tables import Model, Share, Version, add_stored_bytes


class Purge:
    """Deletes models that nobody can restore afterwards."""

    def __init__(
        self, database: Database, files: VersionFiles, changes: Changes, publish: Callable[[], Awaitable[None]]
    ) -> None:
        """`publish`: brings a change to the routes of models into force."""
        self._database = database
        self._files = files
        self._changes = changes
        self._publish = publish

    async def purge_model(self, caller: Caller, reference: str) -> None:
        """Delete a model, or one that was deleted before, with its versions, shares and files.

        Raises NotFound, NotPermitted, and Conflict where one of its uploads is not done yet or several deleted models
        have the name.
        """
        async with self._database.write(spends_reserve=True) as session:
            model = await _find(session, caller, reference)
            await _check_done(session, model)
            version_ids = list(await session.scalars(select(Version.id).where(Version.model_id == model.id)))
            stored = await session.scalar(select(func.sum(Version.stored_bytes)).where(Version.model_id == model.id))
            freed_bytes = int(stored or 0)
            await add_stored_bytes(session, model.owner_id, -freed_bytes)
            record(session, caller, "model.delete", subject_of(model), purge=True, freed_bytes=freed_bytes)
            self._changes.record(session, "model", model.id)
            await session.execute(delete(Share).where(Share.model_id == model.id))
            await session.execute(delete(Version).where(Version.model_id == model.id))
            await session.execute(delete(Model).where(Model.id == model.id))
        # What a crash leaves of them has no row: it is set aside, and deleted a day later.
        for version_id in version_ids:
            await asyncio.to_thread(self._files.delete, version_id)
        await self._publish()


async def _find(session: AsyncSession, caller: Caller, reference: str) -> Model:
    """A model that is not deleted comes before one of the name that is."""
    try:
        return (await find_model(session, caller, reference, DELETE, to_change=True)).model
    except NotFound:
        return (await find_deleted_or_not(session, caller, reference, DELETE)).model


async def _check_done(session: AsyncSession, model: Model) -> None:
    """Raises Conflict where a version is still being converted."""
    under_way = select(Version.number).where(Version.model_id == model.id, Version.status.in_(UNDER_WAY)).limit(1)
    number = await session.scalar(under_way)
    if number is not None:
        raise Conflict(
            f"Version {number} of `{model.name}` is still being converted: purge the model when that has ended, or "
            "delete it without `purge` now."
        )
