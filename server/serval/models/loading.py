"""Loads versions into the data plane, and quarantines those that crash or run away."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import msgspec

from serval.changes import Changes
from serval.conversion.signature import Signature
from serval.data_plane.plane import GraphError, LoadedVersion, LoadError, Models, Outputs
from serval.db.engine import Database, now
from serval.errors import DatabaseUnavailable, NotFound, Quarantined, Unavailable
from serval.log import Log
from serval.models.files import Probe, VersionFiles
from serval.models.lifecycle import advance
from serval.models.load_attempts import LoadAttempts
from serval.models.tables import Version
from serval.periodic import PeriodicTask
from serval.work.queue import MAX_ATTEMPTS

RUNAWAY_SECONDS = 0.5
"""How often the data plane is asked what has run away: it refuses such calls by itself, without asking Python."""


class ServedVersion(msgspec.Struct, frozen=True):
    """A version in the data plane."""

    signature: Signature
    loaded: LoadedVersion


class ModelLoader:
    """Knows which versions the data plane holds, and which cannot be loaded."""

    def __init__(
        self,
        database: Database,
        files: VersionFiles,
        attempts: LoadAttempts,
        plane: Models,
        changes: Changes,
        log: Log,
    ) -> None:
        self._database = database
        self._files = files
        self._attempts = attempts
        self._plane = plane
        self._changes = changes
        self._log = log
        self._loaded: dict[str, ServedVersion] = {}
        self._unavailable: dict[str, tuple[type[Unavailable], str]] = {}
        """Versions that cannot be loaded, and the error that callers get, without another try to load them."""
        self._unloadable: dict[str, str] = {}
        """Versions in use whose last load failed, by their files or the engine, and why."""
        self._on_trial: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._runaways: dict[str, str] = {}
        """Versions that have run away and are not quarantined yet, and why."""
        self._watch = PeriodicTask(
            self.quarantine_runaways,
            RUNAWAY_SECONDS,
            log,
            name="watch for runaways",
            failure_event="runaway_quarantine_failed",
            unavailable_event=None,
        )

    @property
    def count(self) -> int:
        return len(self._loaded)

    @property
    def unloadable(self) -> list[str]:
        """The ids of versions in use whose files are missing or damaged, sorted."""
        return sorted(self._unloadable)

    def is_loaded(self, version_id: str) -> bool:
        return version_id in self._loaded

    def is_unavailable(self, version_id: str) -> bool:
        """Whether a version cannot be loaded."""
        return version_id in self._unavailable

    async def start(self) -> None:
        """Watch for versions that run away."""
        await self._watch.start()

    async def stop(self) -> None:
        await self._watch.stop()

    async def ensure_loaded(self, version_id: str) -> ServedVersion:
        """Load a version unless it is loaded. Raises NotFound, Quarantined, Unavailable when it cannot be."""
        async with self._locks[version_id]:
            if version_id in self._unavailable:
                raise self._refusal(version_id)
            loaded = self._loaded.get(version_id)
            # Where its model is deleted meanwhile, it may be unloaded again before this returns.
            return loaded or await self._load_stored(version_id)

    async def run(self, version_id: str, numbers: bytes, strings: list[str]) -> Outputs:
        """Run a version for rows, past the queue of predictions. Raises NotFound, Quarantined, Unavailable."""
        await self.ensure_loaded(version_id)
        try:
            return await asyncio.to_thread(self._plane.run, version_id, numbers, strings)
        except (KeyError, LoadError) as error:
            raise Unavailable(f"Version {version_id} does not run: {error}") from error

    def without_names(self) -> list[str]:
        """The ids of loaded versions whose columns have no names; they may be given some in the registry."""
        return [
            version_id
            for version_id, version in self._loaded.items()
            if not version.signature.has_names and version_id not in self._unavailable
        ]

    async def reload(self, version_id: str) -> None:
        """Load a loaded version again as it is stored now; it answers meanwhile. Raises NotFound, Unavailable."""
        async with self._locks[version_id]:
            if version_id in self._loaded:
                await self._load_stored(version_id)

    @asynccontextmanager
    async def trial(
        self, version_id: str, signature: Signature, onnx: bytes, probe: Probe
    ) -> AsyncIterator[LoadedVersion]:
        """Load a version that is not in the registry yet; it stays loaded where the block ends well. Raises GraphError,
        LoadError."""
        self._on_trial.add(version_id)
        try:
            version = await self._load(version_id, signature, onnx, probe)
            self._loaded[version_id] = version
            yield version.loaded
        except BaseException:
            self._unload(version_id)
            raise
        finally:
            self._on_trial.discard(version_id)

    async def quarantine(self, version_id: str, reason: str) -> None:
        """Stop a version from answering, for good: another has to be uploaded, or promoted. Raises
        DatabaseUnavailable."""
        message = f"Version {version_id} is in quarantine: {reason}. Upload it again, or promote another version."
        if version_id not in self._unavailable:
            self._log.warning("version_quarantined", version=version_id, reason=reason)
        self._refuse(version_id, Quarantined, message)
        async with self._database.write() as session:
            version = await session.get(Version, version_id)
            if version is not None and version.status == "ready":
                version.status = advance(version.status, "failed")
                version.failure = {"code": Quarantined.code, "message": message}
                version.failed_at = now()
                self._changes.record(session, "model", version.model_id)

    def adopt_quarantine(self, version_id: str, message: str) -> None:
        """Stop a version from answering that is quarantined in the database."""
        if version_id not in self._unavailable:
            self._refuse(version_id, Quarantined, message)

    async def quarantine_runaways(self) -> None:
        """Quarantine the versions that have run away; while the database is unavailable, the next call records it."""
        for version_id, expected, used in self._plane.take_runaways():
            self._runaways[version_id] = f"a run that was measured at {expected:.2g} s has not ended after {used:.2g} s"
        for version_id, reason in list(self._runaways.items()):
            with suppress(DatabaseUnavailable):
                await self.quarantine(version_id, reason)
                self._runaways.pop(version_id, None)

    def unload_others(self, kept: Iterable[str]) -> None:
        """Unload all versions but these and those on trial."""
        others = (self._loaded.keys() | self._unloadable.keys()) - set(kept) - self._on_trial
        for version_id in others:
            self._unloadable.pop(version_id, None)
            self._unload(version_id)

    async def _load_stored(self, version_id: str) -> ServedVersion:
        version = await self._find_ready(version_id)
        signature = version.parsed_signature
        served = await self._load_verified(version, signature)
        if not signature.has_names:
            # Named while it was loaded, perhaps: a publication asks for those alone that are loaded.
            newest = await self._find_ready(version_id)
            if newest.parsed_signature != signature:
                served = await self._load_verified(newest, newest.parsed_signature)
        return served

    async def _load_verified(self, version: Version, signature: Signature) -> ServedVersion:
        version_id = version.id
        try:
            deaths = self._begin_attempt(version_id)
            if deaths >= MAX_ATTEMPTS:
                await self.quarantine(version_id, f"the server died {deaths} times while loading it")
                raise self._refusal(version_id)
            onnx, probe = await asyncio.to_thread(self._files.read, version_id, version.onnx_sha256)
            served = await self._load(version_id, signature, onnx, probe)
        except OSError as error:
            message = f"The files of version {version_id} cannot be read: {error.strerror or error}."
            await self._record_unloadable(version, message)
            raise Unavailable(message) from error
        except (GraphError, LoadError) as error:
            # Until the next start only: another build of the engine, or the file from a backup, may do.
            message = f"Version {version_id} cannot be loaded: {error}"
            self._unavailable[version_id] = (Unavailable, message)
            await self._record_unloadable(version, message)
            raise self._refusal(version_id) from error
        finally:
            self._end_attempt(version_id)
        if version_id in self._unavailable:  # since, by a run of it or by another replica
            self._unload(version_id)
            raise self._refusal(version_id)
        self._loaded[version_id] = served
        await self._record_unloadable(version, None)
        return served

    async def _record_unloadable(self, version: Version, reason: str | None) -> None:
        """Remember, and show as the failure of a version that is ready, why it cannot be loaded; None: it can be."""
        if reason is None:
            self._unloadable.pop(version.id, None)
        else:
            self._unloadable[version.id] = reason
        failure = None if reason is None else {"code": Unavailable.code, "message": reason}
        if version.failure == failure:
            return
        with suppress(DatabaseUnavailable):  # the next load records it
            async with self._database.write() as session:
                stored = await session.get(Version, version.id)
                if stored is not None and stored.status == "ready":
                    stored.failure = failure

    def _begin_attempt(self, version_id: str) -> int:
        """Count a load before it is made. Returns how many before it have not ended; 0 where it cannot be counted: a
        disk that takes nothing must not take down what is on it."""
        try:
            return self._attempts.begin(version_id)
        except OSError as error:
            self._log.warning("load_not_counted", version=version_id, reason=error.strerror)
            return 0

    def _end_attempt(self, version_id: str) -> None:
        with suppress(OSError):
            self._attempts.end(version_id)

    async def _load(self, version_id: str, signature: Signature, onnx: bytes, probe: Probe) -> ServedVersion:
        encoded = msgspec.json.encode(signature)
        loaded = await asyncio.to_thread(self._plane.load, version_id, onnx, encoded, probe.numbers, probe.strings)
        self._log.info(
            "version_loaded",
            version=version_id,
            seconds=round(loaded.load_seconds, 4),
            bytes=loaded.resident_bytes,
            tile=loaded.tile,
        )
        return ServedVersion(signature, loaded)

    def _refuse(self, version_id: str, kind: type[Unavailable], message: str) -> None:
        """Unload a version and refuse to load it again."""
        self._unavailable[version_id] = (kind, message)
        self._unload(version_id)

    def _refusal(self, version_id: str) -> Unavailable:
        kind, message = self._unavailable[version_id]
        return kind(message)

    def _unload(self, version_id: str) -> None:
        self._loaded.pop(version_id, None)
        self._plane.unload(version_id)

    async def _find_ready(self, version_id: str) -> Version:
        async with self._database.read() as session:
            version = await session.get(Version, version_id)
        if version is None or version.status != "ready":
            raise NotFound(f"There is no version `{version_id}` to load.")
        return version
