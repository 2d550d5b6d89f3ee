"""Watches the disk of the data folder: says when it is nearly full, full or read-only, and keeps the reserve."""

import asyncio
from pathlib import Path
from typing import Literal

from serval.log import Log
from serval.periodic import PeriodicTask
from serval.storage.space import DiskSpace, Level

WATCH_SECONDS = 5.0
PROBE = b"serval"

State = Level | Literal["unwritable"]


class DiskWatch:
    """Writes a few bytes now and then, and remembers what came of it."""

    def __init__(self, space: DiskSpace, log: Log) -> None:
        self._space = space
        self._log = log
        self._probe = space.folder / "probe"
        self._told: State = "ok"
        self._task = PeriodicTask(
            self._look,
            WATCH_SECONDS,
            log,
            name="watch the disk",
            failure_event="disk_watch_failed",
            unavailable_event=None,
        )

    async def start(self) -> None:
        await self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def look(self) -> State:
        """Return the state of the disk; log it where it is another than before."""
        state = await asyncio.to_thread(self._state)
        if state != self._told:
            self._tell(state, free_bytes=self._space.free_bytes(), min_free_bytes=self._space.min_free_bytes)
            self._told = state
        return state

    async def _look(self) -> None:
        await self.look()

    def _tell(self, state: State, **sizes: int) -> None:
        match state:
            case "ok":
                self._log.info("disk_ok", **sizes)
            case "low":
                self._log.warning("disk_low", **sizes)
            case "full":
                self._log.error("disk_full", **sizes)
            case "unwritable":
                self._log.error("disk_unwritable", **sizes)

    async def check(self) -> str:
        """For `/health`: `ok`, `low` where less is free than has to stay free, or why nothing can be written."""
        state: State = self._told
        if state in {"ok", "low"}:
            state = self._space.level()
        return f"failed: the disk is {state}" if state in {"full", "unwritable"} else state

    def _state(self) -> State:
        try:
            write_probe(self._probe)
        except OSError:
            return "full" if self._space.is_full() else "unwritable"
        self._space.keep_reserve()
        return self._space.level()


def write_probe(path: Path) -> None:
    """Write a few bytes and delete them. Raises OSError."""
    try:
        path.write_bytes(PROBE)
    finally:
        path.unlink(missing_ok=True)
