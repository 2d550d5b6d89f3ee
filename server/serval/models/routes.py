"""HTTP for the registry: uploads, models, versions."""

import re
from typing import Annotated

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody

from serval.auth.caller import Caller
from serval.errors import (
    BadRequest,
    Conflict,
    NameTaken,
    NotAModel,
    NotAPredictor,
    NotConvertible,
    NotFound,
    NotVerified,
    RateLimited,
    SandboxViolation,
    SchemaChanged,
    TooLarge,
    UnsupportedContent,
    error_class,
)
from serval.http.openapi import KEYED, operation
from serval.http.problems import JSON_ERRORS, keyed_responses
from serval.http.request import HttpRequest, Name, VersionNumber
from serval.http.request_logging import note
from serval.models.access import DOWNLOAD
from serval.models.conversions import Conversions
from serval.models.queries import VisibleVersion
from serval.models.schemas import (
    EXAMINED_BODY,
    UPLOAD_BODY,
    Examination,
    ModelChange,
    ModelList,
    ModelView,
    Promotion,
    ShortModel,
    ShortModelList,
    StoredReport,
    VersionList,
    VersionView,
)
from serval.models.service import ModelService
from serval.models.upload import EXAMINED_FIELDS, check_length, read_upload
from serval.settings.settings import Settings
from serval.storage.disk import DiskStorage

DEFAULT_WAIT_SECONDS = 30.0
MAX_WAIT_SECONDS = 300.0
_SECONDS = re.compile(r"[0-9]{1,9}")

_UPLOAD_ERRORS = (TooLarge, RateLimited, UnsupportedContent)
_FILE_ERRORS = (NotAModel, NotAPredictor, NotConvertible, NotVerified, SandboxViolation)
_STILL_CONVERTING = ResponseSpec(
    VersionView,
    generate_examples=False,
    description="The file is stored; its conversion has not ended yet, `Location` tells when it has.",
)


class ModelController(Controller):
    """The models that exist for the caller: their own, those shared with them; for administrators all."""

    path = "/api/v1/models"

    @post(
        "/upload",
        operation_id="upload_model",
        summary="Upload a fitted model to convert, verify and serve it",
        tags=["Models"],
        request_max_body_size=None,
        status_code=201,
        responses={202: _STILL_CONVERTING, **keyed_responses(NotFound, SchemaChanged, *_UPLOAD_ERRORS, *_FILE_ERRORS)},
        operation_class=operation(takes=UPLOAD_BODY, headers={"Location": "Where the version is shown."}),
    )
    async def upload(
        self,
        request: HttpRequest,
        caller: NamedDependency[Caller],
        models: NamedDependency[ModelService],
        conversions: NamedDependency[Conversions],
        storage: NamedDependency[DiskStorage],
        settings: NamedDependency[Settings],
        prefer: Annotated[str | None, HeaderParameter(name="Prefer", required=False)] = None,
    ) -> Response[VersionView]:
        wait_seconds = _wait_seconds(prefer)
        check_length(request.content_length, settings.max_upload_bytes)
        async with models.room(caller):
            incoming = storage.receive(settings.max_upload_bytes)
            note(request.scope, body_limit_bytes=settings.max_upload_bytes)
            try:
                form = await read_upload(request.headers.get("content-type"), request.stream(), incoming)
                version = await models.add_version(caller, form, incoming)
            finally:
                incoming.drop()
        conversions.enqueue(version.id)
        await conversions.wait(version.id, wait_seconds)
        return _uploaded(await models.get_version(caller, version.model_id, version.number), caller, _base_url(request))

    @get(
        operation_id="list_models",
        summary="List models",
        tags=["Models"],
        responses=keyed_responses(),
        operation_class=KEYED,
    )
    async def list_models(self, caller: NamedDependency[Caller], models: NamedDependency[ModelService]) -> ModelList:
        return ModelList([ModelView.of(row) for row in await models.list_models(caller)])

    @get(
        "/{model:str}",
        operation_id="get_model",
        summary="Show a model",
        tags=["Models"],
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_model(
        self, model: Name, caller: NamedDependency[Caller], models: NamedDependency[ModelService]
    ) -> ModelView:
        return ModelView.of(await models.get_model(caller, model))

    @patch(
        "/{model:str}",
        operation_id="update_model",
        summary="Update a model's description or cache settings",
        tags=["Models"],
        responses=keyed_responses(NotFound, *JSON_ERRORS),
        operation_class=KEYED,
    )
    async def change_model(
        self,
        model: Name,
        data: JSONBody[ModelChange],
        caller: NamedDependency[Caller],
        models: NamedDependency[ModelService],
    ) -> ModelView:
        changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        return ModelView.of(await models.change_model(caller, model, changes))

    @delete(
        "/{model:str}",
        operation_id="delete_model",
        summary="Delete a model; it can be restored",
        tags=["Models"],
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def delete_model(
        self, model: Name, caller: NamedDependency[Caller], models: NamedDependency[ModelService]
    ) -> None:
        await models.delete_model(caller, model)

    @post(
        "/{model:str}/restore",
        operation_id="restore_model",
        summary="Restore a deleted model, by its id",
        tags=["Models"],
        status_code=200,
        responses=keyed_responses(NotFound, NameTaken),
        operation_class=KEYED,
    )
    async def restore_model(
        self, model: Name, caller: NamedDependency[Caller], models: NamedDependency[ModelService]
    ) -> ModelView:
        return ModelView.of(await models.restore_model(caller, model))

    @post(
        "/{model:str}/rollback",
        operation_id="rollback_model",
        summary="Roll back to the previous live version",
        tags=["Versions"],
        status_code=200,
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def roll_back(
        self, request: HttpRequest, model: Name, caller: NamedDependency[Caller], models: NamedDependency[ModelService]
    ) -> VersionView:
        return VersionView.of(await models.roll_back(caller, model), caller, _base_url(request))

    @get(
        "/{model:str}/versions",
        operation_id="list_versions",
        summary="List the versions of a model, newest first",
        tags=["Versions"],
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def list_versions(
        self, request: HttpRequest, model: Name, caller: NamedDependency[Caller], models: NamedDependency[ModelService]
    ) -> VersionList:
        versions = await models.list_versions(caller, model)
        return VersionList([VersionView.of(seen, caller, _base_url(request)) for seen in versions])

    @get(
        "/{model:str}/versions/{number:int}",
        operation_id="get_version",
        summary="Show a version",
        tags=["Versions"],
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_version(
        self,
        request: HttpRequest,
        model: Name,
        number: VersionNumber,
        caller: NamedDependency[Caller],
        models: NamedDependency[ModelService],
    ) -> VersionView:
        return VersionView.of(await models.get_version(caller, model, number), caller, _base_url(request))

    @get(
        "/{model:str}/versions/{number:int}/report",
        operation_id="get_report",
        summary="Show the conversion report",
        tags=["Versions"],
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def get_report(
        self, model: Name, number: VersionNumber, caller: NamedDependency[Caller], models: NamedDependency[ModelService]
    ) -> StoredReport:
        return StoredReport.of(await models.get_version(caller, model, number))

    @get(
        "/{model:str}/versions/{number:int}/download",
        operation_id="download_onnx",
        summary="Download the converted ONNX model",
        tags=["Versions"],
        media_type="application/octet-stream",
        responses=keyed_responses(NotFound, Conflict),
        operation_class=operation(headers={"Content-Disposition": "The name of the file."}),
    )
    async def download(
        self, model: Name, number: VersionNumber, caller: NamedDependency[Caller], models: NamedDependency[ModelService]
    ) -> Response[bytes]:
        version, _ = await models.get_version(caller, model, number, DOWNLOAD)
        disposition = f'attachment; filename="{version.model.name}-{version.number}.onnx"'
        return Response(
            models.onnx(version), media_type="application/octet-stream", headers={"Content-Disposition": disposition}
        )

    @post(
        "/{model:str}/versions/{number:int}/promote",
        operation_id="promote_version",
        summary="Promote a version to be the live one",
        tags=["Versions"],
        status_code=200,
        responses=keyed_responses(NotFound, Conflict, SchemaChanged, *JSON_ERRORS),
        operation_class=operation(is_body_required=False),
    )
    async def promote(
        self,
        request: HttpRequest,
        model: Name,
        number: VersionNumber,
        caller: NamedDependency[Caller],
        models: NamedDependency[ModelService],
        data: JSONBody[Promotion | None] = None,
    ) -> VersionView:
        allow = data is not None and data.allow_schema_change
        seen = await models.promote(caller, model, number, allow_schema_change=allow)
        return VersionView.of(seen, caller, _base_url(request))

    @post(
        "/{model:str}/versions/{number:int}/deprecate",
        operation_id="deprecate_version",
        summary="Deprecate a version",
        tags=["Versions"],
        status_code=200,
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def deprecate(
        self,
        request: HttpRequest,
        model: Name,
        number: VersionNumber,
        caller: NamedDependency[Caller],
        models: NamedDependency[ModelService],
    ) -> VersionView:
        return VersionView.of(await models.retire(caller, model, number, "deprecated"), caller, _base_url(request))

    @post(
        "/{model:str}/versions/{number:int}/archive",
        operation_id="archive_version",
        summary="Archive a version, which ends its service permanently",
        tags=["Versions"],
        status_code=200,
        responses=keyed_responses(NotFound, Conflict),
        operation_class=KEYED,
    )
    async def archive(
        self,
        request: HttpRequest,
        model: Name,
        number: VersionNumber,
        caller: NamedDependency[Caller],
        models: NamedDependency[ModelService],
    ) -> VersionView:
        return VersionView.of(await models.retire(caller, model, number, "archived"), caller, _base_url(request))


@post(
    "/api/v1/storage/validate",
    operation_id="validate_model",
    summary="Check whether a file can be converted and served, without storing it",
    tags=["Models"],
    request_max_body_size=None,
    status_code=200,
    responses=keyed_responses(*_UPLOAD_ERRORS),
    operation_class=operation(takes=EXAMINED_BODY),
)
async def validate(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    models: NamedDependency[ModelService],
    conversions: NamedDependency[Conversions],
    storage: NamedDependency[DiskStorage],
    settings: NamedDependency[Settings],
) -> Examination:
    check_length(request.content_length, settings.max_upload_bytes)
    async with models.room(caller):
        incoming = storage.receive(settings.max_upload_bytes)
        note(request.scope, body_limit_bytes=settings.max_upload_bytes)
        try:
            form = await read_upload(request.headers.get("content-type"), request.stream(), incoming, EXAMINED_FIELDS)
            return await conversions.examine(incoming.flushed(), form.columns, form.sample)
        finally:
            incoming.drop()


@get(
    "/models",
    operation_id="list_models_short",
    summary="List the names of the models that you may use",
    tags=["Models"],
    responses=keyed_responses(),
    operation_class=KEYED,
)
async def short_list(caller: NamedDependency[Caller], models: NamedDependency[ModelService]) -> ShortModelList:
    rows = await models.list_models(caller)
    return ShortModelList([ShortModel(row.name, row.owner.username, row.live) for row, _ in rows])


def _wait_seconds(prefer: str | None) -> float:
    """Read RFC 7240's `wait` and `respond-async`, in seconds; preferences of other names are ignored, as it asks.
    Raises BadRequest."""
    given = [part.partition(";")[0].partition("=") for part in (prefer or "").split(",")]
    preferences = {name.strip().lower(): value.strip() for name, _, value in reversed(given)}
    if "wait" not in preferences:
        return 0.0 if "respond-async" in preferences else DEFAULT_WAIT_SECONDS
    if not _SECONDS.fullmatch(preferences["wait"]):
        raise BadRequest(f"`Prefer`: `wait={preferences['wait'][:40]}` is no whole number of seconds.")
    return min(float(preferences["wait"]), MAX_WAIT_SECONDS)


def _base_url(request: HttpRequest) -> str:
    return str(request.base_url).rstrip("/")


def _uploaded(seen: VisibleVersion, caller: Caller, base_url: str) -> Response[VersionView]:
    """Answer 201 when the version is ready, 202 when it is not yet. Raises what made it fail, or SchemaChanged."""
    version, view = seen.version, VersionView.of(seen, caller, base_url)
    location = f"{base_url}/api/v1/models/{version.model_id}/versions/{version.number}"
    if version.status == "failed":
        failure = version.failure or {"code": "internal_error", "message": "The conversion failed."}
        raise error_class(failure["code"])(failure["message"], extra={"version": msgspec.to_builtins(view)})
    if version.status == "ready" and not view.is_live and view.held and view.held.code == SchemaChanged.code:
        raise SchemaChanged(view.held.message, extra={"version": msgspec.to_builtins(view)})
    status = 201 if version.status == "ready" else 202
    return Response(view, status_code=status, headers={"Location": location})
