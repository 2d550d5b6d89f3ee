"""What every feature stands on: settings, log, metrics, database, Redis, files, changes and the data plane."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy.pool import QueuePool

from serval.changes import ChangeNotifier, Changes
from serval.data_plane.leases import Leases
from serval.data_plane.plane import DataPlane, open_data_plane
from serval.data_plane.shared_cache import SharedCacheWatch
from serval.db.engine import Database, database_url, open_engine
from serval.db.shared_secrets import shared_secret
from serval.errors import CannotStart
from serval.feature import Background, Feature
from serval.log import Log
from serval.metrics import Metrics, count_connections
from serval.settings.settings import Settings
from serval.storage.disk import DiskStorage
from serval.storage.space import DiskSpace

SECRETS = ("cache", "csrf", "refresh", "database_id")
"""What all replicas share and nobody else knows; the last says whose the files in a folder are."""


class Core(msgspec.Struct, frozen=True):
    """The shared parts of a running service, each opened once."""

    settings: Settings
    log: Log
    metrics: Metrics
    database: Database
    redis: Redis
    space: DiskSpace
    storage: DiskStorage
    secrets: Mapping[str, bytes]
    plane: DataPlane
    changes: Changes

    def is_database_disk_low(self) -> bool:
        """Whether rows that can wait must not be written, because the database shares the disk of the data folder and
        less is free than has to stay free."""
        return self.database.engine.dialect.name == "sqlite" and self.space.is_low()

    def render_metrics(self) -> bytes:
        """Return the metrics of both planes as Prometheus text."""
        return self.metrics.render() + self.plane.metrics()

    def render_metrics_of(self, user_id: str) -> bytes:
        """Return the metrics of one user's models as Prometheus text."""
        return self.plane.metrics(user_id)


@asynccontextmanager
async def open_core(settings: Settings, log: Log) -> AsyncIterator[Core]:
    """Yield the shared parts and close them at the end. Raises CannotStart, DatabaseUnavailable."""
    async with AsyncExitStack() as stack:
        space = DiskSpace(settings.data_dir, settings.min_free_disk_bytes)
        database = Database(open_engine(database_url(settings.database_url, settings.data_dir)), space.make_room)
        stack.push_async_callback(database.close)
        # One retry: a connection of the pool may have died with an earlier server.
        redis: Redis = Redis.from_url(
            settings.redis_url or "", socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), retries=1)
        )
        stack.push_async_callback(redis.aclose)
        await _check_redis(redis)
        secrets = {name: await shared_secret(database, name) for name in SECRETS}
        metrics = Metrics()
        core = Core(
            settings=settings,
            log=log,
            metrics=metrics,
            database=database,
            redis=redis,
            space=space,
            storage=DiskStorage(settings.data_dir / "models", space),
            secrets=secrets,
            plane=open_data_plane(settings, secrets["cache"]),
            changes=Changes(database, metrics.changes, log),
        )
        metrics.http.requests.front = core.plane.http_requests
        _add_gauges(core)
        yield core


def core_feature(core: Core) -> Feature:
    """Keep up with other servers and watch the second cache level; started when everything that listens is there."""
    background: list[Background] = [core.changes]
    if core.settings.cache_url:
        background.append(SharedCacheWatch(core.plane, core.log))
    if core.database.engine.dialect.name != "sqlite":  # other servers may use the same database
        notifier = ChangeNotifier(core.redis, core.changes, core.metrics.redis_failures, core.log)
        background += [notifier, Leases(core.plane.rates, core.redis, notifier, core.metrics.redis_failures, core.log)]
    return Feature(background=background)


async def _check_redis(redis: Redis) -> None:
    try:
        await redis.ping()
    except RedisError as error:
        raise CannotStart(f"Redis (`SERVAL_REDIS_URL`) is unreachable: {error}") from error


def _add_gauges(core: Core) -> None:
    pool, connections = core.database.engine.pool, core.redis.connection_pool
    gauges = core.metrics.gauges
    gauges.add(
        "serval_http_connections",
        "TCP connections open to the public port.",
        lambda: count_connections(core.settings.port),
    )
    if isinstance(pool, QueuePool):
        gauges.add("serval_database_connections_in_use", "Database connections in use.", pool.checkedout)
        gauges.add("serval_database_connections_idle", "Database connections open and not in use.", pool.checkedin)
    gauges.add(
        "serval_redis_connections_in_use", "Redis connections in use.", lambda: len(connections._in_use_connections)
    )
    gauges.add(
        "serval_redis_connections_idle",
        "Redis connections open and not in use.",
        lambda: len(connections._available_connections),
    )
