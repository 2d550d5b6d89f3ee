"""Places for work, given to subjects in turn, so that one with many requests does not hold up the others."""

import asyncio
from collections import OrderedDict, deque

from serval.errors import Unavailable

_REMEMBERED = 4096
"""Subjects whose last turn is remembered; one that is forgotten counts as new."""


class Turns:
    """A fixed number of places and a queue for each subject. The next place goes to the waiting subject whose last turn
    is the longest ago; one that has had none goes first."""

    def __init__(self, places: int, waiting_each: int, waiting_in_all: int, refusal: str) -> None:
        """`waiting_each`: how many of one subject may wait. `refusal`: what those that may not are told."""
        self._free = places
        self._waiting_each = waiting_each
        self._waiting_in_all = waiting_in_all
        self._refusal = refusal
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self._waiting = 0
        self._turn = 0
        self._last_turns: OrderedDict[str, int] = OrderedDict()

    async def take(self, subject: str) -> None:
        """Wait for a place, which `release` gives back. Raises Unavailable where too many wait."""
        if self._free:
            self._free -= 1
            self._note_turn(subject)
            return
        place = asyncio.get_running_loop().create_future()
        self._enqueue(subject, place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._remove(subject, place)
            elif place.exception() is None:  # it was given a place at the same moment
                self.release()
            raise

    def release(self) -> None:
        """Give a place to the next subject that waits, or keep it free. On the event loop only."""
        while self._queues:
            subject = min(self._queues, key=lambda waiting: self._last_turns.get(waiting, 0))
            place = self._pop(subject, newest=False)
            if not place.done():
                self._note_turn(subject)
                place.set_result(None)
                return
        self._free += 1

    def close(self) -> None:
        """Refuse all that wait."""
        while self._queues:
            place = self._pop(next(iter(self._queues)), newest=False)
            if not place.done():
                place.set_exception(Unavailable(self._refusal))

    def _enqueue(self, subject: str, place: asyncio.Future[None]) -> None:
        own = len(self._queues.get(subject, ()))
        if own >= self._waiting_each:
            raise Unavailable(self._refusal)
        if self._waiting >= self._waiting_in_all:
            longest = max(self._queues, key=lambda waiting: len(self._queues[waiting]))
            if len(self._queues[longest]) <= own + 1:
                raise Unavailable(self._refusal)
            displaced = self._pop(longest, newest=True)
            if not displaced.done():
                displaced.set_exception(Unavailable(self._refusal))
        self._queues.setdefault(subject, deque()).append(place)
        self._waiting += 1

    def _pop(self, subject: str, *, newest: bool) -> asyncio.Future[None]:
        queue = self._queues[subject]
        place = queue.pop() if newest else queue.popleft()
        self._waiting -= 1
        if not queue:
            del self._queues[subject]
        return place

    def _remove(self, subject: str, place: asyncio.Future[None]) -> None:
        queue = self._queues.get(subject)
        if queue is not None and place in queue:
            queue.remove(place)
            self._waiting -= 1
            if not queue:
                del self._queues[subject]

    def _note_turn(self, subject: str) -> None:
        self._turn += 1
        self._last_turns[subject] = self._turn
        self._last_turns.move_to_end(subject)
        if len(self._last_turns) > _REMEMBERED:
            self._last_turns.popitem(last=False)
