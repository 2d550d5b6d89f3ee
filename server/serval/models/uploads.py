"""Accepts uploads: each becomes the next version of its model, to be converted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import record
from serval.auth.caller import Caller
from serval.db.engine import Database, now
from serval.errors import BadRequest, Conflict, NotFound, NotPermitted, RateLimited, StorageQuotaExceeded
from serval.ids import new_id
from serval.models.access import UPLOAD, check_makes_models
from serval.models.files import VersionFiles
from serval.models.lifecycle import UNDER_WAY
from serval.models.names import check_reference
from serval.models.queries import find_model, find_own_model, subject_of
from serval.models.samples import freeze_request
from serval.models.storage_quota import StorageQuota
from serval.models.tables import Model, Share, Version
from serval.models.upload_form import UploadForm, check_length
from serval.storage.disk import Incoming, of_uploads
from serval.users.tables import User

MAX_FORM_BYTES = 64 << 10
"""What an announced body may have besides the file, for a refusal before it is read."""

MAX_TRIES = 5
"""Of an upload whose name is made by another request meanwhile; the next try finds its row, unless it is deleted."""


class UploadService:
    """Bounds the uploads that are under way, and stores those that arrive."""

    def __init__(
        self, database: Database, files: VersionFiles, quota: StorageQuota, *, max_pending_uploads: int, max_bytes: int
    ) -> None:
        """`max_bytes`: of a file."""
        self._database = database
        self._files = files
        self._quota = quota
        self._max_pending_uploads = max_pending_uploads
        self.max_bytes = max_bytes
        self._receiving: Counter[str] = Counter()
        """By user: uploads whose bodies are being read."""

    @asynccontextmanager
    async def receive(self, caller: Caller, announced_bytes: int | None) -> AsyncIterator[Incoming]:
        """Yield a file for the body of an upload, deleted at the end of the block unless `add_version` stored it.

        Raises TooLarge, RateLimited and DiskFull, before the body is read, where it announces too many bytes, too
        many uploads of the caller are pending, or the disk is nearly full.
        """
        check_length(announced_bytes, self.max_bytes)
        async with self._slot(caller):
            with self._files.receive(of_uploads(self.max_bytes)) as incoming:
                yield incoming

    async def check_quota(self, caller: Caller, announced_bytes: int | None) -> None:
        """Refuse a body before it is read that the caller has no room for. Raises StorageQuotaExceeded.

        Not where they manage models of others, for whose bytes their owners answer: that is known at the end.
        """
        async with self._database.read() as session:
            user = await session.get_one(User, caller.user_id)
            shared = select(Share.id).where(Share.user_id == caller.user_id, Share.permission == "manage").limit(1)
            if await session.scalar(shared) is None:
                self._quota.check(user, max(1, (announced_bytes or 0) - MAX_FORM_BYTES))

    async def add_version(self, caller: Caller, form: UploadForm, incoming: Incoming) -> Version:
        """Store an uploaded file as the next version of its model, to be converted.

        Raises BadRequest, NotFound, NotPermitted, Conflict, RateLimited where uploads for the owner of a shared model
        are not done yet, and StorageQuotaExceeded where the owner has no room for it.
        """
        name = _check(form, incoming)
        version_id = new_id("ver")
        # The file is durable before its row exists: a row never points at nothing, and the next start deletes a file
        # without a row.
        await asyncio.to_thread(self._files.keep_source, version_id, incoming)
        try:
            for _ in range(MAX_TRIES):
                with suppress(IntegrityError):  # another first upload or a restore of this name was quicker
                    return await self._insert_version(version_id, caller, name, form, incoming)
        except (BadRequest, NotFound, NotPermitted, RateLimited, StorageQuotaExceeded):
            self._files.delete(version_id)
            raise
        self._files.delete(version_id)
        raise Conflict(f"`{name}` is being made and deleted by others all the time: upload the file again.")

    @asynccontextmanager
    async def _slot(self, caller: Caller) -> AsyncIterator[None]:
        """Count an upload while it is received. Raises RateLimited."""
        async with self._database.read() as session:
            pending = await _count_pending(session, caller.user_id) + self._receiving[caller.user_id]
        if pending >= self._max_pending_uploads:
            raise RateLimited(
                f"{pending} of your uploads are not done yet: wait for one to end (`max_pending_uploads`)."
            )
        self._receiving[caller.user_id] += 1
        try:
            yield
        finally:
            self._receiving[caller.user_id] -= 1

    async def _insert_version(
        self, version_id: str, caller: Caller, name: str, form: UploadForm, incoming: Incoming
    ) -> Version:
        async with self._database.write() as session:
            model = await _find_or_add_model(session, caller, name)
            await self._check_slots_of_owner(session, caller, model)
            if form.description is not None:
                model.description = form.description
            owner = await session.get_one(User, model.owner_id, with_for_update=True, populate_existing=True)
            self._quota.check(owner, incoming.size_bytes)
            owner.stored_bytes += incoming.size_bytes
            latest = await session.scalar(select(func.max(Version.number)).where(Version.model_id == model.id))
            version = _new_version(version_id, model, (latest or 0) + 1, form, incoming)
            session.add(version)
            _record_upload(session, caller, version)
        return version

    async def _check_slots_of_owner(self, session: AsyncSession, caller: Caller, model: Model) -> None:
        """Hold those who manage another user's model to what its owner may upload: `receive` has counted only the
        uploads for their own models."""
        if model.owner_id == caller.user_id:
            return
        pending = await _count_pending(session, model.owner_id)
        if pending >= self._max_pending_uploads:
            owner = model.owner.username
            raise RateLimited(
                f"{pending} uploads for models of `{owner}` are not done yet: wait for one to end "
                "(`max_pending_uploads`)."
            )


def _check(form: UploadForm, incoming: Incoming) -> str:
    """Return the name of the model that an upload is for, before anything is stored. Raises BadRequest."""
    if form.name is None:
        raise BadRequest("`name`: say what the model is called.")
    name = check_reference(form.name)
    if incoming.size_bytes == 0:
        raise BadRequest(f"`file`: {form.filename} is empty.")
    freeze_request(form.columns, form.sample, limit_bytes=0, expected_with=form.expected_with)
    return name


async def _count_pending(session: AsyncSession, owner_id: str) -> int:
    """Return how many uploads for the models of a user are not done yet."""
    query = select(func.count()).select_from(Version).join(Model)
    return await session.scalar(query.where(Model.owner_id == owner_id, Version.status.in_(UNDER_WAY))) or 0


async def _find_or_add_model(session: AsyncSession, caller: Caller, name: str) -> Model:
    """Return the model that an upload is for: one of the caller's own, made where there is none, or `owner/name` of one
    they manage."""
    owner, _, own_name = name.rpartition("/")
    if owner not in {"", caller.username}:
        return (await find_model(session, caller, name, UPLOAD, to_change=True)).model
    model = await find_own_model(session, caller, own_name)
    if model is not None:
        return model
    check_makes_models(caller)
    model = Model(id=new_id("mdl"), owner_id=caller.user_id, name=own_name, description="", created_at=now())
    session.add(model)
    await session.flush()
    await session.refresh(model)
    return model


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
        stored_bytes=incoming.size_bytes,
        source_sha256=incoming.sha256(),
        request={
            "columns": form.columns,
            "sample": form.sample,
            "expected_with": form.expected_with,
            "allow_schema_change": form.allow_schema_change,
        },
        attempts=0,
        created_at=now(),
    )


def _record_upload(session: AsyncSession, caller: Caller, version: Version) -> None:
    about = {
        "version": version.number,
        "sha256": version.source_sha256,
        "bytes": version.source_bytes,
        "filename": version.filename,
    }
    record(session, caller, "model.upload", subject_of(version.model), **about)
