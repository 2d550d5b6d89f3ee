"""Predictions as a part of the service."""

from collections.abc import Sequence

from serval.auth.caller import FindCaller
from serval.core import Core
from serval.deployments.publishing import RoutePublisher
from serval.feature import Feature
from serval.models.loading import ModelLoader
from serval.predictions.example_routes import test_model
from serval.predictions.routes import predict, predict_short
from serval.predictions.service import PredictionService

ROW_ROUTES = (predict_short, predict)
"""Their bodies are rows, as many as `max_body_bytes` hold."""
EXAMPLE_ROUTES = (test_model,)
ROUTES = (*ROW_ROUTES, *EXAMPLE_ROUTES)


def build(core: Core, find_caller: FindCaller, loader: ModelLoader, routes: RoutePublisher) -> Sequence[Feature]:
    settings = core.settings
    service = PredictionService(
        core.plane.predictor, core.plane.callers, find_caller, loader, routes, settings.max_rows
    )
    return (
        Feature(routes=ROW_ROUTES, dependencies={"predictions": service}, max_body_bytes=settings.max_body_bytes),
        Feature(routes=EXAMPLE_ROUTES),
    )
