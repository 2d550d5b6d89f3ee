"""The registry of models as a part of the service: uploads, conversions, loading."""

from typing import NamedTuple

from serval.auth.caller import Caller
from serval.conversion.sandbox.sandbox import Sandbox
from serval.core import Core
from serval.feature import Background, Feature
from serval.models.confined_runs import ConfinedRuns
from serval.models.conversions import Conversions
from serval.models.files import VersionFiles
from serval.models.golden_requests import GoldenRequests
from serval.models.load_attempts import LoadAttempts
from serval.models.loading import ModelLoader
from serval.models.publication import Publication
from serval.models.retention import FailedUploadRetention
from serval.models.routes import ModelController, VersionController, short_list
from serval.models.sandbox import RunningSandbox, new_sandbox
from serval.models.service import ModelService
from serval.models.sharing import SharingService
from serval.models.sharing_routes import ShareController
from serval.models.storage_quota import StorageQuota
from serval.models.stray_files import StrayFiles, check_owner
from serval.models.upload_routes import upload, validate
from serval.models.uploads import UploadService
from serval.users.limits import UserLimits

ROUTES = (upload, ModelController, VersionController, ShareController, validate, short_list)


class Models(NamedTuple):
    """The feature, and what others ask of it."""

    feature: Feature
    service: ModelService

    async def find_model(self, caller: Caller, reference: str) -> str:
        """Return the id of a model that a caller may see. Raises NotFound."""
        return (await self.service.get_model(caller, reference)).model.id


class Shared(NamedTuple):
    """What the registry shares with deployments and predictions."""

    files: VersionFiles
    loader: ModelLoader
    sandbox: Sandbox
    confined_runs: ConfinedRuns
    golden: GoldenRequests


async def build_shared(core: Core) -> Shared:
    """Raises CannotStart where the files of versions are those of another database, DatabaseUnavailable."""
    await check_owner(core.database, core.storage, core.secrets["database_id"].hex())
    files, plane, sandbox = VersionFiles(core.storage), core.plane.models, new_sandbox(core.settings)
    attempts = LoadAttempts(core.settings.data_dir / "loading")
    loader = ModelLoader(core.database, files, attempts, plane, core.changes, core.log)
    runs = ConfinedRuns(files, sandbox)
    return Shared(files, loader, sandbox, runs, GoldenRequests(files, loader, runs))


def build(core: Core, shared: Shared, publication: Publication) -> Models:
    settings, database = core.settings, core.database
    files, loader, sandbox = shared.files, shared.loader, shared.sandbox
    service = ModelService(database, files, loader, core.changes, publication.refresh)
    conversions = Conversions(
        database, files, loader, publication, sandbox, settings, core.metrics.conversions, core.log
    )
    dependencies = {
        "models": service,
        "sharing": SharingService(database, core.changes, publication.refresh),
        "uploads": UploadService(
            database,
            files,
            StorageQuota(UserLimits(settings), settings.failed_upload_days),
            max_pending_uploads=settings.max_pending_uploads,
            max_bytes=settings.max_upload_bytes,
        ),
        "conversions": conversions,
        "golden": shared.golden,
    }
    background: list[Background] = [
        RunningSandbox(sandbox, preload=settings.convert_preload),
        loader,
        conversions,
        StrayFiles(database, core.storage, core.log),
        FailedUploadRetention(database, files, settings.failed_upload_days, core.log),
    ]
    feature = Feature(routes=ROUTES, dependencies=dependencies, background=background)
    return Models(feature, service)
