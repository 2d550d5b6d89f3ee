"""Turns uploads into live versions, a few at a time, and takes up again what a restart interrupted."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.changes import Changes
from serval.conversion.examine import Examination, examine
from serval.conversion.freeze import Frozen, freeze
from serval.conversion.sandbox.sandbox import Sandbox
from serval.data_plane.plane import GraphError, LoadError
from serval.db.base import now
from serval.db.engine import Database
from serval.errors import DatabaseUnavailable, NotConvertible, SchemaChanged, ServalError
from serval.log import Log
from serval.metrics import ConversionMetrics
from serval.models.lifecycle import UNDER_WAY, Status, advance
from serval.models.live import MAX_ATTEMPTS, LiveModels, Probe
from serval.models.samples import example_body, freeze_request
from serval.models.service import changes_schema, make_live, onnx_key, schema_changed, source_key
from serval.models.tables import Model, Version
from serval.settings.settings import Settings
from serval.storage.disk import DiskStorage

T = TypeVar("T")

DATABASE_SECONDS = 0.5
"""Between two tries to record what happened while the database is away."""


class Conversions:
    """The queue of uploads to be converted."""

    def __init__(
        self,
        database: Database,
        storage: DiskStorage,
        live: LiveModels,
        changes: Changes,
        sandbox: Sandbox,
        settings: Settings,
        metrics: ConversionMetrics,
        log: Log,
    ) -> None:
        self._database = database
        self._storage = storage
        self._live = live
        self._changes = changes
        self._sandbox = sandbox
        self._turns = asyncio.Semaphore(settings.convert_parallel)
        self._limit_bytes = settings.convert_memory_bytes // 2
        self._metrics = metrics
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Sweep files that belong to no version and take up interrupted conversions."""
        async with self._database.read() as session:
            known = set(await session.scalars(select(Version.id)))
            interrupted = list(
                await session.scalars(select(Version.id).where(Version.status.in_(UNDER_WAY)).order_by(Version.id))
            )
        for folder in set(self._storage.folders()) - known:
            self._storage.delete(folder)
        for version_id in interrupted:
            self.enqueue(version_id)

    def enqueue(self, version_id: str) -> None:
        """Convert a pending version when its turn comes."""
        task = asyncio.create_task(self._take_turn(version_id), name=f"convert {version_id}")
        self._tasks[version_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(version_id, None))

    async def wait(self, version_id: str, seconds: float) -> None:
        """Return when the conversion has ended, or after some seconds."""
        task = self._tasks.get(version_id)
        if task is not None:
            await asyncio.wait([task], timeout=seconds)

    async def examine(self, upload: Path, columns: list[str] | None, sample: str | None) -> Examination:
        """Say what a file is and whether it would be served, when its turn comes; nothing of it is kept. Raises
        BadRequest."""
        request = freeze_request(columns, sample, self._limit_bytes)
        async with self._turns:
            return await examine(self._sandbox, upload, request)

    async def stop(self) -> None:
        """End conversions under way; the next start takes them up again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_turn(self, version_id: str) -> None:
        async with self._turns:
            started = time.monotonic()
            outcome = await self._outcome(version_id)
            self._metrics.ended.labels(outcome).inc()
            self._metrics.seconds.observe(time.monotonic() - started)

    async def _outcome(self, version_id: str) -> str:
        """Convert, or record why not. Returns `ready` or the code of the error."""
        try:
            await self._convert(version_id)
        except ServalError as error:
            await self._fail(version_id, error.code, error.message, error.extra.get("report"))
            return error.code
        except Exception as error:  # noqa: BLE001 - whatever it is, the version must not stay `converting` for ever
            self._log.error("conversion_crashed", version=version_id, exception=error)
            await self._fail(
                version_id,
                ServalError.code,
                "Serval failed while converting; the log has the cause. Upload the file again.",
            )
            return ServalError.code
        return "ready"

    async def _convert(self, version_id: str) -> None:
        version = await self._patiently(lambda: self._begin(version_id))
        self._log.info("conversion_started", version=version_id, model=version.model.name)
        try:
            frozen = await self._freeze(version)
            await self._try_and_finish(version_id, frozen)
        except asyncio.CancelledError:
            await self._put_back(version_id)
            raise
        self._log.info("conversion_ended", version=version_id, model=version.model.name, form=frozen.report.form)

    async def _freeze(self, version: Version) -> Frozen:
        request = freeze_request(version.request["columns"], version.request["sample"], self._limit_bytes)
        source = self._storage.path(source_key(version.id))
        return await freeze(self._sandbox, source, request, lambda stage: self._enter_stage(version.id, stage))

    async def _try_and_finish(self, version_id: str, frozen: Frozen) -> None:
        """Store the result, load it into the engine that will serve it, and go live."""
        probe = Probe(frozen.numbers, frozen.strings)
        sha256 = await asyncio.to_thread(self._store, version_id, frozen.onnx, probe)
        try:
            async with self._live.trial(version_id, frozen.signature, frozen.onnx, probe), self._live.announcing():
                await self._patiently(lambda: self._finish(version_id, frozen, sha256))
        except (GraphError, LoadError) as error:
            raise NotConvertible(f"The engine can not run the converted model: {error}") from error

    def _store(self, version_id: str, onnx: bytes, probe: Probe) -> str:
        """Write what a load needs, durably. Returns the SHA-256 of the graph."""
        self._storage.write(onnx_key(version_id), onnx)
        self._storage.write(f"{version_id}/probe", msgspec.msgpack.encode(probe))
        return hashlib.sha256(onnx).hexdigest()

    async def _patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        """Record something as soon as the database takes it: what was accepted is not given up because it is away."""
        while True:
            try:
                return await write()
            except DatabaseUnavailable:
                self._log.warning("conversion_waiting_for_database")
                await asyncio.sleep(DATABASE_SECONDS)

    async def _begin(self, version_id: str) -> Version:
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            if version.attempts >= MAX_ATTEMPTS:
                raise NotConvertible(
                    f"The server died {version.attempts} times while converting this file. Upload it again."
                )
            version.attempts += 1
            version.status = "converting"
            return version

    async def _put_back(self, version_id: str) -> None:
        """Leave the version as it was: an orderly stop is not its fault."""
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            if version.status in UNDER_WAY:
                version.status = "pending"
                version.attempts -= 1

    async def _enter_stage(self, version_id: str, stage: str) -> None:
        await self._patiently(lambda: self._write_stage(version_id, msgspec.convert(stage, Status)))

    async def _write_stage(self, version_id: str, stage: Status) -> None:
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            if version.status != stage:
                version.status = advance(version.status, stage)

    async def _finish(self, version_id: str, frozen: Frozen, sha256: str) -> None:
        """Record the result and go live, in one transaction."""
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            if version.status == "ready":  # it was recorded, only the database's word of it was lost
                return
            version.status = advance(version.status, "ready")
            version.attempts = 0
            version.ready_at = now()
            version.signature = msgspec.to_builtins(frozen.signature)
            version.report = msgspec.to_builtins(frozen.report)
            version.example = example_body(frozen.signature, frozen.numbers, frozen.strings)
            version.onnx_bytes = len(frozen.onnx)
            version.onnx_sha256 = sha256
            model = await session.get_one(
                Model, version.model_id, with_for_update={"of": Model}, populate_existing=True
            )
            version.held = await _reason_to_hold(session, model, version, frozen)
            if version.held is None:
                make_live(model, version)
            self._changes.record(session, "model", model.id)

    async def _fail(self, version_id: str, code: str, message: str, report: object = None) -> None:
        await self._patiently(lambda: self._write_failure(version_id, code, message, report))
        self._log.info("conversion_failed", version=version_id, code=code, reason=message)

    async def _write_failure(self, version_id: str, code: str, message: str, report: object) -> None:
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            version.status = "failed"
            version.failure = {"code": code, "message": message}
            if isinstance(report, dict):
                version.report = report


async def _reason_to_hold(
    session: AsyncSession, model: Model, version: Version, frozen: Frozen
) -> dict[str, str] | None:
    if frozen.report.hold_reason is not None:
        return {"code": "unproven", "message": frozen.report.hold_reason}
    if model.live is not None and model.live > version.number:
        return {
            "code": "superseded",
            "message": f"Version {model.live}, which was uploaded later, was live before this one was ready.",
        }
    if not version.request["allow_schema_change"] and await changes_schema(session, model, version):
        return {"code": SchemaChanged.code, "message": schema_changed(version).message}
    return None
