"""Logs each change of the second cache level once: the data plane has no log."""

from serval.data_plane.plane import DataPlane
from serval.log import Log
from serval.periodic import PeriodicTask

WATCH_SECONDS = 0.5


class SharedCacheWatch:
    """Reads the state of the second cache level again and again."""

    def __init__(self, plane: DataPlane, log: Log) -> None:
        self._plane = plane
        self._log = log
        self._known: str | None = None
        self._task = PeriodicTask(
            self._look, WATCH_SECONDS, log, name="watch the cache", failed="cache_watch_failed", away=None
        )

    async def start(self) -> None:
        await self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def _look(self) -> None:
        state = self._plane.shared_cache_state()
        if state != self._known:
            write = self._log.info if state == "up" else self._log.warning
            write("cache_level_two", state=state, before=self._known)
            self._known = state
