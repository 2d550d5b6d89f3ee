"""The history of predictions as a part of the service."""

from serval.core import Core
from serval.feature import Feature
from serval.history.recorder import HistoryRecorder
from serval.history.routes import HistoryController
from serval.history.service import HistoryService
from serval.models.service import ModelService

ROUTES = (HistoryController,)


def build(core: Core, models: ModelService) -> Feature:
    recorder = HistoryRecorder(
        core.plane.history,
        core.database,
        core.settings,
        core.metrics.history,
        core.log,
        is_disk_low=core.is_database_disk_low,
    )
    return Feature(
        routes=ROUTES, dependencies={"history": HistoryService(core.database, models)}, background=[recorder]
    )
