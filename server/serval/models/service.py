"""The rules of the registry: who sees what, what goes live, what is set aside."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from serval.auth.caller import Caller
from serval.changes import Changes
from serval.db.base import now
from serval.db.engine import Database
from serval.errors import BadRequest, Conflict, NameTaken, NotFound, SchemaChanged, TooMany
from serval.ids import new_id
from serval.models.lifecycle import UNDER_WAY, Lifecycle, check_promotable, retire
from serval.models.live import LiveModels
from serval.models.names import check_name
from serval.models.samples import freeze_request
from serval.models.tables import Model, Version
from serval.models.upload import UploadForm
from serval.storage.disk import DiskStorage, Incoming

LARGEST_NUMBER = 2**31 - 1
"""Of a version: what an integer column of PostgreSQL holds."""


class ModelService:
    """Reads and changes models and versions, and publishes what changed."""

    def __init__(self, database: Database, storage: DiskStorage, live: LiveModels, changes: Changes, max_pending_uploads: int) -> None:
        self._database = database
        self._storage = storage
        self._live = live
        self._changes = changes
        self._max_pending_uploads = max_pending_uploads
        self._receiving: Counter[str] = Counter()

    async def list_models(self, caller: Caller) -> list[Model]:
        """Return what the caller may see, by name."""
        query = select(Model).where(Model.deleted_at.is_(None)).order_by(Model.name, Model.id)
        if not caller.is_admin:
            query = query.where(Model.owner_id == caller.user_id)
        async with self._database.read() as session:
            return list(await session.scalars(query))

    async def get_model(self, caller: Caller, model: str) -> Model:
        """Return a model by id, name or `owner/name`. Raises NotFound."""
        async with self._database.read() as session:
            return await _find_model(session, caller, model)

    async def change_model(self, caller: Caller, model: str, changes: Mapping[str, Any]) -> Model:
        """Change the description of a model, or its cache, by the names of the columns. Raises NotFound."""
        async with self._database.write() as session:
            row = await _find_model(session, caller, model)
            for name, value in changes.items():
                setattr(row, name, value)
        if changes.keys() - {"description"}:
            await self._live.refresh()
        return row

    async def delete_model(self, caller: Caller, model: str) -> None:
        """Take a model away from everybody; `restore_model` brings it back. Raises NotFound."""
        async with self._database.write() as session:
            row = await _find_model(session, caller, model)
            row.deleted_at = now()
            self._changes.record(session, "model", row.id)
        await self._live.refresh()

    async def restore_model(self, caller: Caller, model_id: str) -> Model:
        """Bring a deleted model back. Raises NotFound, NameTaken when another took its name."""
        async with self._database.write() as session:
            row = await session.get(Model, model_id)
            if row is None or not caller.may_see(row.owner_id):
                raise NotFound(f"There is no model `{model_id[:100]}`.")
            row.deleted_at = None
            self._changes.record(session, "model", row.id)
            try:
                await session.flush()
            except IntegrityError:
                raise NameTaken(f"Another model has the name `{row.name}` by now: delete it first.") from None
        await self._live.refresh()
        return row

    async def list_versions(self, caller: Caller, model: str) -> list[Version]:
        """Return all versions of a model, newest first. Raises NotFound."""
        async with self._database.read() as session:
            row = await _find_model(session, caller, model)
            versions = await session.scalars(select(Version).where(Version.model_id == row.id).order_by(Version.number.desc()))
            return list(versions)

    async def get_version(self, caller: Caller, model: str, number: int) -> Version:
        """Return one version. Raises NotFound."""
        async with self._database.read() as session:
            return await _find_version(session, await _find_model(session, caller, model), number)

    async def get_live_version(self, caller: Caller, model: str) -> Version:
        """Return the version that answers. Raises NotFound, Conflict where none is live."""
        async with self._database.read() as session:
            row = await _find_model(session, caller, model)
            if row.live is None:
                raise Conflict(f"`{row.name}` has no live version: promote one.")
            return await _find_version(session, row, row.live)

    @asynccontextmanager
    async def room(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a place for an upload while it is received. Raises TooMany, before its body is read, where there is none."""
        query = select(func.count()).select_from(Version).join(Model)
        async with self._database.read() as session:
            pending = await session.scalar(query.where(Model.owner_id == caller.user_id, Version.status.in_(UNDER_WAY)))
        under_way = (pending or 0) + self._receiving[caller.user_id]
        if under_way >= self._max_pending_uploads:
            raise TooMany(f"{under_way} of your uploads are not done yet: wait for one to end (`max_pending_uploads`).")
        self._receiving[caller.user_id] += 1
        try:
            yield
        finally:
            self._receiving[caller.user_id] -= 1

    async def add_version(self, caller: Caller, form: UploadForm, incoming: Incoming) -> Version:
        """Store an uploaded file as the next version of its model, to be converted. Raises BadRequest."""
        if form.name is None:
            raise BadRequest("`name`: say what the model is called.")
        name = check_name(form.name)
        if incoming.size_bytes == 0:
            raise BadRequest(f"`file`: {form.filename} is empty.")
        freeze_request(form.columns, form.sample, limit_bytes=0)  # what is wrong with the sample is said before anything is stored
        version_id = new_id("ver")
        # The file is durable before its row exists: a row never points at nothing, and a file without a row is swept at the next start.
        await asyncio.to_thread(incoming.keep, self._storage.path(source_key(version_id)))
        try:
            return await self._insert_version(version_id, caller, name, form, incoming)
        except IntegrityError:  # another first upload under this name was quicker; now there is a row to wait for
            return await self._insert_version(version_id, caller, name, form, incoming)
        except BadRequest:
            self._storage.delete(version_id)
            raise

    async def _insert_version(self, version_id: str, caller: Caller, name: str, form: UploadForm, incoming: Incoming) -> Version:
        async with self._database.write() as session:
            model = await _find_or_add_model(session, caller, name)
            if form.description is not None:
                model.description = form.description
            latest = await session.scalar(select(func.max(Version.number)).where(Version.model_id == model.id))
            version = _new_version(version_id, model, (latest or 0) + 1, form, incoming)
            session.add(version)
        return version

    async def promote(self, caller: Caller, model: str, number: int, *, allow_schema_change: bool) -> Version:
        """Make a version the one that answers. Raises NotFound, Conflict, SchemaChanged."""
        version = await self.get_version(caller, model, number)
        check_promotable(version.number, version.status, version.lifecycle)
        await self._live.ensure_loaded(version.id)
        async with self._database.write() as session:
            row = await _find_model(session, caller, model, to_change=True)
            version = await _find_version(session, row, number)
            check_promotable(version.number, version.status, version.lifecycle)
            if not allow_schema_change and await changes_schema(session, row, version):
                raise schema_changed(version)
            make_live(row, version)
            self._changes.record(session, "model", row.id)
        await self._live.refresh()
        return version

    async def roll_back(self, caller: Caller, model: str) -> Version:
        """Make the version live that was live before. Raises NotFound, Conflict when there is none."""
        row = await self.get_model(caller, model)
        if row.previous is None:
            raise Conflict(f"`{row.name}` has no earlier live version to go back to.")
        return await self.promote(caller, row.id, row.previous, allow_schema_change=True)

    async def retire(self, caller: Caller, model: str, number: int, lifecycle: Lifecycle) -> Version:
        """Deprecate or archive a version. Raises NotFound, Conflict."""
        async with self._database.write() as session:
            row = await _find_model(session, caller, model, to_change=True)
            version = await _find_version(session, row, number)
            version.lifecycle = retire(version.lifecycle, lifecycle, is_live=row.live == number)
            self._changes.record(session, "model", row.id)
        await self._live.refresh()
        return version

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
    live = await _find_version(session, model, model.live)
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


async def _find_or_add_model(session: AsyncSession, caller: Caller, name: str) -> Model:
    query = select(Model).where(Model.owner_id == caller.user_id, Model.name == name, Model.deleted_at.is_(None))
    model = await session.scalar(query.with_for_update(of=Model))
    if model is None:
        model = Model(id=new_id("mdl"), owner_id=caller.user_id, name=name, description="", created_at=now())
        session.add(model)
        await session.flush()
        await session.refresh(model)
    return model


async def _find_model(session: AsyncSession, caller: Caller, model: str, *, to_change: bool = False) -> Model:
    """`to_change`: others who want to change it wait for the end of this transaction."""
    query = select(Model).where(Model.deleted_at.is_(None))
    owner, slash, name = model.rpartition("/")
    if slash:
        query = query.where(Model.name == name, Model.owner.has(username=owner))
    elif model.startswith("mdl_"):
        query = query.where(Model.id == model)
    else:
        query = query.where(Model.name == model, Model.owner_id == caller.user_id)
    row = await session.scalar(query.with_for_update(of=Model) if to_change else query)
    if row is None or not caller.may_see(row.owner_id):
        raise NotFound(f"There is no model `{model[:100]}`.")
    return row


async def _find_version(session: AsyncSession, model: Model, number: int) -> Version:
    query = select(Version).where(Version.model_id == model.id, Version.number == number)
    version = await session.scalar(query) if number <= LARGEST_NUMBER else None
    if version is None:
        raise NotFound(f"`{model.name}` has no version {number}.")
    return version
