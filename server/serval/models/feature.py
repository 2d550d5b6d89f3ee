"""The registry of models as a part of the service: uploads, conversions, loading."""

from typing import NamedTuple

from serval.auth.caller import Caller
from serval.core import Core
from serval.feature import Background, Feature
from serval.models.conversions import Conversions
from serval.models.live import LiveModels
from serval.models.load_attempts import LoadAttempts
from serval.models.routes import ModelController, short_list, validate
from serval.models.sandbox import RunningSandbox, new_sandbox
from serval.models.service import ModelService
from serval.models.sharing import SharingService
from serval.models.sharing_routes import ShareController

ROUTES = (ModelController, ShareController, validate, short_list)


class Models(NamedTuple):
    """The feature, and what others ask of it."""

    feature: Feature
    service: ModelService
    live: LiveModels

    async def find_model(self, caller: Caller, reference: str) -> str:
        """Return the id of a model that a caller may see. Raises NotFound."""
        return (await self.service.get_model(caller, reference)).model.id


def open_models(core: Core) -> Models:
    settings, database, storage = core.settings, core.database, core.storage
    sandbox = new_sandbox(settings)
    attempts = LoadAttempts(settings.data_dir / "loading")
    live = LiveModels(database, storage, attempts, core.plane.models, core.changes, core.log)
    service = ModelService(database, storage, live, core.changes, settings.max_pending_uploads)
    conversions = Conversions(
        database, storage, live, core.changes, sandbox, settings, core.metrics.conversions, core.log
    )
    dependencies = {
        "models": service,
        "sharing": SharingService(database, live, core.changes),
        "conversions": conversions,
        "storage": storage,
    }
    background: list[Background] = [RunningSandbox(sandbox, preload=settings.convert_preload), live, conversions]
    return Models(Feature(routes=ROUTES, dependencies=dependencies, background=background), service, live)
