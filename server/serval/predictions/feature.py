"""Predictions as a part of the service."""

from collections.abc import Callable

from serval.auth.caller import FindCaller
from serval.core import Core
from serval.deployments.publishing import RoutePublisher
from serval.feature import Feature
from serval.models.confined_runs import ConfinedRuns
from serval.models.golden_requests import GoldenRequests
from serval.models.loading import ModelLoader
from serval.predictions.charges import Charges
from serval.predictions.golden_tester import GoldenTester
from serval.predictions.routes import predict, predict_shared, predict_short
from serval.predictions.service import PredictionService
from serval.predictions.tester import VersionTester
from serval.predictions.testing_routes import ask_version

ROUTES = (predict_short, predict, predict_shared, ask_version)
"""Their bodies are rows, as many as `max_body_bytes` hold."""


def build(
    core: Core,
    find_caller: FindCaller,
    loader: ModelLoader,
    routes: RoutePublisher,
    runs: ConfinedRuns,
    golden: GoldenRequests,
    count: Callable[[str], None],
) -> Feature:
    """`runs`: of versions that are held. `count`: counts a prediction of a key, by its id."""
    settings, plane = core.settings, core.plane
    predictions = PredictionService(plane.predictor, plane.callers, find_caller, loader, routes, settings.max_rows)
    charges = Charges(plane.rates, count)
    dependencies = {
        "predictions": predictions,
        "tester": VersionTester(predictions, runs, charges),
        "golden_tester": GoldenTester(golden, charges),
    }
    return Feature(routes=ROUTES, dependencies=dependencies, max_body_bytes=settings.max_body_bytes)
