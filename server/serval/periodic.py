"""Work that is done again and again in the background, whatever becomes of one round."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from serval.errors import DatabaseUnavailable
from serval.log import Log


class PeriodicTask:
    """Does a step, waits, and does it again.

    A step that fails is logged and the next round tries again: as `failed` with its error, or where the database is
    away as `away`, once
    until it is back (None: the step says so itself).
    """

    def __init__(
        self,
        step: Callable[[], Awaitable[None]],
        seconds: float,
        log: Log,
        *,
        name: str,
        failed: str,
        away: str | None,
        woken: asyncio.Event | None = None,
    ) -> None:
        """`seconds`: between two rounds. `woken`: begins the next one at once when it is set."""
        self._step = step
        self._seconds = seconds
        self._log = log
        self._name = name
        self._failed = failed
        self._away = away
        self._is_away = False
        self._woken = woken or asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Cut off the round that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._round()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._woken.wait()
            self._woken.clear()

    async def _round(self) -> None:
        try:
            await self._step()
        except DatabaseUnavailable:
            if self._away is not None and not self._is_away:
                self._log.warning(self._away)
            self._is_away = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the next round may do better
            self._log.error(self._failed, exception=error)
        else:
            self._is_away = False
