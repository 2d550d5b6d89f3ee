"""Records what becomes of conversions in the database."""

import msgspec

from serval.conversion.freeze import Frozen
from serval.db.engine import Database, now
from serval.errors import ServalError
from serval.models.lifecycle import Status, advance
from serval.models.publication import Publication
from serval.models.samples import example_body
from serval.models.tables import Version, set_stored_bytes


class ConversionRecords:
    """Writes the stages and the end of each conversion, each in one transaction."""

    def __init__(self, database: Database, publication: Publication) -> None:
        self._database = database
        self._publication = publication

    async def enter_stage(self, version_id: str, stage: Status) -> None:
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            if version.status != stage:
                version.status = advance(version.status, stage)

    async def finish(self, version_id: str, frozen: Frozen, onnx_sha256: str, stored_bytes: int) -> None:
        """Record the result and release the version. `stored_bytes`: of all its files."""
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            if version.status == "ready":  # an earlier try was committed, only its confirmation was lost
                return
            version.status = advance(version.status, "ready")
            version.attempts = 0
            version.ready_at = now()
            version.signature = msgspec.to_builtins(frozen.signature)
            version.report = msgspec.to_builtins(frozen.report)
            version.example = example_body(frozen.signature, frozen.numbers, frozen.strings)
            version.onnx_bytes = len(frozen.onnx)
            version.onnx_sha256 = onnx_sha256
            await set_stored_bytes(session, version, stored_bytes)
            await self._publication.release_converted(session, version, frozen.report.hold_reason)

    async def fail(self, version_id: str, failure: ServalError, stored_bytes: int) -> None:
        """Record why a version was not converted. `stored_bytes`: of all its files."""
        async with self._database.write() as session:
            version = await session.get_one(Version, version_id)
            version.status = "failed"
            version.failed_at = now()
            await set_stored_bytes(session, version, stored_bytes)
            version.failure = {"code": failure.code, "message": failure.message}
            report = failure.extra.get("report")
            if isinstance(report, dict):
                version.report = report
