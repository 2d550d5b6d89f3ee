"""Puts the features together into one service."""

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from serval.audit import feature as audit
from serval.auth.csrf import Csrf
from serval.auth.request_limiter import RequestLimiter
from serval.core import Core, core_feature, open_core
from serval.deployments import feature as deployments
from serval.feature import Feature
from serval.history import feature as history
from serval.http import feature as http
from serval.http.probes import Probes
from serval.log import Log
from serval.models import feature as models
from serval.predictions import feature as predictions
from serval.settings.settings import Settings
from serval.users import feature as users

ROUTES = tuple(
    route for feature in (models, deployments, predictions, history, users, audit, http) for route in feature.ROUTES
)
"""Every route of the API, in the order of its description."""


class Service(msgspec.Struct, frozen=True):
    """A running service, ready to be asked."""

    core: Core
    features: Sequence[Feature]
    limiter: RequestLimiter
    csrf: Csrf
    probes: Probes


@asynccontextmanager
async def open_service(settings: Settings, log: Log) -> AsyncIterator[Service]:
    """Yield a service with live models loaded and interrupted conversions resumed; close it at the end.

    Raises CannotStart, DatabaseUnavailable.
    """
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings, log))
        shared = await models.build_shared(core)
        loader = shared.loader
        releases = deployments.build(core, loader, shared.golden)
        registry = models.build(core, shared, releases.publication)
        accounts = await users.build(core, registry.find_model)
        probes = http.build(
            core,
            is_ready=lambda: releases.publisher.is_ready,
            loaded_models=lambda: loader.count,
            unloadable=lambda: loader.unloadable,
        )
        # In the order of their start, and back at the end: the history takes the last predictions, conversions need
        # published routes, and changes of other servers are applied when every listener is there.
        features = (
            predictions.build(
                core,
                accounts.limiter.identify,
                loader,
                releases.publisher,
                shared.confined_runs,
                shared.golden,
                accounts.usage.count,
            ),
            history.build(core, registry.service),
            accounts.feature,
            audit.build(core),
            releases.feature,
            registry.feature,
            probes.feature,
            core_feature(core),
        )
        for background in (each for feature in features for each in feature.background):
            stack.push_async_callback(background.stop)
            await background.start()
        _freeze_imports()
        yield Service(core, features, accounts.limiter, accounts.csrf, probes.probes)


def _freeze_imports() -> None:
    """Hide imported objects from the garbage collector: a full collection stops every thread for 0.1 s."""
    gc.collect()
    gc.freeze()
