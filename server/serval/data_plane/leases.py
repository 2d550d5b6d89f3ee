"""Leases of the rates that replicas share: what the data plane may use before it asks Redis again."""

import asyncio
import os
from contextlib import suppress

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from serval.changes import ChangeNotifier
from serval.data_plane.plane import Rates
from serval.log import Log
from serval.periodic import cancelled

PAUSE_SECONDS = 0.02
"""Least time between two calls of Redis."""
TIMEOUT_SECONDS = 0.3
RETRY_SECONDS = 0.1
"""Short, because one slow call must not partition the rates for long: the other servers keep their leases."""

# The generic cell rate algorithm over all replicas, by the clock of Redis in microseconds. For each key it returns the
# tokens granted, and how far the theoretical arrival time lies ahead.
GRANT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local grants = {}
for index, key in ipairs(KEYS) do
    local interval = tonumber(ARGV[3 * index - 2]) / 1000
    local ahead = tonumber(ARGV[3 * index - 1]) * interval
    local requested = tonumber(ARGV[3 * index])
    local arrival = math.min(math.max(tonumber(redis.call('GET', key) or now), now), now + ahead)
    local tokens = math.min(requested, math.floor((now + ahead - arrival) / interval))
    arrival = arrival + tokens * interval
    if tokens > 0 then
        redis.call('SET', key, string.format('%.3f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1000)
    end
    grants[2 * index - 1] = tokens
    grants[2 * index] = math.ceil(arrival - now)
end
return grants
"""


class Leases:
    """Asks Redis for the leases that the data plane requests; idle while it requests none."""

    def __init__(self, rates: Rates, redis: Redis, notifier: ChangeNotifier, failures: Counter, log: Log) -> None:
        """`failures`: calls of Redis that failed, by use."""
        self._rates = rates
        self._grant = redis.register_script(GRANT)
        self._notifier = notifier
        self._failures = failures.labels("rates")
        self._log = log
        self._requested = asyncio.Event()
        self._is_unavailable = False
        self._task: asyncio.Task[None] | None = None
        self._descriptor = -1

    async def start(self) -> None:
        self._descriptor = self._rates.share()
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_request)
        self._task = asyncio.create_task(self._run(), name="lease rates")

    async def stop(self) -> None:
        if self._task is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            await cancelled(self._task)

    def _on_request(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._descriptor, 4096)
        self._requested.set()

    async def _run(self) -> None:
        while True:
            await self._requested.wait()
            self._requested.clear()
            self._rates.set_replicas(self._notifier.replicas)
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._refill()
            except Exception as error:  # noqa: BLE001 - whatever it is, rates hold and the next try may succeed
                self._rates.partition()
                self._failures.inc()
                if not isinstance(error, RedisError | OSError):  # a timeout is an OSError
                    self._log.error("rate_leases_failed", exception=error)
                elif not self._is_unavailable:
                    self._log.warning(
                        "rates_partitioned",
                        replicas=self._notifier.replicas,
                        reason=str(error) or "Redis does not answer",
                    )
                self._is_unavailable = True
                self._requested.set()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if self._is_unavailable:
                    self._log.info("rates_shared")
                self._is_unavailable = False
                await asyncio.sleep(PAUSE_SECONDS)

    async def _refill(self) -> None:
        requests = self._rates.pending_leases()
        if not requests:
            return
        keys = [f"serval:rate:{account}" for account, *_ in requests]
        grants = await self._grant(keys=keys, args=[number for _, *numbers in requests for number in numbers])
        for (account, *_), tokens, ahead_us in zip(requests, grants[::2], grants[1::2], strict=True):
            self._rates.grant_lease(account, tokens, ahead_us * 1000)
