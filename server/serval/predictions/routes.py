"""HTTP for predictions: the short route and the full one."""

from typing import Annotated, Literal

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from serval.errors import (
    InvalidFeatures,
    MalformedBody,
    NotFound,
    NotPermitted,
    TooLarge,
    UnsupportedContent,
    VersionHeld,
)
from serval.http.openapi import operation
from serval.http.request import MAX_VERSION_NUMBER, HttpRequest
from serval.models.service import ModelService
from serval.predictions.request import PredictionRequest, read_request
from serval.predictions.schemas import (
    ANSWER_HEADERS,
    ROW_EXAMPLES,
    ROWS_BODY,
    SHORT_BODY,
    SHORT_EXAMPLES,
    RowAnswer,
    RowsAnswer,
    ShortAnswer,
    answer_headers,
    prediction_responses,
)
from serval.predictions.service import PredictionService

VersionNumber = Annotated[
    int | None,
    QueryParameter(
        name="version",
        ge=1,
        le=MAX_VERSION_NUMBER,
        required=False,
        description="Number of a version; the live one without",
    ),
]
Outputs = Annotated[
    Literal["probabilities"] | None,
    QueryParameter(name="outputs", required=False, description="`probabilities`: the probability of every class"),
]

_ERRORS = (InvalidFeatures, MalformedBody, NotPermitted, NotFound, TooLarge, UnsupportedContent)


@post(
    "/predict",
    operation_id="predict_short",
    summary="Predict with the model named in the body",
    status_code=200,
    tags=["Predictions"],
    opt={"own_authentication": True},
    responses=prediction_responses(ShortAnswer | RowsAnswer, *_ERRORS),
    operation_class=operation(takes=SHORT_BODY, headers=ANSWER_HEADERS, examples=SHORT_EXAMPLES),
)
async def predict_short(
    request: HttpRequest,
    predictions: NamedDependency[PredictionService],
    models: NamedDependency[ModelService],
) -> Response[bytes]:
    """Ask the live version of the model that the body names, for one row or many. Answers of one row have the label or
    value and its probability; `POST /api/v1/predict/{model}` says more and takes CSV."""
    return await _respond(request, predictions, models, read_request(request, "short", None, None, None))


@post(
    "/api/v1/predict/{model:str}",
    operation_id="predict",
    summary="Predict with a model",
    status_code=200,
    tags=["Predictions"],
    opt={"own_authentication": True},
    responses=prediction_responses(RowAnswer | RowsAnswer, *_ERRORS, VersionHeld),
    operation_class=operation(takes=ROWS_BODY, headers=ANSWER_HEADERS, examples=ROW_EXAMPLES),
)
async def predict(
    request: HttpRequest,
    predictions: NamedDependency[PredictionService],
    models: NamedDependency[ModelService],
    model: FromPath[str],
    version: VersionNumber = None,
    outputs: Outputs = None,
) -> Response[bytes]:
    """Ask a model by its id or name, for one row or many, as JSON or as CSV (`Content-Type: text/csv`). The live
    version answers unless `version` names another. The response headers say which version answered, and whether the
    cache did."""
    return await _respond(request, predictions, models, read_request(request, "full", model, version, outputs))


@post(
    "/api/v1/predict/{owner:str}/{model:str}",
    operation_id="predict_shared",
    summary="Predict with a model of another user",
    status_code=200,
    tags=["Predictions"],
    opt={"own_authentication": True},
    responses=prediction_responses(RowAnswer | RowsAnswer, *_ERRORS, VersionHeld),
    operation_class=operation(takes=ROWS_BODY, headers=ANSWER_HEADERS, examples=ROW_EXAMPLES),
)
async def predict_shared(
    request: HttpRequest,
    predictions: NamedDependency[PredictionService],
    models: NamedDependency[ModelService],
    owner: FromPath[str],
    model: FromPath[str],
    version: VersionNumber = None,
    outputs: Outputs = None,
) -> Response[bytes]:
    """Ask a model of another user, which is shared with you or public, as `owner/model`. Otherwise as `POST
    /api/v1/predict/{model}`."""
    return await _respond(
        request, predictions, models, read_request(request, "full", f"{owner}/{model}", version, outputs)
    )


async def _respond(
    request: HttpRequest, predictions: PredictionService, models: ModelService, prediction: PredictionRequest
) -> Response[bytes]:
    await predictions.admit(prediction)
    body = await request.body()
    try:
        answer = await predictions.answer(prediction, body)
    except NotFound as error:
        caller, model = await predictions.asked_model(prediction, body)
        raise NotFound(await models.unanswered_reason(caller, model) or error.message) from None
    request.note(model=answer.model, version=answer.version_number, user=predictions.user_of(prediction))
    return Response(answer.body, media_type="application/json", headers=answer_headers(answer))
