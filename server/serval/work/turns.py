"""Turns at what only a few may do at once: they go round among those who wait, each in an order of their own."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Owner:
    """What one user waits for and has."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0


class Turns:
    """A number of turns at once. A free one goes to the user with the fewest, and among these to the one whose last
    ended longest ago: who waits for a lot keeps nobody waiting for more than one turn of theirs."""

    def __init__(self, parallel: int) -> None:
        self._free = parallel
        self._owners: dict[str, _Owner] = {}
        """Those who wait or have a turn, the one whose last turn ended longest ago first."""

    @asynccontextmanager
    async def turn(self, owner_id: str) -> AsyncIterator[None]:
        """Take a turn for a user, in the order of their calls."""
        owner = self._owners.setdefault(owner_id, _Owner())
        given = asyncio.get_running_loop().create_future()
        owner.waiting.append(given)
        self._give()
        try:
            await given
        except asyncio.CancelledError:
            if given.cancelled():
                self._give_up(owner_id, given)
            else:  # it was given while this task was being cancelled
                self._end(owner_id)
            raise
        try:
            yield
        finally:
            self._end(owner_id)

    def _give(self) -> None:
        """Give the free turns to those who wait."""
        while self._free and (waiting := [owner for owner in self._owners.values() if owner.waiting]):
            owner = min(waiting, key=lambda owner: owner.running)
            given = owner.waiting.popleft()
            if not given.cancelled():
                owner.running += 1
                self._free -= 1
                given.set_result(None)

    def _end(self, owner_id: str) -> None:
        """Take a turn back; its user is the last in the round now."""
        owner = self._owners.pop(owner_id)
        owner.running -= 1
        self._free += 1
        if owner.waiting or owner.running:
            self._owners[owner_id] = owner
        self._give()

    def _give_up(self, owner_id: str, given: "asyncio.Future[None]") -> None:
        owner = self._owners[owner_id]
        if given in owner.waiting:
            owner.waiting.remove(given)
        if not owner.waiting and not owner.running:
            del self._owners[owner_id]
