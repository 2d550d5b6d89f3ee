"""HTTP for uploads: files to be served, and files to be examined only."""

from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter

from serval.conversion.examine import Examination
from serval.errors import (
    NotAModel,
    NotAPredictor,
    NotConvertible,
    NotFound,
    NotVerified,
    RateLimited,
    SandboxViolation,
    SchemaChanged,
    StorageQuotaExceeded,
    TooLarge,
    UnsupportedContent,
    error_class,
)
from serval.http.openapi import keyed_responses, operation
from serval.http.request import HttpRequest, preferred_wait
from serval.models.dependencies import (
    LINKS,
    CallerDependency,
    ConversionsDependency,
    LinksDependency,
    ModelsDependency,
    UploadsDependency,
)
from serval.models.links import Links
from serval.models.queries import VisibleVersion
from serval.models.schemas import VersionView
from serval.models.upload_form import EXAMINED_FIELDS, read_upload
from serval.models.upload_schemas import EXAMINED_BODY, UPLOAD_BODY

DEFAULT_WAIT_SECONDS = 30.0
WAIT = "`wait=SECONDS`: how long to wait for the end of the conversion; `respond-async`: not at all."

_UPLOAD_ERRORS = (TooLarge, RateLimited, UnsupportedContent)
_FILE_ERRORS = (NotAModel, NotAPredictor, NotConvertible, NotVerified, SandboxViolation)
_STILL_CONVERTING = ResponseSpec(
    VersionView,
    generate_examples=False,
    description="The file is stored; its conversion has not ended yet, `Location` tells when it has.",
)


@post(
    "/api/v1/models/upload",
    operation_id="upload_model",
    summary="Upload a fitted model to convert, verify and serve it",
    tags=["Models"],
    dependencies=LINKS,
    request_max_body_size=None,
    status_code=201,
    responses={
        202: _STILL_CONVERTING,
        **keyed_responses(NotFound, SchemaChanged, StorageQuotaExceeded, *_UPLOAD_ERRORS, *_FILE_ERRORS),
    },
    operation_class=operation(takes=UPLOAD_BODY, headers={"Location": "Where the version is shown."}),
)
async def upload(
    request: HttpRequest,
    caller: CallerDependency,
    models: ModelsDependency,
    uploads: UploadsDependency,
    conversions: ConversionsDependency,
    links: LinksDependency,
    prefer: Annotated[str | None, HeaderParameter(name="Prefer", required=False, description=WAIT)] = None,
) -> Response[VersionView]:
    """Send a fitted scikit-learn model as multipart/form-data. It is converted to ONNX in a confined process, compared
    with the original, and goes live where all agrees. The response waits for that for 30 seconds, or as `Prefer:
    wait=SECONDS` says; after that it is 202, and `Location` shows what became of the version."""
    wait_seconds = preferred_wait(prefer, DEFAULT_WAIT_SECONDS)
    await uploads.check_quota(caller, request.content_length)
    async with uploads.receive(caller, request.content_length) as incoming:
        request.note(body_limit_bytes=uploads.max_bytes)
        form = await read_upload(request.headers.get("content-type"), request.stream(), incoming)
        version = await uploads.add_version(caller, form, incoming)
    conversions.enqueue(version.id, version.model.owner_id)
    waited = await conversions.wait(version.id, wait_seconds, caller.user_id)
    request.note(waited_ms=waited * 1e3)
    return _uploaded(await models.get_version(caller, version.model_id, version.number), links)


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
    caller: CallerDependency,
    uploads: UploadsDependency,
    conversions: ConversionsDependency,
) -> Examination:
    """Convert and compare a file as an upload would, and report what comes of it, without keeping anything."""
    async with uploads.receive(caller, request.content_length) as incoming:
        request.note(body_limit_bytes=uploads.max_bytes)
        form = await read_upload(request.headers.get("content-type"), request.stream(), incoming, EXAMINED_FIELDS)
        async with incoming.open() as file:
            return await conversions.examine(caller.user_id, file, form.columns, form.sample, form.expected_with)


def _uploaded(visible: VisibleVersion, links: Links) -> Response[VersionView]:
    """Answer 201 when the version is ready, 202 when it is not yet. Raises what made it fail, or SchemaChanged."""
    version, view = visible.version, VersionView.of(visible, links)
    if version.status == "failed":
        failure = version.failure or {"code": "internal_error", "message": "The conversion failed."}
        raise error_class(failure["code"])(failure["message"], extra={"version": msgspec.to_builtins(view)})
    if version.status == "ready" and not view.is_live and view.held and view.held.code == SchemaChanged.code:
        raise SchemaChanged(view.held.message, extra={"version": msgspec.to_builtins(view)})
    status = 201 if version.status == "ready" else 202
    return Response(view, status_code=status, headers={"Location": links.version(version)})
