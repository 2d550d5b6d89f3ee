"""The registry of models as a part of the service: uploads, conversions, loading."""

from typing import NamedTuple

from serval.auth.caller import Caller
from serval.core import Core
from serval.feature import Background, Feature
from serval.models.confined_runs import ConfinedRuns
from serval.models.conversions import Conversions
from serval.models.files import VersionFiles
from serval.models.golden_requests import GoldenRequests
from serval.models.load_attempts import LoadAttempts
from serval.models.loading import ModelLoader
from serval.models.publication import Publication
from serval.models.routes import ModelController, VersionController, short_list
from serval.models.sandbox import RunningSandbox, new_sandbox
from serval.models.service import ModelService
from serval.models.sharing import SharingService
from serval.models.sharing_routes import ShareController
from serval.models.upload_routes import upload, validate
from serval.models.uploads import UploadService

ROUTES = (upload, ModelController, VersionController, ShareController, validate, short_list)


class Models(NamedTuple):
    """The feature, and what others ask of it."""

    feature: Feature
    service: ModelService
    confined_runs: ConfinedRuns

    async def find_model(self, caller: Caller, reference: str) -> str:
        """Return the id of a model that a caller may see. Raises NotFound."""
        return (await self.service.get_model(caller, reference)).model.id


def new_loader(core: Core) -> ModelLoader:
    """Return the loader that the registry shares with deployments and predictions."""
    attempts = LoadAttempts(core.settings.data_dir / "loading")
    return ModelLoader(core.database, VersionFiles(core.storage), attempts, core.plane.models, core.changes, core.log)


def new_golden_requests(core: Core, loader: ModelLoader) -> GoldenRequests:
    """Return what the registry shares with deployments and predictions, too."""
    return GoldenRequests(VersionFiles(core.storage), loader, core.plane.models)


def build(core: Core, loader: ModelLoader, golden: GoldenRequests, publication: Publication) -> Models:
    settings, database, files = core.settings, core.database, VersionFiles(core.storage)
    sandbox = new_sandbox(settings)
    service = ModelService(database, files, core.changes, publication.refresh)
    conversions = Conversions(
        database, files, loader, publication, sandbox, settings, core.metrics.conversions, core.log
    )
    dependencies = {
        "models": service,
        "sharing": SharingService(database, core.changes, publication.refresh),
        "uploads": UploadService(
            database,
            files,
            max_pending_uploads=settings.max_pending_uploads,
            max_bytes=settings.max_upload_bytes,
        ),
        "conversions": conversions,
        "golden": golden,
    }
    background: list[Background] = [RunningSandbox(sandbox, preload=settings.convert_preload), loader, conversions]
    feature = Feature(routes=ROUTES, dependencies=dependencies, background=background)
    return Models(feature, service, ConfinedRuns(files, sandbox))
