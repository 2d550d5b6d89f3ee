"""HTTP for trying a version before it answers anybody else."""

from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from serval.auth.caller import Caller
from serval.conversion.report import Reason
from serval.errors import (
    Conflict,
    InvalidFeatures,
    MalformedBody,
    NotConvertible,
    NotFound,
    SandboxViolation,
    TooLarge,
    UnsupportedContent,
)
from serval.http.openapi import operation
from serval.http.request import MAX_VERSION_NUMBER, HttpRequest
from serval.models.access import TEST, allows
from serval.models.service import ModelService
from serval.models.tables import Version
from serval.predictions.golden_tester import GoldenTester
from serval.predictions.request import uncached_request
from serval.predictions.schemas import (
    ANSWER_HEADERS,
    TEST_BODY,
    TestedGolden,
    TestedRow,
    TestedRows,
    prediction_responses,
)
from serval.predictions.tester import VersionTester

TestedNumber = Annotated[
    int | None,
    QueryParameter(
        name="version",
        ge=1,
        le=MAX_VERSION_NUMBER,
        required=False,
        description="Number of a version, for those who manage the model; the live one without",
    ),
]


@post(
    "/api/v1/models/{model:str}/test",
    operation_id="test_model",
    summary="Test a version, also a held one, with rows, its golden requests or its stored example",
    status_code=200,
    tags=["Models"],
    responses=prediction_responses(
        TestedRow | TestedRows | TestedGolden,
        InvalidFeatures,
        MalformedBody,
        NotFound,
        Conflict,
        TooLarge,
        UnsupportedContent,
        NotConvertible,
        SandboxViolation,
    ),
    operation_class=operation(takes=TEST_BODY, is_body_required=False, headers=ANSWER_HEADERS),
)
async def ask_version(
    request: HttpRequest,
    model: FromPath[str],
    caller: NamedDependency[Caller],
    models: NamedDependency[ModelService],
    tester: NamedDependency[VersionTester],
    golden_tester: NamedDependency[GoldenTester],
    version: TestedNumber = None,
) -> Response[bytes]:
    """Ask any ready version, also one that is held and answers nobody else. With rows in the body, it answers them;
    without, its golden requests are asked and compared or, where it has none, its example. Nothing is read from the
    cache."""
    found, access = await models.get_version_to_test(caller, model, version)
    asked = uncached_request(request, caller, found.model_id, found.number)
    rows = await request.body()
    request.note(model=found.model_id, version=found.number)
    sees_golden = allows(access, TEST) and caller.can_read
    if not rows and sees_golden and (result := await golden_tester.ask(asked, caller, found)) is not None:
        return _response(found, result.headers, {"golden": msgspec.Raw(result.body)})
    example = {} if rows else {"request": found.example}
    answer = await tester.ask(asked, caller, found, rows or msgspec.json.encode(found.example))
    return _response(found, answer.headers, {**example, "answer": msgspec.Raw(answer.body)})


def _response(version: Version, headers: dict[str, str], members: dict[str, Any]) -> Response[bytes]:
    """What is known of a version, then the members."""
    held = msgspec.convert(version.held, Reason) if version.held is not None and version.is_held else None
    known = {"version": version.number, "is_live": version.is_live, "held": held}
    return Response(msgspec.json.encode(known | members), media_type="application/json", headers=headers)
