"""Opens each shared thing once, hands it to who needs it, and closes it."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from serval.audit.record import count_entries
from serval.audit.retention import AuditRetention
from serval.audit.service import AuditTrail
from serval.auth.caller import Caller, ClientInfo, FindCaller
from serval.auth.credentials import Credential
from serval.auth.csrf import Csrf
from serval.auth.passwords import Passwords
from serval.auth.request_limiter import RequestLimiter
from serval.changes import ChangeNotifier, Changes
from serval.conversion.sandbox.child_process import Limits
from serval.conversion.sandbox.sandbox import Sandbox
from serval.data_plane.leases import Leases
from serval.data_plane.plane import DataPlane, Publisher, open_data_plane
from serval.db.engine import Database, database_url, open_engine
from serval.db.shared_secrets import shared_secret
from serval.deployments.publishing import RoutePublisher
from serval.deployments.releases import ReleaseService
from serval.errors import CannotStart
from serval.history.recorder import HistoryRecorder
from serval.history.service import HistoryService
from serval.http.probes import Probes
from serval.log import Log
from serval.metrics import Metrics, count_connections
from serval.models.conversions import Conversions
from serval.models.files import VersionFiles
from serval.models.load_attempts import LoadAttempts
from serval.models.loading import ModelLoader
from serval.models.service import ModelService
from serval.models.sharing import SharingService
from serval.models.uploads import UploadService
from serval.predictions.service import PredictionService
from serval.settings.plans import rate_of
from serval.settings.settings import Settings
from serval.storage.disk import DiskStorage
from serval.users.first_administrator import UserService
from serval.users.gauges import UserGauges
from serval.users.keys import FindModel, KeyService
from serval.users.limits import UserLimits
from serval.users.service import AccountService
from serval.users.sessions import SessionService
from serval.users.signing_keys import SigningKeys
from serval.users.usage import UsageRecorder

CHECK_SECONDS = 2.0
"""What `/health` waits for each thing that the service stands on."""

LEVEL_TWO_SECONDS = 0.5
"""How often the state of the second cache level is read for the log."""


SECRETS = ("cache", "csrf")
"""What all replicas share and nobody else knows."""


class Wiring(msgspec.Struct, frozen=True):
    """The parts of a running service."""

    settings: Settings
    log: Log
    metrics: Metrics
    database: Database
    plane: DataPlane
    publisher: Publisher
    storage: DiskStorage
    changes: Changes
    bell: ChangeNotifier
    leases: Leases
    gate: RequestLimiter
    csrf: Csrf
    passwords: Passwords
    ring: SigningKeys
    sessions: SessionService
    accounts: AccountService
    users: UserService
    keys: KeyService
    uses: UsageRecorder
    loader: ModelLoader
    routes: RoutePublisher
    models: ModelService
    uploads: UploadService
    releases: ReleaseService
    sharing: SharingService
    conversions: Conversions
    predictions: PredictionService
    history: HistoryRecorder
    past: HistoryService
    audit: AuditTrail
    retention: AuditRetention
    population: UserGauges
    probes: Probes

    def render_metrics(self) -> bytes:
        """Return the metrics of both planes as Prometheus text."""
        return self.metrics.render() + self.publisher.metrics()

    def render_metrics_of(self, user_id: str) -> bytes:
        """Return the metrics of the models of one user as Prometheus text."""
        return self.publisher.metrics(user_id)


@asynccontextmanager
async def open_wiring(settings: Settings, log: Log) -> AsyncIterator[Wiring]:
    """Yield the wired parts, with live models loaded and interrupted conversions taken up; close them at the end.
    Raises CannotStart."""
    async with AsyncExitStack() as stack:
        url = database_url(settings.database_url, settings.data_dir)
        database = Database(open_engine(url))
        stack.push_async_callback(database.close)
        # Once more: a connection of the pool may have died with an earlier server.
        redis: Redis = Redis.from_url(
            settings.redis_url or "", socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), retries=1)
        )
        stack.push_async_callback(redis.aclose)
        await _check_redis(redis)
        sandbox = open_sandbox(settings)
        stack.push_async_callback(sandbox.close)
        await sandbox.start(preload=settings.convert_preload)
        secrets = {name: await shared_secret(database, name) for name in SECRETS}
        wiring = _wire(settings, log, database, redis, sandbox, secrets)
        stack.callback(wiring.passwords.close)
        admin_key = await wiring.users.ensure_administrator(settings.data_dir)
        if admin_key is not None:
            log.info("administrator_created", key_file=str(admin_key))
        stack.push_async_callback(wiring.history.close)
        wiring.history.start()
        stack.push_async_callback(wiring.uses.close)
        wiring.uses.start()
        stack.push_async_callback(wiring.retention.stop)
        wiring.retention.start()
        stack.push_async_callback(wiring.population.stop)
        wiring.population.start()
        stack.push_async_callback(wiring.routes.stop)
        await wiring.routes.start()
        stack.push_async_callback(wiring.loader.stop)
        await wiring.loader.start()
        if settings.cache_url:
            stack.push_async_callback(
                _ended, asyncio.create_task(_tell_of_level_two(wiring.publisher, log), name="watch the cache")
            )
        stack.push_async_callback(wiring.changes.stop)
        wiring.changes.start()
        if url.get_backend_name() != "sqlite":  # others may serve from the same database
            await _join_others(wiring, stack)
        stack.push_async_callback(wiring.conversions.stop)
        await wiring.conversions.start()
        _settle()
        yield wiring


async def _join_others(wiring: Wiring, stack: AsyncExitStack) -> None:
    stack.push_async_callback(wiring.bell.stop)
    wiring.bell.start()
    stack.push_async_callback(wiring.leases.stop)
    wiring.leases.start()


def _settle() -> None:
    """Take what was imported out of the garbage collector's sight: looking through it stops every thread for a tenth of
    a second."""
    gc.collect()
    gc.freeze()


async def _tell_of_level_two(publisher: Publisher, log: Log) -> None:
    """Log each change of the second cache level once: the data plane has no log."""
    known = None
    while True:
        await asyncio.sleep(LEVEL_TWO_SECONDS)
        state = publisher.level_two()
        if state != known:
            write = log.info if state == "up" else log.warning
            write("cache_level_two", state=state, before=known)
            known = state


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _check_redis(redis: Redis) -> None:
    try:
        await redis.ping()
    except RedisError as error:
        raise CannotStart(f"Redis (`SERVAL_REDIS_URL`) is out of reach: {error}") from error


def _wire(
    settings: Settings, log: Log, database: Database, redis: Redis, sandbox: Sandbox, secrets: Mapping[str, bytes]
) -> Wiring:
    metrics = Metrics()
    plane = open_data_plane(settings, secrets["cache"])
    publisher = Publisher(plane)
    storage = DiskStorage(settings.data_dir / "models", settings.min_free_disk_bytes)
    changes = Changes(database, metrics.changes, log)
    bell = ChangeNotifier(redis, changes, metrics.redis_failures, log)
    limits = UserLimits(settings)
    ring = SigningKeys(database, changes, settings.signing_key_days, settings.access_token_minutes)
    sessions = SessionService(database, publisher, changes, ring, limits, settings.refresh_token_days)
    passwords = Passwords(settings.password_min_length)
    files = VersionFiles(storage)
    loader = ModelLoader(database, files, LoadAttempts(settings.data_dir / "loading"), publisher, changes, log)
    routes = RoutePublisher(database, loader, publisher, changes, log)
    models = ModelService(database, files, changes, routes.refresh)
    releases = ReleaseService(database, loader, routes, changes)
    uses = UsageRecorder(publisher, database, log)
    keys = KeyService(database, publisher, changes, limits, uses, _find_model(models))
    gate = RequestLimiter(plane, _find_caller(keys, sessions), rate_of(settings.api_rate))
    conversions = Conversions(
        database,
        files,
        loader,
        sandbox,
        settings,
        metrics.conversions,
        log,
        release=releases.release_converted,
        announcing=routes.announcing,
    )
    count_entries(database.writers, metrics.audit_entries)
    _add_gauges(metrics, settings, database, redis)
    return Wiring(
        settings=settings,
        log=log,
        metrics=metrics,
        database=database,
        plane=plane,
        publisher=publisher,
        storage=storage,
        changes=changes,
        bell=bell,
        leases=Leases(plane, redis, bell, metrics.redis_failures, log),
        gate=gate,
        csrf=Csrf(secrets["csrf"], settings.cors_origins),
        passwords=passwords,
        ring=ring,
        sessions=sessions,
        accounts=AccountService(database, changes, passwords, sessions, gate),
        users=UserService(database),
        keys=keys,
        uses=uses,
        loader=loader,
        routes=routes,
        models=models,
        uploads=UploadService(database, files, settings.max_pending_uploads),
        releases=releases,
        sharing=SharingService(database, changes, routes.refresh),
        conversions=conversions,
        predictions=PredictionService(plane, publisher, gate.identify, loader, routes, settings.max_rows),
        history=HistoryRecorder(plane, database, settings, metrics.history, log),
        past=HistoryService(database, models),
        audit=AuditTrail(database),
        retention=AuditRetention(database, settings.audit_days, log),
        population=UserGauges(database, metrics.gauges, log),
        probes=_probes(database, redis, publisher, loader),
    )


def _find_caller(keys: KeyService, sessions: SessionService) -> FindCaller:
    """Keys are looked up by the one, access tokens by the other."""

    async def find_caller(presented: Credential, origin: ClientInfo) -> Caller:
        look_up = keys.find_caller if presented.kind == "key" else sessions.find_caller
        return await look_up(presented, origin)

    return find_caller


def _find_model(models: ModelService) -> FindModel:
    """Keys are below models and can not ask for them themselves."""

    async def find_model(caller: Caller, reference: str) -> str:
        return (await models.get_model(caller, reference)).model.id

    return find_model


def open_sandbox(settings: Settings) -> Sandbox:
    """Return the sandbox of conversions with the limits of the settings."""
    scratch = settings.data_dir / "scratch"
    scratch.mkdir(mode=0o711, exist_ok=True)
    limits = Limits(
        memory_bytes=settings.convert_memory_bytes,
        cpu_seconds=settings.convert_cpu_seconds,
        wall_seconds=settings.convert_wall_seconds,
    )
    return Sandbox(
        python=sys.executable,
        root=scratch,
        limits=limits,
        allow_unconfined=settings.allow_unconfined_conversion,
        max_children=settings.convert_parallel,
    )


def _probes(database: Database, redis: Redis, publisher: Publisher, loader: ModelLoader) -> Probes:
    async def check_database() -> None:
        async with asyncio.timeout(CHECK_SECONDS), database.read() as session:
            await session.execute(text("SELECT 1"))

    async def check_redis() -> None:
        async with asyncio.timeout(CHECK_SECONDS):
            await redis.ping()

    checks = {"database": check_database, "redis": check_redis}
    return Probes(checks, is_ready=lambda: publisher.has_routes, loaded_models=lambda: loader.count)


def _add_gauges(metrics: Metrics, settings: Settings, database: Database, redis: Redis) -> None:
    pool, connections = database.engine.pool, redis.connection_pool
    gauges = metrics.gauges
    gauges.add(
        "serval_http_connections", "TCP connections open to the public port", lambda: count_connections(settings.port)
    )
    if isinstance(pool, QueuePool):
        gauges.add("serval_database_connections_in_use", "Database connections in use", pool.checkedout)
        gauges.add("serval_database_connections_idle", "Database connections open and not in use", pool.checkedin)
    gauges.add(
        "serval_redis_connections_in_use", "Redis connections in use", lambda: len(connections._in_use_connections)
    )
    gauges.add(
        "serval_redis_connections_idle",
        "Redis connections open and not in use",
        lambda: len(connections._available_connections),
    )
