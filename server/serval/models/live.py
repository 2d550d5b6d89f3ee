"""Keeps the data plane in step with the registry: loads versions, publishes routes, sets aside what crashes."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
from sqlalchemy import select

from serval.conversion.signature import Signature
from serval.data_plane import GraphError, Loaded, LoadError, Publisher, Route
from serval.db.engine import Database
from serval.errors import DatabaseAway, NotFound, Quarantined, Unavailable
from serval.log import Log
from serval.models.lifecycle import advance
from serval.models.tables import Model, Version
from serval.storage.disk import DiskStorage

MAX_ATTEMPTS = 3
REPUBLISH_SECONDS = 0.5
RUNAWAY_SECONDS = 0.5
"""How often the data plane is asked what has run away: it may have told the caller without asking here."""
ANNOUNCE_SECONDS = 1.0
"""What a prediction waits, at most, for the routes of what is being recorded as live."""


class Probe(msgspec.Struct):
    """Rows that a version is measured on when it is loaded."""

    numbers: bytes
    strings: list[str]


class Running(msgspec.Struct, frozen=True):
    """A version in the data plane."""

    signature: Signature
    loaded: Loaded

    def seconds(self, rows: int) -> float:
        """What a run of some rows takes, by the measurement at load."""
        return self.loaded.fixed_seconds + rows * self.loaded.row_seconds


class LiveModels:
    """What the data plane holds, and why."""

    def __init__(self, database: Database, storage: DiskStorage, publisher: Publisher, log: Log) -> None:
        self._database = database
        self._storage = storage
        self._publisher = publisher
        self._log = log
        self._running: dict[str, Running] = {}
        self._set_aside: dict[str, tuple[type[Unavailable], str]] = {}
        """Versions that are routed and not loaded, and what whoever asks them is told: neither the database nor a file is asked again."""
        self._on_trial: set[str] = set()
        self._loading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._publishing = asyncio.Lock()
        self._announcing: set[asyncio.Event] = set()
        self._republishing: asyncio.Task[None] | None = None
        self._runaways: dict[str, str] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        return len(self._running)

    def running(self, version_id: str) -> Running | None:
        """Return a version if it is loaded."""
        return self._running.get(version_id)

    async def start(self) -> None:
        """Load every live version, then publish the routes. A version that can not be loaded is set aside and the others serve.

        Raises DatabaseAway.
        """
        live = select(Version.id).join(Model).where(Model.live == Version.number, Model.deleted_at.is_(None), Version.status == "ready")
        async with self._database.read() as session:
            version_ids = list(await session.scalars(live.order_by(Version.id)))
        for version_id in version_ids:
            try:
                await self.ensure_loaded(version_id)
            except DatabaseAway:
                raise
            except Unavailable as error:
                self._log.warning("model_not_loaded", version=version_id, reason=error.message)
        await self._publish()
        self._watching = asyncio.create_task(self._watch(), name="watch for runaways")

    async def close(self) -> None:
        """Publish and watch no more."""
        for task in (self._republishing, self._watching):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def ensure_loaded(self, version_id: str) -> Running:
        """Load a version unless it is. Raises NotFound, Quarantined, Unavailable when it can not be."""
        async with self._loading[version_id]:
            if version_id in self._set_aside:
                raise self._refusal(version_id)
            if version_id not in self._running:
                await self._load_stored(version_id)
            return self._running[version_id]

    @asynccontextmanager
    async def trial(self, version_id: str, signature: Signature, onnx: bytes, probe: Probe) -> AsyncIterator[Loaded]:
        """Load a version that is not in the registry yet; it stays loaded where the block ends well. Raises GraphError, LoadError."""
        self._on_trial.add(version_id)
        try:
            running = await self._load(version_id, signature, onnx, probe)
            self._running[version_id] = running
            yield running.loaded
        except BaseException:
            self._unload(version_id)
            raise
        finally:
            self._on_trial.discard(version_id)

    async def _load_stored(self, version_id: str) -> None:
        version = await self._begin(version_id)
        try:
            onnx, probe = await asyncio.to_thread(self._read, version)
            signature = msgspec.convert(version.signature, Signature)
            self._running[version_id] = await self._load(version_id, signature, onnx, probe)
        except OSError as error:
            raise Unavailable(f"The files of version {version_id} can not be read: {error.strerror or error}.") from error
        except (GraphError, LoadError, msgspec.MsgspecError) as error:
            # Not for good: another build of the engine, or the file from a backup, may do at the next start.
            self._set_aside[version_id] = (Unavailable, f"Version {version_id} can not be loaded: {error}")
            raise self._refusal(version_id) from error
        finally:
            await self._end(version_id)

    def _read(self, version: Version) -> tuple[bytes, Probe]:
        """Read what was stored when the version was verified. Raises OSError, LoadError where it is another file now."""
        onnx = self._storage.read(f"{version.id}/model.onnx")
        if hashlib.sha256(onnx).hexdigest() != version.onnx_sha256:
            raise LoadError("its file on disk is not the one that was verified.")
        return onnx, msgspec.msgpack.decode(self._storage.read(f"{version.id}/probe"), type=Probe)

    async def _load(self, version_id: str, signature: Signature, onnx: bytes, probe: Probe) -> Running:
        encoded = msgspec.json.encode(signature)
        loaded = await asyncio.to_thread(self._publisher.load, version_id, onnx, encoded, probe.numbers, probe.strings)
        self._log.info(
            "model_loaded", version=version_id, seconds=round(loaded.load_seconds, 4), bytes=loaded.resident_bytes, tile=loaded.tile
        )
        return Running(signature, loaded)

    def _refusal(self, version_id: str) -> Unavailable:
        kind, message = self._set_aside[version_id]
        return kind(message)

    def _unload(self, version_id: str) -> None:
        self._running.pop(version_id, None)
        self._publisher.unload(version_id)

    async def _begin(self, version_id: str) -> Version:
        """Count the attempt before it is made, so that a version which takes the process down is not tried for ever."""
        async with self._database.write() as session:
            version = await session.get(Version, version_id)
            if version is None or version.status != "ready":
                raise NotFound(f"There is no version `{version_id}` to load.")
            attempts = version.attempts
            version.attempts = min(attempts + 1, MAX_ATTEMPTS)
        if attempts >= MAX_ATTEMPTS:
            await self.quarantine(version_id, f"the server died {attempts} times while loading it")
            raise self._refusal(version_id)
        return version

    async def _end(self, version_id: str) -> None:
        """Whether it was loaded or not: the process has survived it."""
        try:
            async with self._database.write() as session:
                version = await session.get_one(Version, version_id)
                version.attempts = 0
        except DatabaseAway:
            self._log.warning("load_not_recorded", version=version_id)  # costs one attempt, until the next load ends

    async def quarantine(self, version_id: str, reason: str) -> None:
        """Stop a version from answering, for good: another has to be uploaded, or promoted."""
        message = f"Version {version_id} is in quarantine: {reason}. Upload it again, or promote another version."
        if version_id not in self._set_aside:
            self._log.warning("version_quarantined", version=version_id, reason=reason)
        self._set_aside[version_id] = (Quarantined, message)
        self._unload(version_id)
        async with self._database.write() as session:
            version = await session.get(Version, version_id)
            if version is not None and version.status == "ready":
                version.status = advance(version.status, "failed")
                version.failure = {"code": Quarantined.code, "message": message}

    async def set_runaways_aside(self) -> None:
        """Quarantine the versions that have run away; where the database is away, it is told later."""
        self._runaways |= dict(self._publisher.take_runaways())
        for version_id, reason in list(self._runaways.items()):
            with suppress(DatabaseAway):
                await self.quarantine(version_id, reason)
                self._runaways.pop(version_id, None)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(RUNAWAY_SECONDS)
            await self.set_runaways_aside()

    @asynccontextmanager
    async def announcing(self) -> AsyncIterator[None]:
        """Around a write that puts a version live: whoever reads of it before its route is published can ask it all the same."""
        announced = asyncio.Event()
        self._announcing.add(announced)
        try:
            yield
            await self.refresh()
        finally:
            self._announcing.discard(announced)
            announced.set()

    async def announced(self) -> None:
        """Return when what is being put live now has its routes, or after a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                for event in list(self._announcing):
                    await event.wait()

    async def refresh(self) -> None:
        """Publish the routes of all models anew and forget versions that no route names; later, if the database is away."""
        try:
            await self._publish()
        except DatabaseAway:
            self._log.warning("routes_wait_for_the_database")
            if self._republishing is None or self._republishing.done():
                self._republishing = asyncio.create_task(self._republish(), name="publish routes")

    async def _republish(self) -> None:
        while True:
            await asyncio.sleep(REPUBLISH_SECONDS)
            with suppress(DatabaseAway):
                await self._publish()
                return

    async def _publish(self) -> None:
        async with self._publishing:
            routed = await self._routed()
            self._set_aside |= {version.id: (Quarantined, _reason(version)) for version in routed if version.status == "failed"}
            models: defaultdict[str, list[Version]] = defaultdict(list)
            for version in routed:
                models[version.model_id].append(version)
            self._publisher.set_routes([_route(versions) for versions in models.values()])
            for version_id in self._running.keys() - {version.id for version in routed} - self._on_trial:
                self._unload(version_id)

    async def _routed(self) -> list[Version]:
        """Return what was ready once: one in quarantine keeps its route, so that whoever asks it is told so."""
        query = (
            select(Version).join(Model).where(Model.deleted_at.is_(None), Version.ready_at.is_not(None), Version.lifecycle != "archived")
        )
        async with self._database.read() as session:
            return list(await session.scalars(query))


def _reason(version: Version) -> str:
    return str((version.failure or {}).get("message", f"Version {version.id} is in quarantine."))


def _route(versions: list[Version]) -> Route:
    model, numbers = versions[0].model, {version.number: version.id for version in versions}
    return Route(
        model=model.id,
        name=model.name,
        owner=model.owner_id,
        owner_username=model.owner.username,
        live=model.live if model.live in numbers else None,
        versions=numbers,
        aliases={},
        cache=model.cache,
        cache_ttl_seconds=model.cache_ttl_seconds,
        cache_l2_ttl_seconds=model.cache_l2_ttl_seconds,
    )
