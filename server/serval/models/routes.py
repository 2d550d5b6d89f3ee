"""HTTP for the registry: models and their versions."""

from typing import Annotated

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, JSONBody, QueryParameter

from serval.errors import Conflict, NameTaken, NotFound
from serval.http.openapi import JSON_ERRORS, KEYED, keyed_responses, operation
from serval.http.request import HttpRequest, Name, VersionNumber, preferred_wait
from serval.models.access import DOWNLOAD, SEE_GOLDEN
from serval.models.dependencies import LINKS, CallerDependency, ConversionsDependency, LinksDependency, ModelsDependency
from serval.models.golden_requests import GoldenRequests
from serval.models.schemas import (
    ModelChange,
    ModelList,
    ModelView,
    ShortModel,
    ShortModelList,
    StoredGolden,
    StoredReport,
    VersionChange,
    VersionList,
    VersionView,
)

Deleted = Annotated[
    bool,
    QueryParameter(name="deleted", required=False, description="List the deleted models that you may restore instead"),
]


Purged = Annotated[
    bool,
    QueryParameter(
        name="purge", required=False, description="Delete its files at once; nothing can be restored afterwards"
    ),
]


class ModelController(Controller):
    """The models that exist for the caller: their own, those shared with them; for administrators all."""

    path = "/api/v1/models"
    tags = ("Models",)

    @get(operation_id="list_models", summary="List models", responses=keyed_responses(), operation_class=KEYED)
    async def list_models(
        self, caller: CallerDependency, models: ModelsDependency, deleted: Deleted = False
    ) -> ModelList:
        """List your models and those that are shared with you; administrators see all. With `deleted`, those that
        can be restored."""
        return ModelList([ModelView.of(model) for model in await models.list_models(caller, deleted=deleted)])

    @get(
        "/{model:str}",
        operation_id="get_model",
        summary="Show a model",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_model(self, model: Name, caller: CallerDependency, models: ModelsDependency) -> ModelView:
        """Show a model by its id, its name or `owner/name`: its live version, its cache settings and what you may do
        with it."""
        return ModelView.of(await models.get_model(caller, model))

    @patch(
        "/{model:str}",
        operation_id="update_model",
        summary="Update a model's description or cache settings",
        responses=keyed_responses(NotFound, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def change_model(
        self, model: Name, data: JSONBody[ModelChange], caller: CallerDependency, models: ModelsDependency
    ) -> ModelView:
        """Change the description or the cache settings; fields that the body leaves out stay as they are."""
        changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        return ModelView.of(await models.change_model(caller, model, changes))

    @delete(
        "/{model:str}",
        operation_id="delete_model",
        summary="Delete a model; it can be restored, unless it is purged",
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def delete_model(
        self,
        model: Name,
        caller: CallerDependency,
        models: ModelsDependency,
        is_purged: Purged = False,
    ) -> None:
        """Delete a model with all its versions. It answers no more requests, its name is free, and it can be restored;
        its files stay. With `purge` they are deleted at once, and nothing can be restored; that works for a model that
        was deleted before too."""
        if is_purged:
            await models.purge_model(caller, model)
        else:
            await models.delete_model(caller, model)

    @post(
        "/{model:str}/restore",
        operation_id="restore_model",
        summary="Restore a deleted model, by its id or name",
        status_code=200,
        responses=keyed_responses(NotFound, Conflict, NameTaken),
        operation_class=KEYED,
    )
    async def restore_model(self, model: Name, caller: CallerDependency, models: ModelsDependency) -> ModelView:
        """Bring a deleted model back under its old name, which no other model may have been given meanwhile."""
        return ModelView.of(await models.restore_model(caller, model))


class VersionController(Controller):
    """The versions of a model."""

    path = "/api/v1/models/{model:str}/versions"
    tags = ("Versions",)
    dependencies = LINKS

    @get(
        operation_id="list_versions",
        summary="List the versions of a model, newest first",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def list_versions(
        self, model: Name, caller: CallerDependency, models: ModelsDependency, links: LinksDependency
    ) -> VersionList:
        """List all versions of a model: converting, failed, held, live and archived ones."""
        return VersionList([VersionView.of(version, links) for version in await models.list_versions(caller, model)])

    @get(
        "/{number:int}",
        operation_id="get_version",
        summary="Show a version, and with `Prefer: wait` hold the response until its conversion has ended",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_version(
        self,
        request: HttpRequest,
        model: Name,
        number: VersionNumber,
        caller: CallerDependency,
        models: ModelsDependency,
        conversions: ConversionsDependency,
        links: LinksDependency,
        prefer: Annotated[
            str | None,
            HeaderParameter(
                name="Prefer",
                required=False,
                description="`wait=SECONDS`: how long to wait for the end of its conversion",
            ),
        ] = None,
    ) -> VersionView:
        """Show a version: its status, its columns, how well it agrees with the original, an example row, and why it
        failed or is held. With `Prefer: wait=SECONDS` the response comes when the conversion has ended, or after that
        time."""
        wait_seconds = preferred_wait(prefer, default=0.0)
        visible = await models.get_version(caller, model, number)
        if wait_seconds:
            waited = await conversions.wait(visible.version.id, wait_seconds, caller.user_id)
            request.note(waited_ms=waited * 1e3)
            visible = await models.get_version(caller, model, number)
        return VersionView.of(visible, links)

    @patch(
        "/{number:int}",
        operation_id="update_version",
        summary="Name the columns of a version whose model was fitted without names",
        responses=keyed_responses(NotFound, Conflict, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def change_version(
        self,
        model: Name,
        number: VersionNumber,
        data: JSONBody[VersionChange],
        caller: CallerDependency,
        models: ModelsDependency,
        links: LinksDependency,
    ) -> VersionView:
        """Give names to the columns of a version whose model was fitted on a plain array. Requests can then
        name them."""
        columns = None if data.columns is msgspec.UNSET else data.columns
        return VersionView.of(await models.change_version(caller, model, number, columns), links)

    @get(
        "/{number:int}/report",
        operation_id="get_report",
        summary="Show the conversion report",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_report(
        self, model: Name, number: VersionNumber, caller: CallerDependency, models: ModelsDependency
    ) -> StoredReport:
        """Show how a version was converted and how its answers compare with the original, with the worst rows."""
        return StoredReport.of(await models.get_version(caller, model, number))

    @get(
        "/{number:int}/golden",
        operation_id="get_golden_requests",
        summary="Show the golden requests of a version: rows that are kept with the answers expected",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_golden(
        self,
        model: Name,
        number: VersionNumber,
        caller: CallerDependency,
        models: ModelsDependency,
        golden: NamedDependency[GoldenRequests],
    ) -> StoredGolden:
        """Show the rows that came with the upload and the answers that they must get."""
        version = (await models.get_version(caller, model, number, SEE_GOLDEN)).version
        return StoredGolden.of(version, await golden.read(version))

    @get(
        "/{number:int}/download",
        operation_id="download_onnx",
        summary="Download the converted ONNX model",
        media_type="application/octet-stream",
        responses=keyed_responses(NotFound, Conflict),
        operation_class=operation(headers={"Content-Disposition": "The name of the file."}),
    )
    async def download(
        self, model: Name, number: VersionNumber, caller: CallerDependency, models: ModelsDependency
    ) -> Response[bytes]:
        """Download the ONNX graph that answers for a version."""
        version, _ = await models.get_version(caller, model, number, DOWNLOAD)
        disposition = f'attachment; filename="{version.model.name}-{version.number}.onnx"'
        return Response(
            await models.read_onnx(version),
            media_type="application/octet-stream",
            headers={"Content-Disposition": disposition},
        )


@get(
    "/models",
    operation_id="list_models_short",
    summary="List the names of the models that you may use",
    tags=["Models"],
    responses=keyed_responses(),
    operation_class=KEYED,
)
async def short_list(caller: CallerDependency, models: ModelsDependency) -> ShortModelList:
    """List the models that you may ask and that have a version that answers, with its number."""
    rows = await models.list_models(caller)
    return ShortModelList([ShortModel(row.name, row.owner.username, row.live) for row, _ in rows if row.live])
