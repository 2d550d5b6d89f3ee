"""Background work that is repeated at an interval, whatever becomes of one round."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from serval.errors import DatabaseUnavailable
from serval.log import Log

CANCEL_AGAIN_SECONDS = 1.0


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks that call Redis until all have ended.

    Python 3.11 may lose a cancellation in a call that ends at the same moment.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_AGAIN_SECONDS)


class PeriodicTask:
    """Runs a step, waits, and runs it again.

    A step that fails is logged and repeated in the next round. An unavailable database is logged once until it is back.
    """

    def __init__(
        self,
        step: Callable[[], Awaitable[None]],
        interval_seconds: float,
        log: Log,
        *,
        name: str,
        failure_event: str,
        unavailable_event: str | None,
        details: Callable[[], Mapping[str, object]] = dict,
        wake: asyncio.Event | None = None,
        finish_seconds: float = 0.0,
    ) -> None:
        """`unavailable_event`: logged when the database is unavailable, with `details`; None: the step logs it itself.
        `wake`: starts the next round at once when it is set.
        `finish_seconds`: how long `stop` lets a round under way end and one more follow; 0: it cancels the round.
        """
        self._step = step
        self._interval_seconds = interval_seconds
        self._log = log
        self._name = name
        self._failure_event = failure_event
        self._unavailable_event = unavailable_event
        self._details = details
        self._wake = wake or asyncio.Event()
        self._finish_seconds = finish_seconds
        self._is_unavailable = False
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin with a first round."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """End; a task that never started has ended."""
        if self._task is None:
            return
        if self._finish_seconds > 0:
            self._is_stopping = True
            self._wake.set()
            await asyncio.wait([self._task], timeout=self._finish_seconds)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self._is_stopping:
            await self._round()
            await self._pause()
        await self._round()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._interval_seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _round(self) -> None:
        try:
            await self._step()
        except DatabaseUnavailable:
            if self._unavailable_event is not None and not self._is_unavailable:
                self._log.warning(self._unavailable_event, **self._details())
            self._is_unavailable = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the next round may succeed
            self._log.error(self._failure_event, exception=error)
        else:
            self._is_unavailable = False
