"""Keeps the data plane in step with the registry: loads versions, publishes routes, sets aside what crashes."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from sqlalchemy import select

from serval.changes import Changes
from serval.conversion.signature import Signature
from serval.data_plane.plane import GraphError, LoadedVersion, LoadError, Models
from serval.db.engine import Database
from serval.errors import DatabaseUnavailable, NotFound, Quarantined, Unavailable
from serval.log import Log
from serval.models.lifecycle import advance
from serval.models.load_attempts import LoadAttempts
from serval.models.routing import Routed, Versions, find_audiences, find_routed, route_of
from serval.models.tables import Model, Version
from serval.storage.disk import DiskStorage

MAX_ATTEMPTS = 3
RETRY_SECONDS = 0.5
"""Until routes are read again that the database did not give."""
RELOAD_SECONDS = 5.0
"""Until what failed for another reason is tried again: a live version whose files could not be read, routes with a
fault in them."""
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
    loaded: LoadedVersion


class LiveModels:
    """What the data plane holds, and why."""

    def __init__(
        self,
        database: Database,
        storage: DiskStorage,
        attempts: LoadAttempts,
        plane_models: Models,
        changes: Changes,
        log: Log,
    ) -> None:
        self._database = database
        self._storage = storage
        self._attempts = attempts
        self._plane_models = plane_models
        self.has_routes = False
        """Routes were published once."""
        self._log = log
        self._running: dict[str, Running] = {}
        self._set_aside: dict[str, tuple[type[Unavailable], str]] = {}
        """Versions that are routed and not loaded, and what whoever asks them is told: neither the database nor a file
        is asked again."""
        self._on_trial: set[str] = set()
        self._loading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._publishing = asyncio.Lock()
        self._announcing: set[asyncio.Event] = set()
        self._runaways: dict[str, str] = {}
        self._answering: dict[str, str] = {}
        """By model: the version that its route leads to."""
        self._stale = asyncio.Event()
        """Set when the routes are not those of the database any more."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changes = changes
        changes.on("model", lambda _: self._stale.set(), reset=self._stale.set)

    @property
    def count(self) -> int:
        return len(self._running)

    async def start(self) -> None:
        """Load every live version, then publish the routes. A version that can not be loaded is set aside and the
        others serve.

        Raises DatabaseUnavailable.
        """
        live = (
            select(Version.id)
            .join(Model)
            .where(Model.live == Version.number, Model.deleted_at.is_(None), Version.status == "ready")
        )
        async with self._database.read() as session:
            version_ids = list(await session.scalars(live.order_by(Version.id)))
        for version_id in version_ids:
            try:
                await self.ensure_loaded(version_id)
            except DatabaseUnavailable:
                raise
            except Unavailable as error:
                self._log.warning("version_load_failed", version=version_id, reason=error.message)
        await self._publish()
        self._begin("follow the registry", self._follow())
        self._begin("watch for runaways", self._watch())

    async def stop(self) -> None:
        """Load, publish and watch no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background, once at a time."""
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def ensure_loaded(self, version_id: str) -> Running:
        """Load a version unless it is. Raises NotFound, Quarantined, Unavailable when it can not be."""
        async with self._loading[version_id]:
            if version_id in self._set_aside:
                raise self._refusal(version_id)
            if version_id not in self._running:
                await self._load_stored(version_id)
            return self._running[version_id]

    @asynccontextmanager
    async def trial(
        self, version_id: str, signature: Signature, onnx: bytes, probe: Probe
    ) -> AsyncIterator[LoadedVersion]:
        """Load a version that is not in the registry yet; it stays loaded where the block ends well. Raises GraphError,
        LoadError."""
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
        version = await self._find_ready(version_id)
        try:
            died = self._attempts.begin(version_id)
            if died >= MAX_ATTEMPTS:
                await self.quarantine(version_id, f"the server died {died} times while loading it")
                raise self._refusal(version_id)
            onnx, probe = await asyncio.to_thread(self._read, version)
            signature = msgspec.convert(version.signature, Signature)
            self._running[version_id] = await self._load(version_id, signature, onnx, probe)
        except OSError as error:
            raise Unavailable(
                f"The files of version {version_id} can not be read: {error.strerror or error}."
            ) from error
        except (GraphError, LoadError, msgspec.MsgspecError) as error:
            # Not for good: another build of the engine, or the file from a backup, may do at the next start.
            self._set_aside[version_id] = (Unavailable, f"Version {version_id} can not be loaded: {error}")
            raise self._refusal(version_id) from error
        finally:
            self._attempts.end(version_id)

    def _read(self, version: Version) -> tuple[bytes, Probe]:
        """Read what was stored when the version was verified. Raises OSError, LoadError where it is another file
        now."""
        onnx = self._storage.read(f"{version.id}/model.onnx")
        if hashlib.sha256(onnx).hexdigest() != version.onnx_sha256:
            raise LoadError("its file on disk is not the one that was verified.")
        return onnx, msgspec.msgpack.decode(self._storage.read(f"{version.id}/probe"), type=Probe)

    async def _load(self, version_id: str, signature: Signature, onnx: bytes, probe: Probe) -> Running:
        encoded = msgspec.json.encode(signature)
        loaded = await asyncio.to_thread(
            self._plane_models.load, version_id, onnx, encoded, probe.numbers, probe.strings
        )
        self._log.info(
            "version_loaded",
            version=version_id,
            seconds=round(loaded.load_seconds, 4),
            bytes=loaded.resident_bytes,
            tile=loaded.tile,
        )
        return Running(signature, loaded)

    def _refusal(self, version_id: str) -> Unavailable:
        kind, message = self._set_aside[version_id]
        return kind(message)

    def _unload(self, version_id: str) -> None:
        self._running.pop(version_id, None)
        self._plane_models.unload(version_id)

    async def _find_ready(self, version_id: str) -> Version:
        async with self._database.read() as session:
            version = await session.get(Version, version_id)
        if version is None or version.status != "ready":
            raise NotFound(f"There is no version `{version_id}` to load.")
        return version

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
                self._changes.record(session, "model", version.model_id)

    async def set_runaways_aside(self) -> None:
        """Quarantine the versions that have run away; where the database is away, it is told later."""
        for version_id, expected, used in self._plane_models.take_runaways():
            self._runaways[version_id] = f"a run that was measured at {expected:.2g} s has not ended after {used:.2g} s"
        for version_id, reason in list(self._runaways.items()):
            with suppress(DatabaseUnavailable):
                await self.quarantine(version_id, reason)
                self._runaways.pop(version_id, None)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(RUNAWAY_SECONDS)
            try:
                await self.set_runaways_aside()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next version that runs away must be seen
                self._log.error("runaway_quarantine_failed", exception=error)

    @asynccontextmanager
    async def announcing(self) -> AsyncIterator[None]:
        """Around a write that puts a version live: whoever reads of it before its route is published can ask it all the
        same."""
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
        """Publish the routes of all models anew and forget versions that no route names; later, if the database is
        away."""
        try:
            await self._publish()
        except DatabaseUnavailable:
            self._log.warning("route_publication_waiting_for_database")
            self._stale.set()

    async def _follow(self) -> None:
        """Publish anew whenever something has changed."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self._publish()
            except DatabaseUnavailable:
                self._stale.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, what is shared or deleted elsewhere must not be so for good
                self._log.error("route_publication_failed", exception=error)
                self._stale.set()
                await asyncio.sleep(RELOAD_SECONDS)

    async def _publish(self) -> None:
        async with self._publishing:
            async with self._database.read() as session:
                models, audiences = await find_routed(session), await find_audiences(session)
            routed = [version for versions in models.values() for version in versions.values()]
            for version in routed:
                if version.status == "failed" and version.id not in self._set_aside:
                    self._set_aside[version.id] = (Quarantined, version.reason)
                    self._unload(version.id)
            live = {model_id: self._choose(versions) for model_id, versions in models.items()}
            self._plane_models.set_routes(
                [route_of(versions, live[model_id], audiences[model_id]) for model_id, versions in models.items()]
            )
            self.has_routes = True
            self._answering = {model_id: version.id for model_id, version in live.items() if version is not None}
            for version_id in self._running.keys() - {version.id for version in routed} - self._on_trial:
                self._unload(version_id)

    def _choose(self, versions: Versions) -> Routed | None:
        """Return the version that answers for a model: the live one, or, until that is loaded, the one that has
        answered so far."""
        model = next(iter(versions.values()))
        live = versions.get(model.live) if model.live is not None else None
        if live is None or live.id in self._running or live.id in self._set_aside:
            return live
        name = f"load {live.id}"
        if name not in self._tasks:
            self._begin(name, self._load_ahead(live.id))
        before = next(
            (version for version in versions.values() if version.id == self._answering.get(model.model)), live
        )
        return before if before.id in self._running else live

    async def _load_ahead(self, version_id: str) -> None:
        """Load a version that went live elsewhere, before anybody is led to it."""
        try:
            await self.ensure_loaded(version_id)
        except (NotFound, Unavailable) as error:
            self._log.warning("version_load_failed", version=version_id, reason=error.message)
            if version_id not in self._set_aside:
                await asyncio.sleep(RELOAD_SECONDS)
        asyncio.get_running_loop().call_soon(self._stale.set)  # when this task is over
