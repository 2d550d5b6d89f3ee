"""The rules of the registry: who sees what, what goes live, what is set aside."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import Action, record
from serval.auth.caller import Caller
from serval.changes import Changes
from serval.db.base import now
from serval.db.engine import Database
from serval.errors import BadRequest, Conflict, NameTaken, NotFound, NotPermitted, RateLimited, SchemaChanged
from serval.ids import new_id
from serval.models.access import (
    CHANGE,
    DELETE,
    PROMOTE,
    RESTORE,
    RETIRE,
    SEE,
    UPLOAD,
    Act,
    check_key,
    check_makes_models,
)
from serval.models.lifecycle import UNDER_WAY, check_promotable, retire
from serval.models.live import LiveModels
from serval.models.names import check_reference
from serval.models.queries import (
    VisibleModel,
    VisibleVersion,
    find_deleted_or_not,
    find_model,
    find_models,
    find_version,
    full_name,
    subject_of,
)
from serval.models.samples import freeze_request
from serval.models.tables import Model, Version
from serval.models.upload import UploadForm
from serval.storage.disk import DiskStorage, Incoming


class ModelService:
    """Reads and changes models and versions, and publishes what changed."""

    def __init__(
        self, database: Database, storage: DiskStorage, live: LiveModels, changes: Changes, max_pending_uploads: int
    ) -> None:
        self._database = database
        self._storage = storage
        self._live = live
        self._changes = changes
        self._max_pending_uploads = max_pending_uploads
        self._receiving: Counter[str] = Counter()

    async def list_models(self, caller: Caller) -> list[VisibleModel]:
        """Return what the caller may see and their key is for, by name."""
        async with self._database.read() as session:
            return await find_models(session, caller)

    async def get_model(self, caller: Caller, model: str, act: Act = SEE) -> VisibleModel:
        """Return a model by id, name or `owner/name`. Raises NotFound, NotPermitted where the caller may not do this
        with it."""
        async with self._database.read() as session:
            return await find_model(session, caller, model, act)

    async def change_model(self, caller: Caller, model: str, changes: Mapping[str, Any]) -> VisibleModel:
        """Change the description of a model, or its cache, by the names of the columns. Raises NotFound,
        NotPermitted."""
        async with self._database.write() as session:
            seen = await find_model(session, caller, model, CHANGE, to_change=True)
            for name, value in changes.items():
                setattr(seen.model, name, value)
            record(session, caller, "model.change", subject_of(seen.model), fields=sorted(changes))
            self._changes.record(session, "model", seen.model.id)
        await self._live.refresh()
        return seen

    async def delete_model(self, caller: Caller, model: str) -> None:
        """Take a model away from everybody; `restore_model` brings it back, shares included. Raises NotFound,
        NotPermitted."""
        async with self._database.write() as session:
            row = (await find_model(session, caller, model, DELETE, to_change=True)).model
            row.deleted_at = now()
            record(session, caller, "model.delete", subject_of(row))
            self._changes.record(session, "model", row.id)
        await self._live.refresh()

    async def restore_model(self, caller: Caller, model_id: str) -> VisibleModel:
        """Bring a deleted model back. Raises NotFound, NotPermitted, NameTaken when another took its name."""
        async with self._database.write() as session:
            seen = await find_deleted_or_not(session, caller, model_id, RESTORE)
            seen.model.deleted_at = None
            record(session, caller, "model.restore", subject_of(seen.model))
            self._changes.record(session, "model", seen.model.id)
            try:
                await session.flush()
            except IntegrityError:
                raise NameTaken(f"Another model has the name `{seen.model.name}` by now: delete it first.") from None
        await self._live.refresh()
        return seen

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

    async def get_live_version(self, caller: Caller, model: str) -> Version:
        """Return the version that answers. Raises NotFound, NotPermitted, Conflict where none is live."""
        async with self._database.read() as session:
            row, _ = await find_model(session, caller, model)
            if row.live is None:
                raise Conflict(f"`{row.name}` has no live version: promote one.")
            return await find_version(session, row, row.live)

    @asynccontextmanager
    async def room(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a place for an upload while it is received. Raises RateLimited, before its body is read, where there is
        none."""
        async with self._database.read() as session:
            under_way = await _pending(session, caller.user_id) + self._receiving[caller.user_id]
        if under_way >= self._max_pending_uploads:
            raise RateLimited(
                f"{under_way} of your uploads are not done yet: wait for one to end (`max_pending_uploads`)."
            )
        self._receiving[caller.user_id] += 1
        try:
            yield
        finally:
            self._receiving[caller.user_id] -= 1

    async def add_version(self, caller: Caller, form: UploadForm, incoming: Incoming) -> Version:
        """Store an uploaded file as the next version of its model, to be converted.

        Raises BadRequest, NotFound, NotPermitted, and RateLimited where uploads for the owner of a shared model are not
        done yet.
        """
        if form.name is None:
            raise BadRequest("`name`: say what the model is called.")
        name = check_reference(form.name)
        if incoming.size_bytes == 0:
            raise BadRequest(f"`file`: {form.filename} is empty.")
        freeze_request(
            form.columns, form.sample, limit_bytes=0
        )  # what is wrong with the sample is said before anything is stored
        version_id = new_id("ver")
        # The file is durable before its row exists: a row never points at nothing, and a file without a row is swept at
        # the next start.
        await asyncio.to_thread(incoming.keep, self._storage.path(source_key(version_id)))
        try:
            return await self._insert_version(version_id, caller, name, form, incoming)
        except IntegrityError:  # another first upload under this name was quicker; now there is a row to wait for
            return await self._insert_version(version_id, caller, name, form, incoming)
        except (BadRequest, NotFound, NotPermitted, RateLimited):
            self._storage.delete(version_id)
            raise

    async def _insert_version(
        self, version_id: str, caller: Caller, name: str, form: UploadForm, incoming: Incoming
    ) -> Version:
        async with self._database.write() as session:
            model = await _find_or_add_model(session, caller, name)
            await self._check_room_of_owner(session, caller, model)
            if form.description is not None:
                model.description = form.description
            latest = await session.scalar(select(func.max(Version.number)).where(Version.model_id == model.id))
            version = _new_version(version_id, model, (latest or 0) + 1, form, incoming)
            session.add(version)
            about = {
                "version": version.number,
                "sha256": version.source_sha256,
                "bytes": version.source_bytes,
                "filename": version.filename,
            }
            record(session, caller, "model.upload", subject_of(model), **about)
        return version

    async def _check_room_of_owner(self, session: AsyncSession, caller: Caller, model: Model) -> None:
        """Hold those who manage a model of another to what its owner may upload: `room` has counted only what is their
        own."""
        if model.owner_id == caller.user_id:
            return
        under_way = await _pending(session, model.owner_id)
        if under_way >= self._max_pending_uploads:
            owner = model.owner.username
            raise RateLimited(
                f"{under_way} uploads for models of `{owner}` are not done yet: wait for one to end (`max_pending_uploads`)."
            )

    async def promote(self, caller: Caller, model: str, number: int, *, allow_schema_change: bool) -> VisibleVersion:
        """Make a version the one that answers. Raises NotFound, NotPermitted, Conflict, SchemaChanged."""
        return await self._put_live(caller, model, number, "version.promote", allow_schema_change=allow_schema_change)

    async def _put_live(
        self,
        caller: Caller,
        model: str,
        number: int,
        action: Literal["version.promote", "version.rollback"],
        *,
        allow_schema_change: bool,
    ) -> VisibleVersion:
        version, _ = await self.get_version(caller, model, number, PROMOTE)
        check_promotable(version.number, version.status, version.lifecycle)
        await self._live.ensure_loaded(version.id)
        async with self._database.write() as session:
            row, access = await find_model(session, caller, model, PROMOTE, to_change=True)
            version = await find_version(session, row, number)
            check_promotable(version.number, version.status, version.lifecycle)
            if not allow_schema_change and await changes_schema(session, row, version):
                raise schema_changed(version)
            record(session, caller, action, subject_of(row), version=number, before=row.live)
            make_live(row, version)
            self._changes.record(session, "model", row.id)
        await self._live.refresh()
        return VisibleVersion(version, access)

    async def roll_back(self, caller: Caller, model: str) -> VisibleVersion:
        """Make the version live that was live before. Raises NotFound, NotPermitted, Conflict when there is none."""
        row, _ = await self.get_model(caller, model, PROMOTE)
        if row.previous is None:
            raise Conflict(f"`{row.name}` has no earlier live version to go back to.")
        return await self._put_live(caller, row.id, row.previous, "version.rollback", allow_schema_change=True)

    async def retire(
        self, caller: Caller, model: str, number: int, lifecycle: Literal["deprecated", "archived"]
    ) -> VisibleVersion:
        """Deprecate or archive a version. Raises NotFound, NotPermitted, Conflict."""
        async with self._database.write() as session:
            row, access = await find_model(session, caller, model, RETIRE, to_change=True)
            version = await find_version(session, row, number)
            version.lifecycle = retire(version.lifecycle, lifecycle, is_live=row.live == number)
            action: Action = "version.deprecate" if lifecycle == "deprecated" else "version.archive"
            record(session, caller, action, subject_of(row), version=number)
            self._changes.record(session, "model", row.id)
        await self._live.refresh()
        return VisibleVersion(version, access)

    def onnx(self, version: Version) -> bytes:
        """Return the frozen graph of a ready version. Raises Conflict."""
        if version.status != "ready":
            raise Conflict(f"Version {version.number} is `{version.status}`: there is no ONNX to download.")
        return self._storage.read(onnx_key(version.id))


def source_key(version_id: str) -> str:
    return f"{version_id}/source"


def onnx_key(version_id: str) -> str:
    return f"{version_id}/model.onnx"


def make_live(model: Model, version: Version) -> None:
    """Let a version answer from the next refresh on."""
    if model.live != version.number:
        model.previous, model.live = model.live, version.number


async def changes_schema(session: AsyncSession, model: Model, version: Version) -> bool:
    """Whether a version takes other columns than the live one."""
    if model.live is None or model.live == version.number:
        return False
    live = await find_version(session, model, model.live)
    return _inputs(live) != _inputs(version)


def schema_changed(version: Version) -> SchemaChanged:
    return SchemaChanged(
        f"Version {version.number} takes other columns than the live version, so requests that work today would fail; it is ready, "
        "but not live. Promote it with `allow_schema_change` when its callers know."
    )


def _inputs(version: Version) -> list[tuple[str, str]]:
    columns = (version.signature or {}).get("columns", [])
    return [(column["name"], column["kind"]) for column in columns]


def _new_version(version_id: str, model: Model, number: int, form: UploadForm, incoming: Incoming) -> Version:
    return Version(
        id=version_id,
        model_id=model.id,
        model=model,
        number=number,
        status="pending",
        lifecycle="active",
        filename=form.filename,
        source_bytes=incoming.size_bytes,
        source_sha256=incoming.sha256(),
        request={"columns": form.columns, "sample": form.sample, "allow_schema_change": form.allow_schema_change},
        attempts=0,
        created_at=now(),
    )


async def _pending(session: AsyncSession, owner_id: str) -> int:
    """How many uploads for the models of a user are not done yet."""
    query = select(func.count()).select_from(Version).join(Model)
    return await session.scalar(query.where(Model.owner_id == owner_id, Version.status.in_(UNDER_WAY))) or 0


async def _find_or_add_model(session: AsyncSession, caller: Caller, name: str) -> Model:
    """Return the model that an upload is for: one of the caller's own, made where there is none, or `owner/name` of one
    they manage."""
    owner, _, own_name = name.rpartition("/")
    if owner not in {"", caller.username}:
        return (await find_model(session, caller, name, UPLOAD, to_change=True)).model
    query = select(Model).where(Model.owner_id == caller.user_id, Model.name == own_name, Model.deleted_at.is_(None))
    model = await session.scalar(query.with_for_update(of=Model))
    if model is not None:
        check_key(caller, model.id, full_name(model))
        return model
    check_makes_models(caller)
    model = Model(id=new_id("mdl"), owner_id=caller.user_id, name=own_name, description="", created_at=now())
    session.add(model)
    await session.flush()
    await session.refresh(model)
    return model
