"""Puts the features together into one service."""

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from serval.audit.feature import ROUTES as AUDIT_ROUTES
from serval.audit.feature import audit_feature
from serval.auth.csrf import Csrf
from serval.auth.request_limiter import RequestLimiter
from serval.core import Core, core_feature, open_core
from serval.deployments.feature import ROUTES as DEPLOYMENT_ROUTES
from serval.deployments.feature import open_deployments
from serval.feature import Feature
from serval.history.feature import ROUTES as HISTORY_ROUTES
from serval.history.feature import history_feature
from serval.http.feature import ROUTES as HTTP_ROUTES
from serval.http.feature import open_http
from serval.http.probes import Probes
from serval.log import Log
from serval.models.feature import ROUTES as MODEL_ROUTES
from serval.models.feature import new_loader, open_models
from serval.predictions.feature import EXAMPLE_ROUTES, prediction_features
from serval.predictions.feature import ROUTES as PREDICTION_ROUTES
from serval.settings.settings import Settings
from serval.users.feature import ROUTES as USER_ROUTES
from serval.users.feature import open_users

ROUTES = (
    *PREDICTION_ROUTES,
    *HISTORY_ROUTES,
    *MODEL_ROUTES,
    *DEPLOYMENT_ROUTES,
    *EXAMPLE_ROUTES,
    *USER_ROUTES,
    *AUDIT_ROUTES,
    *HTTP_ROUTES,
)
"""Every route of the API."""


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
        loader = new_loader(core)
        deployments = open_deployments(core, loader)
        models = open_models(core, loader, deployments.publication)
        users = await open_users(core, models.find_model)
        http = open_http(core, is_ready=lambda: deployments.routes.has_routes, loaded_models=lambda: loader.count)
        features = (
            *prediction_features(core, users.limiter.identify, loader, deployments.routes),
            history_feature(core, models.service),
            users.feature,
            audit_feature(core),
            deployments.feature,
            models.feature,
            http.feature,
            core_feature(core),
        )
        for background in (each for feature in features for each in feature.background):
            stack.push_async_callback(background.stop)
            await background.start()
        _freeze_imports()
        yield Service(core, features, users.limiter, users.csrf, http.probes)


def _freeze_imports() -> None:
    """Hide imported objects from the garbage collector: a full collection stops every thread for 0.1 s."""
    gc.collect()
    gc.freeze()
