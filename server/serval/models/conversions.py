"""Converts uploads, a few at a time, and releases what they become."""

import asyncio
from pathlib import Path

import msgspec
from sqlalchemy import select

from serval.conversion.examine import Examination, examine
from serval.conversion.freeze import Frozen, freeze
from serval.conversion.sandbox.sandbox import Sandbox
from serval.data_plane.plane import GraphError, LoadError
from serval.db.engine import Database
from serval.errors import NotConvertible, ServalError
from serval.log import Log
from serval.metrics import ConversionMetrics
from serval.models.conversion_records import ConversionRecords
from serval.models.files import Probe, VersionFiles
from serval.models.lifecycle import UNDER_WAY, Status
from serval.models.loading import ModelLoader
from serval.models.publication import Publication
from serval.models.samples import freeze_request
from serval.models.tables import Model, Version
from serval.settings.settings import Settings
from serval.work.queue import TooManyAttempts, WorkQueue, WorkStates

STATES = WorkStates(waiting="pending", running="converting", unfinished=UNDER_WAY)


class Conversions:
    """The queue of uploads to be converted."""

    def __init__(
        self,
        database: Database,
        files: VersionFiles,
        loader: ModelLoader,
        publication: Publication,
        sandbox: Sandbox,
        settings: Settings,
        metrics: ConversionMetrics,
        log: Log,
    ) -> None:
        self._records = ConversionRecords(database, publication)
        self._files = files
        self._loader = loader
        self._publication = publication
        self._sandbox = sandbox
        self._limit_bytes = settings.convert_memory_bytes // 2
        self._metrics = metrics
        self._log = log
        self._queue = WorkQueue(
            database,
            Version,
            STATES,
            select(Version.id, Model.owner_id).join(Model),
            perform=self._convert,
            fail=self._fail,
            on_end=self._count,
            parallel=settings.convert_parallel,
            name="conversion",
            log=log,
        )

    async def start(self) -> None:
        """Take up interrupted conversions."""
        await self._queue.start()

    async def stop(self) -> None:
        """Interrupt conversions under way; the next start takes them up again."""
        await self._queue.stop()

    def enqueue(self, version_id: str, owner_id: str) -> None:
        """Convert a pending version when the turn of its model's owner comes."""
        self._queue.enqueue(version_id, owner_id)

    async def wait(self, version_id: str, seconds: float, user_id: str) -> float:
        """Return when a conversion has ended, or after some seconds: at once where many requests of the user wait.
        Returns the seconds waited."""
        return await self._queue.wait(version_id, seconds, user_id)

    async def examine(
        self, user_id: str, upload: Path, columns: list[str] | None, sample: str | None, expected_with: str | None
    ) -> Examination:
        """Return what a file is and whether it would be served, when the turn of a user comes; nothing of it is stored.
        Raises BadRequest."""
        request = freeze_request(columns, sample, self._limit_bytes, expected_with)
        async with self._queue.turn(user_id):
            return await examine(self._sandbox, upload, request)

    async def _convert(self, version: Version) -> None:
        self._log.info("conversion_started", version=version.id, model=version.model.name)
        frozen = await self._freeze(version)
        await self._store_and_release(version.id, frozen)
        self._log.info("conversion_ended", version=version.id, model=version.model.name, form=frozen.report.form)

    async def _freeze(self, version: Version) -> Frozen:
        given = version.request
        request = freeze_request(given["columns"], given["sample"], self._limit_bytes, given.get("expected_with"))
        async with self._files.open_source(version.id) as source:
            return await freeze(self._sandbox, source, request, lambda stage: self._enter_stage(version.id, stage))

    async def _store_and_release(self, version_id: str, frozen: Frozen) -> None:
        """Store the result, load it into the engine that will serve it, and release it."""
        probe = Probe(frozen.numbers, frozen.strings)
        sha256 = await asyncio.to_thread(self._files.store, version_id, frozen.onnx, probe, frozen.golden)
        stored_bytes = await asyncio.to_thread(self._files.size_bytes, version_id)
        try:
            async with (
                self._loader.trial(version_id, frozen.signature, frozen.onnx, probe),
                self._publication.announcing(),
            ):
                await self._queue.record(lambda: self._records.finish(version_id, frozen, sha256, stored_bytes))
        except (GraphError, LoadError) as error:
            raise NotConvertible(f"The engine cannot run the converted model: {error}") from error

    async def _enter_stage(self, version_id: str, stage: str) -> None:
        await self._queue.record(lambda: self._records.enter_stage(version_id, msgspec.convert(stage, Status)))

    async def _fail(self, version_id: str, error: Exception) -> None:
        """Record why a version was not converted."""
        failure = _failure_of(error)
        if failure is not error and not isinstance(error, TooManyAttempts):
            self._log.error("conversion_crashed", version=version_id, exception=error)
        stored_bytes = await asyncio.to_thread(self._files.size_bytes, version_id)
        await self._queue.record(lambda: self._records.fail(version_id, failure, stored_bytes))
        self._log.info("conversion_failed", version=version_id, code=failure.code, reason=failure.message)

    def _count(self, error: Exception | None, seconds: float) -> None:
        self._metrics.ended.labels("ready" if error is None else _failure_of(error).code).inc()
        self._metrics.seconds.observe(seconds)


def _failure_of(error: Exception) -> ServalError:
    """Return what the owner of an upload reads of an error."""
    if isinstance(error, ServalError):
        return error
    if isinstance(error, TooManyAttempts):
        return NotConvertible(f"The server died {error.attempts} times while converting this file. Upload it again.")
    return ServalError("Serval failed while converting; the log has the cause. Upload the file again.")
