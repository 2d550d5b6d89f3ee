"""HTTP for trying a version before it answers anybody else."""

from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from serval.auth.caller import Caller
from serval.conversion.report import Reason
from serval.errors import Conflict, InvalidFeatures, MalformedBody, NotFound, TooLarge, UnsupportedContent
from serval.http.openapi import operation
from serval.http.request import MAX_VERSION_NUMBER, HttpRequest
from serval.http.request_logging import note
from serval.models.service import ModelService
from serval.predictions.request import uncached_request
from serval.predictions.schemas import ANSWER_HEADERS, TEST_BODY, TestedRow, TestedRows, prediction_responses
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
    summary="Test a version, also a held one, with rows or with its stored example",
    status_code=200,
    tags=["Models"],
    responses=prediction_responses(
        TestedRow | TestedRows, InvalidFeatures, MalformedBody, NotFound, Conflict, TooLarge, UnsupportedContent
    ),
    operation_class=operation(takes=TEST_BODY, is_body_required=False, headers=ANSWER_HEADERS),
)
async def ask_version(
    request: HttpRequest,
    model: FromPath[str],
    caller: NamedDependency[Caller],
    models: NamedDependency[ModelService],
    tester: NamedDependency[VersionTester],
    version: TestedNumber = None,
) -> Response[bytes]:
    request.check_query("version")
    found = await models.get_version_to_test(caller, model, version)
    asked = uncached_request(request, caller, found.model_id, found.number)
    rows = await request.body()
    example = None if rows else found.example or {}
    answer = await tester.ask(asked, caller, found, rows or msgspec.json.encode(example))
    note(request.scope, model=found.model_id, version=found.number)
    tested = {
        "version": found.number,
        "is_live": found.is_live,
        "held": msgspec.convert(found.held, Reason) if found.held is not None and found.is_held else None,
        **({} if example is None else {"request": example}),
        "answer": msgspec.Raw(answer.body),
    }
    return Response(msgspec.json.encode(tested), media_type="application/json", headers=answer.headers)
