"""Probes and metrics as a part of the service."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import text

from serval.core import Core
from serval.feature import Feature
from serval.http.metrics_route import MetricsPages, metrics
from serval.http.probes import Probes, health, info, live, ready
from serval.storage.watch import DiskWatch

CHECK_SECONDS = 2.0
"""Timeout of each check of `/health`."""
SHOWN = 5
"""Versions that `/health` names."""

ROUTES = (health, live, ready, info, metrics)


class Http(NamedTuple):
    """The feature, and the probes for an orderly stop."""

    feature: Feature
    probes: Probes


def build(
    core: Core,
    is_ready: Callable[[], bool],
    loaded_models: Callable[[], int],
    unloadable: Callable[[], Sequence[str]],
) -> Http:
    """`unloadable`: the ids of versions in use that cannot be loaded."""

    async def check_database() -> None:
        async with asyncio.timeout(CHECK_SECONDS), core.database.read() as session:
            await session.execute(text("SELECT 1"))

    async def check_redis() -> None:
        async with asyncio.timeout(CHECK_SECONDS):
            await core.redis.ping()

    async def check_models() -> str | None:
        versions = unloadable()
        more = f" and {len(versions) - SHOWN} more" if len(versions) > SHOWN else ""
        return f"cannot be loaded: {', '.join(versions[:SHOWN])}{more}" if versions else None

    disk = DiskWatch(core.space, core.log)
    checks = {"database": check_database, "redis": check_redis, "models": check_models, "disk": disk.check}
    probes = Probes(checks, is_ready, loaded_models)
    pages = MetricsPages(everything=core.render_metrics, of_user=core.render_metrics_of)
    feature = Feature(routes=ROUTES, dependencies={"probes": probes, "pages": pages}, background=[disk])
    return Http(feature, probes)
