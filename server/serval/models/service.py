"""The registry: lists, shows, changes, deletes and restores models and their versions."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from serval.audit.record import record
from serval.auth.caller import Caller
from serval.auth.permissions import READ
from serval.changes import Changes
from serval.data_plane.plane import LoadError
from serval.db.engine import Database, now
from serval.errors import Conflict, NameTaken, NotFound, Unavailable
from serval.models.access import CHANGE, DELETE, RESTORE, SEE, TEST, Act
from serval.models.column_names import name_columns
from serval.models.files import VersionFiles
from serval.models.loading import ModelLoader
from serval.models.purge import Purge
from serval.models.queries import (
    VisibleModel,
    VisibleVersion,
    find_deleted_models,
    find_deleted_or_not,
    find_model,
    find_models,
    find_version,
    subject_of,
)
from serval.models.tables import Version
from serval.models.unanswered import unanswered_reason


class ModelService:
    """Reads and changes models and versions, and publishes what changed."""

    def __init__(
        self,
        database: Database,
        files: VersionFiles,
        loader: ModelLoader,
        changes: Changes,
        publish: Callable[[], Awaitable[None]],
    ) -> None:
        """`publish`: brings a change to the routes of models into force."""
        self._database = database
        self._files = files
        self._loader = loader
        self._changes = changes
        self._publish = publish
        self._purge = Purge(database, files, changes, publish)

    async def list_models(self, caller: Caller, *, deleted: bool = False) -> list[VisibleModel]:
        """Return what the caller may see and their key is for, by name; or the deleted models that they may restore,
        the last deleted one first."""
        async with self._database.read() as session:
            return await (find_deleted_models(session, caller) if deleted else find_models(session, caller))

    async def get_model(self, caller: Caller, model: str, act: Act = SEE) -> VisibleModel:
        """Return a model by id, name or `owner/name`. Raises NotFound, NotPermitted where the caller may not do this
        with it."""
        async with self._database.read() as session:
            return await find_model(session, caller, model, act)

    async def unanswered_reason(self, caller: Caller, model: str) -> str | None:
        """Return why a model that the caller can see answers nobody; None where it answers, or is not there."""
        async with self._database.read() as session:
            return await unanswered_reason(session, caller, model)

    async def change_model(self, caller: Caller, model: str, changes: Mapping[str, Any]) -> VisibleModel:
        """Change the description of a model, or its cache, by the names of the columns. Raises NotFound,
        NotPermitted."""
        async with self._database.write() as session:
            visible = await find_model(session, caller, model, CHANGE, to_change=True)
            for name, value in changes.items():
                setattr(visible.model, name, value)
            record(session, caller, "model.change", subject_of(visible.model), fields=sorted(changes))
            self._changes.record(session, "model", visible.model.id)
        await self._publish()
        return visible

    async def delete_model(self, caller: Caller, model: str) -> None:
        """Delete a model for everybody; `restore_model` brings it back, shares included. Raises NotFound,
        NotPermitted."""
        async with self._database.write(spends_reserve=True) as session:
            row = (await find_model(session, caller, model, DELETE, to_change=True)).model
            row.deleted_at = now()
            record(session, caller, "model.delete", subject_of(row))
            self._changes.record(session, "model", row.id)
        await self._publish()

    async def purge_model(self, caller: Caller, model: str) -> None:
        """Delete a model, or one that was deleted before, with its files and for good. Raises NotFound, NotPermitted,
        Conflict where one of its uploads is not done yet or several deleted models have the name."""
        await self._purge.purge_model(caller, model)

    async def restore_model(self, caller: Caller, model: str) -> VisibleModel:
        """Bring a deleted model back, by its id or name. Raises NotFound, NotPermitted, Conflict where several of the
        name were deleted, NameTaken when another took its name."""
        async with self._database.write() as session:
            visible = await find_deleted_or_not(session, caller, model, RESTORE)
            name = visible.model.name  # a failed flush leaves nothing to read
            visible.model.deleted_at = None
            record(session, caller, "model.restore", subject_of(visible.model))
            self._changes.record(session, "model", visible.model.id)
            try:
                await session.flush()
            except IntegrityError:
                raise NameTaken(f"Another model has the name `{name}` by now: delete it first.") from None
        await self._publish()
        return visible

    async def list_versions(self, caller: Caller, model: str) -> list[VisibleVersion]:
        """Return all versions of a model, newest first. Raises NotFound, NotPermitted."""
        async with self._database.read() as session:
            row, access = await find_model(session, caller, model)
            versions = await session.scalars(
                select(Version).where(Version.model_id == row.id).order_by(Version.number.desc())
            )
            return [VisibleVersion(version, access) for version in versions]

    async def get_version(self, caller: Caller, model: str, number: int, act: Act = SEE) -> VisibleVersion:
        """Return one version. Raises NotFound, NotPermitted where the caller may not do this with its model."""
        async with self._database.read() as session:
            row, access = await find_model(session, caller, model, act)
            return VisibleVersion(await find_version(session, row, number), access)

    async def change_version(
        self, caller: Caller, model: str, number: int, columns: Sequence[str] | None
    ) -> VisibleVersion:
        """Name the columns of a version that has no names. Raises NotFound, NotPermitted, BadRequest, Conflict."""
        async with self._database.write() as session:
            row, access = await find_model(session, caller, model, CHANGE, to_change=True)
            version = await find_version(session, row, number)
            if columns is not None:
                name_columns(version, columns)
                record(session, caller, "version.change", subject_of(row), version=number, fields=["columns"])
                self._changes.record(session, "model", row.id)
        with suppress(NotFound, Unavailable):  # the publication tries again, and logs why it cannot
            await self._loader.reload(version.id)
        await self._publish()
        return VisibleVersion(version, access)

    async def _get_live_version(self, caller: Caller, model: str) -> VisibleVersion:
        """Return the version that answers. Raises NotFound, NotPermitted, Conflict where none is live."""
        async with self._database.read() as session:
            row, access = await find_model(session, caller, model)
            if row.live is None:
                raise Conflict(f"`{row.name}` has no live version: promote one.")
            return VisibleVersion(await find_version(session, row, row.live), access)

    async def get_version_to_test(self, caller: Caller, model: str, number: int | None) -> VisibleVersion:
        """Return a version that may be asked: the live one, or any that was not archived for those who manage the
        model and may read its versions. Raises NotFound, NotPermitted, Conflict."""
        if number is None:
            return await self._get_live_version(caller, model)
        READ.check(caller)
        visible = await self.get_version(caller, model, number, TEST)
        version = visible.version
        if version.status != "ready":
            raise Conflict(f"Version {number} is `{version.status}`: only a `ready` version can be tested.")
        if version.lifecycle == "archived":
            raise Conflict(f"Version {number} is archived: upload it again.")
        return visible

    async def read_onnx(self, version: Version) -> bytes:
        """Return the frozen graph of a ready version. Raises Conflict, and Unavailable where the one that was verified
        is not there."""
        if version.status != "ready":
            raise Conflict(f"Version {version.number} is `{version.status}`: there is no ONNX to download.")
        try:
            return await asyncio.to_thread(self._files.read_onnx, version.id, version.onnx_sha256)
        except (OSError, LoadError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            raise Unavailable(
                f"The graph of version {version.number} cannot be read: {reason}. Restore `model.onnx` from a backup, "
                "or upload the file again."
            ) from error
