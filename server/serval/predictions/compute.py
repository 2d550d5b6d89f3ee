"""Runs calls that are too dear for the event loop: on a few threads, with a bounded queue and a deadline."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from serval.errors import OutOfTime, Unavailable

T = TypeVar("T")

WAITING_PER_THREAD = 32
RUNAWAY_FACTOR = 10.0
RUNAWAY_SHARE = 0.1
"""A call has run away when it has used ten times the CPU time that it was measured at, and a tenth of the time limit at least: on a
machine that others keep busy an honest call gets late too, but uses no more."""


class RanAway(Exception):
    """A call past its deadline has used far more CPU time than it was expected to."""


class Job(Generic[T]):
    """A call on its way through a thread."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.future: Future[tuple[T, float]] = Future()
        self._call = call
        self._submitted = time.monotonic()
        self._lock = threading.Lock()
        self._clock: int | None = None
        self._began_cpu_seconds = 0.0
        self._has_ended = self._is_abandoned = False

    def run(self) -> bool:
        """Run it on the calling thread. Returns whether somebody waits for it still, or another thread has taken this one's place."""
        if not self.future.set_running_or_notify_cancel():
            return True
        waited_seconds = time.monotonic() - self._submitted
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._began_cpu_seconds = time.clock_gettime(self._clock)
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self.future.set_exception(error)
        else:
            self.future.set_result((result, waited_seconds))
        with self._lock:
            self._has_ended = True
            return not self._is_abandoned

    def abandon(self) -> float | None:
        """Leave it to itself. Returns the CPU seconds that it has used; None: it has not begun, or has just ended."""
        with self._lock:
            if self._clock is None or self._has_ended:
                return None
            self._is_abandoned = True
            return time.clock_gettime(self._clock) - self._began_cpu_seconds


class Compute:
    """Threads for expensive predictions, as many as there are cores."""

    def __init__(self, threads: int, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._room = threading.BoundedSemaphore(threads * WAITING_PER_THREAD)
        self._threads = threads
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        for _ in range(threads):
            self._start_thread()

    async def run(self, call: Callable[[], T], expected_seconds: float | None = None) -> tuple[T, float]:
        """Return what `call` returns, and the seconds that it waited for a thread.

        Raises, before it starts, Unavailable when the queue is full, and OutOfTime when it is expected to take longer than there is time;
        then OutOfTime when it has not ended in time, or RanAway where that is its own fault. Its thread is left behind and replaced,
        because a run can not be stopped inside a node of the graph; it keeps its place in the queue until it ends.
        """
        if expected_seconds is not None and expected_seconds > self._timeout_seconds:
            raise OutOfTime(
                f"The prediction would take about {expected_seconds:.2g} s, and {self._timeout_seconds:g} s is the limit "
                "(`predict_timeout_seconds`): send fewer rows at a time."
            )
        if not self._room.acquire(blocking=False):
            raise Unavailable("Too many expensive predictions are waiting: try again in a second.")
        job = Job(call)
        job.future.add_done_callback(lambda _: self._room.release())
        self._jobs.put(job)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.future), self._timeout_seconds)
        except TimeoutError:
            raise self._too_late(job, expected_seconds) from None

    def _too_late(self, job: Job[Any], expected_seconds: float | None) -> OutOfTime | RanAway:
        used_seconds = job.abandon()
        if used_seconds is not None:
            self._start_thread()
            allowed_seconds = max(RUNAWAY_FACTOR * (expected_seconds or 0.0), RUNAWAY_SHARE * self._timeout_seconds)
            if expected_seconds is not None and used_seconds > allowed_seconds:
                return RanAway(f"a run that was measured at {expected_seconds:.2g} s has not ended after {used_seconds:.2g} s")
        return OutOfTime(f"The prediction did not end within {self._timeout_seconds:g} s (`predict_timeout_seconds`).")

    def _start_thread(self) -> None:
        # Daemons: a run that never ends must not keep the process from ending.
        threading.Thread(target=self._work, name="compute", daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.run():
                return

    def close(self) -> None:
        """Let the threads end when they have done what they are at."""
        for _ in range(self._threads):
            self._jobs.put(None)
