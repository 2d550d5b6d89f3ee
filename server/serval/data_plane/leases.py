"""Leases of rates that replicas share: what the data plane may use up before Redis is asked again."""

import asyncio
import os
from contextlib import suppress

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from serval.changes import ChangeNotifier
from serval.data_plane.plane import Rates
from serval.log import Log

PAUSE_SECONDS = 0.02
"""Between two calls of Redis for leases, at least."""
PATIENCE_SECONDS = 0.3
RETRY_SECONDS = 0.1
"""A lease that came too late for no good reason must not divide the rates for long: the other servers go on with
theirs."""

# The generic cell rate algorithm over all replicas, by the clock of Redis in microseconds. It answers, by turns, how
# many tokens it
# grants, and how far ahead the next request would come if all came evenly.
GRANT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {}
for place, key in ipairs(KEYS) do
    local interval = tonumber(ARGV[3 * place - 2]) / 1000
    local ahead = tonumber(ARGV[3 * place - 1]) * interval
    local wanted = tonumber(ARGV[3 * place])
    local arrival = math.min(math.max(tonumber(redis.call('GET', key) or now), now), now + ahead)
    local tokens = math.min(wanted, math.floor((now + ahead - arrival) / interval))
    arrival = arrival + tokens * interval
    if tokens > 0 then
        redis.call('SET', key, string.format('%.3f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1000)
    end
    answer[2 * place - 1] = tokens
    answer[2 * place] = math.ceil(arrival - now)
end
return answer
"""


class Leases:
    """Asks Redis for the leases that the data plane wants; nothing is done while it wants none."""

    def __init__(self, rates: Rates, redis: Redis, bell: ChangeNotifier, failures: Counter, log: Log) -> None:
        """`failures`: calls of Redis that failed, by use."""
        self._rates = rates
        self._grant = redis.register_script(GRANT)
        self._bell = bell
        self._failures = failures.labels("rates")
        self._log = log
        self._wanted = asyncio.Event()
        self._is_away = False
        self._keeping: asyncio.Task[None] | None = None
        self._descriptor = -1

    async def start(self) -> None:
        self._descriptor = self._rates.share()
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_wanted)
        self._keeping = asyncio.create_task(self._keep(), name="lease rates")

    async def stop(self) -> None:
        if self._keeping is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    def _on_wanted(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._descriptor, 4096)
        self._wanted.set()

    async def _keep(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._rates.set_replicas(self._bell.replicas)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._refill()
            except (RedisError, OSError) as error:  # a timeout is an OSError
                self._rates.partition()
                self._failures.inc()
                if not self._is_away:
                    self._log.warning(
                        "rates_partitioned", replicas=self._bell.replicas, reason=str(error) or "Redis does not answer"
                    )
                self._is_away = True
                self._wanted.set()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if self._is_away:
                    self._log.info("rates_shared")
                self._is_away = False
                await asyncio.sleep(PAUSE_SECONDS)

    async def _refill(self) -> None:
        wanted = self._rates.pending_leases()
        if not wanted:
            return
        keys = [f"serval:rate:{account}" for account, *_ in wanted]
        answer = await self._grant(keys=keys, args=[number for _, *numbers in wanted for number in numbers])
        for (account, *_), tokens, ahead_us in zip(wanted, answer[::2], answer[1::2], strict=True):
            self._rates.grant_lease(account, tokens, ahead_us * 1000)
