"""HTTP for trying a model: the live version predicts its stored example."""

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from serval.auth.caller import Caller
from serval.errors import Conflict, NotFound
from serval.http.openapi import operation
from serval.http.request import HttpRequest
from serval.http.request_logging import note
from serval.models.service import ModelService
from serval.predictions.request import uncached_request
from serval.predictions.schemas import ANSWER_HEADERS, TestedVersion, answer_headers, prediction_responses
from serval.predictions.service import PredictionService


@post(
    "/api/v1/models/{model:str}/test",
    operation_id="test_model",
    summary="Predict the stored example with the live version",
    status_code=200,
    tags=["Models"],
    responses=prediction_responses(TestedVersion, NotFound, Conflict),
    operation_class=operation(headers=ANSWER_HEADERS),
)
async def test_model(
    request: HttpRequest,
    model: FromPath[str],
    caller: NamedDependency[Caller],
    models: NamedDependency[ModelService],
    predictions: NamedDependency[PredictionService],
) -> Response[bytes]:
    version = await models.get_live_version(caller, model)
    example = version.example or {}
    prediction = uncached_request(request, caller, version.model_id, version.number)
    answer = await predictions.answer(prediction, msgspec.json.encode(example))
    note(request.scope, model=answer.model, version=answer.version_number)
    tested = msgspec.json.encode({"request": example, "answer": msgspec.Raw(answer.body)})
    return Response(tested, media_type="application/json", headers=answer_headers(answer))
