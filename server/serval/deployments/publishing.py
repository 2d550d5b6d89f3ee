"""Publishes the routes of all models to the data plane, and keeps them in step with the registry."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from serval.changes import Changes
from serval.data_plane.plane import Models
from serval.db.engine import Database
from serval.deployments.routing import (
    RoutedVersion,
    Versions,
    answering_version,
    find_audiences,
    find_live,
    find_named,
    find_routed,
    live_version,
    route_of,
)
from serval.errors import DatabaseUnavailable, NotFound, Unavailable
from serval.log import Log
from serval.models.loading import ModelLoader

RETRY_SECONDS = 0.5
"""Until routes are read again that the database did not give."""
RELOAD_SECONDS = 5.0
"""Until what failed for another reason is tried again: a live version whose files could not be read, routes with a
fault in them."""
ANNOUNCE_SECONDS = 1.0
"""What a prediction waits, at most, for the route of a version that is being recorded as live."""


class RoutePublisher:
    """Reads the routes from the database and gives them to the data plane, whenever one has changed."""

    def __init__(self, database: Database, loader: ModelLoader, plane: Models, changes: Changes, log: Log) -> None:
        self._database = database
        self._loader = loader
        self._plane = plane
        self._log = log
        self.has_routes = False
        """Whether routes were published."""
        self.is_ready = False
        """Whether it has begun to answer: something that is live was loaded, unless nothing is or can be."""
        self._publishing = asyncio.Lock()
        self._announcements: set[asyncio.Event] = set()
        """One for each version that is being recorded as live, set when its route is published."""
        self._answering: dict[str, str] = {}
        """By model: the version that its route leads to."""
        self._held: list[RoutedVersion] = []
        """Those that no route leads to."""
        self._stale = asyncio.Event()
        """Set when the routes are not those of the database any more."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        changes.on("model", lambda _: self._stale.set(), reset=self._stale.set)

    async def start(self) -> None:
        """Load every live version, then publish the routes. A version that cannot be loaded is reported and the others
        serve.

        Raises DatabaseUnavailable.
        """
        async with self._database.read() as session:
            live = await find_live(session)
        for version_id in live:
            await self._load_or_report(version_id)
        await self._publish()
        self._begin("follow the registry", self._follow)

    async def stop(self) -> None:
        """Stop loading and publishing."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Publish the routes of all models again and unload versions without a route; later, where that fails: what is
        to be published is committed."""
        try:
            await self._publish()
        except DatabaseUnavailable:
            self._log.warning("route_publication_waiting_for_database")
            self._stale.set()
        except Exception as error:  # noqa: BLE001 - whatever it is, the act was done and is not to be done again
            self._log.error("route_publication_failed", exception=error)
            self._stale.set()
        except BaseException:  # cancelled
            self._stale.set()
            raise

    @asynccontextmanager
    async def announcing(self) -> AsyncIterator[None]:
        """Around a write that makes a version live: callers who learn of it before its route is published can use it
        all the same."""
        announced = asyncio.Event()
        self._announcements.add(announced)
        try:
            yield
            await self.refresh()
        except BaseException:
            self._stale.set()  # a write may have been committed although its confirmation was lost
            raise
        finally:
            self._announcements.discard(announced)
            announced.set()

    async def announced(self) -> None:
        """Return when the versions that are being recorded as live have their routes, or after a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                for event in list(self._announcements):
                    await event.wait()

    def check_released(self, user_id: str | None, model: str, number: int) -> None:
        """Raises VersionHeld where the version that a user asks for is held. `model`: id, name or `owner/name` of one
        that the user may ask."""
        for version in self._held:
            if version.number == number and version.is_called(model, user_id):
                version.check_released()

    async def _load_or_report(self, version_id: str) -> None:
        try:
            await self._loader.ensure_loaded(version_id)
        except DatabaseUnavailable:
            raise
        except (NotFound, Unavailable) as error:
            self._report(version_id, error)

    def _report(self, version_id: str, error: NotFound | Unavailable) -> None:
        self._log.warning("version_load_failed", version=version_id, reason=error.message)

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something in the background, unless it is under way."""
        if name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(work(), name=name)
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _follow(self) -> None:
        """Publish again whenever something has changed."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self._publish()
            except DatabaseUnavailable:
                self._stale.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, shares and deletions elsewhere must come into force
                self._log.error("route_publication_failed", exception=error)
                self._stale.set()
                await asyncio.sleep(RELOAD_SECONDS)

    async def _publish(self) -> None:
        async with self._publishing:
            without_names = self._loader.without_names()
            async with self._database.read() as session:
                models, audiences = await find_routed(session), await find_audiences(session)
                named = await find_named(session, without_names) if without_names else []
            for version_id in named:
                self._begin(f"reload {version_id}", partial(self._load_ahead, version_id, self._loader.reload))
            routed = [version for versions in models.values() for version in versions.values()]
            for version in routed:
                if version.status == "failed":
                    self._loader.adopt_quarantine(version.id, version.reason)
            answering = {model_id: self._choose(versions) for model_id, versions in models.items()}
            self._plane.set_routes(
                [route_of(versions, answering[model_id], audiences[model_id]) for model_id, versions in models.items()]
            )
            self.has_routes = True
            self.is_ready = self.is_ready or self._can_answer(models.values())
            self._held = [version for version in routed if version.is_held]
            self._answering = {model_id: version.id for model_id, version in answering.items() if version is not None}
            self._loader.unload_others(version.id for version in routed if not version.is_held)

    def _can_answer(self, models: Iterable[Versions]) -> bool:
        """Whether something live is loaded, or everything live is known to be unloadable."""
        live = [version.id for versions in models if (version := live_version(versions)) is not None]
        is_lost = all(self._loader.is_unavailable(version_id) for version_id in live)
        return is_lost or any(self._loader.is_loaded(version_id) for version_id in live)

    def _choose(self, versions: Versions) -> RoutedVersion | None:
        """Return the version that answers for a model, and begin to load the live one where it is another."""
        live = live_version(versions)
        if live is None or self._loader.is_loaded(live.id) or self._loader.is_unavailable(live.id):
            return live
        self._begin(f"load {live.id}", partial(self._load_ahead, live.id, self._loader.ensure_loaded))
        return answering_version(versions, self._answering.get(live.model), self._loader.is_loaded)

    async def _load_ahead(self, version_id: str, load: Callable[[str], Awaitable[object]]) -> None:
        """Load a version that became live elsewhere before its route leads to it, or one whose columns were named, and
        publish again."""
        try:
            await load(version_id)
        except (NotFound, Unavailable) as error:
            self._report(version_id, error)
            if not self._loader.is_unavailable(version_id):
                await asyncio.sleep(RELOAD_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever it is, the version must be tried again
            self._log.error("version_load_crashed", version=version_id, exception=error)
            await asyncio.sleep(RELOAD_SECONDS)
        asyncio.get_running_loop().call_soon(self._stale.set)  # when this task is over
