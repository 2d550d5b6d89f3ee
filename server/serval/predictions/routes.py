"""HTTP for predictions: two spellings of one question."""

import time
from email.message import Message
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter

from serval.auth.caller import Caller
from serval.auth.credentials import read_credential
from serval.auth.rate_headers import rate_headers
from serval.data_plane.plane import Answer
from serval.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidFeatures,
    MalformedBody,
    NotFound,
    NotPermitted,
    ServalError,
    TooLarge,
    UnsupportedContent,
)
from serval.http.authenticate import client_of
from serval.http.openapi import operation
from serval.http.problems import keyed_responses
from serval.http.request import MAX_VERSION_NUMBER, HttpRequest
from serval.http.request_logging import note
from serval.models.service import ModelService
from serval.predictions.decoding import Shape
from serval.predictions.schemas import (
    ANSWER_HEADERS,
    ROW_EXAMPLES,
    ROWS_BODY,
    SHORT_BODY,
    SHORT_EXAMPLES,
    RowAnswer,
    RowsAnswer,
    ShortAnswer,
    TestedVersion,
)
from serval.predictions.service import PredictionService, Question

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
Alias = Annotated[
    str | None, QueryParameter(name="alias", max_length=50, required=False, description="Alias of a version")
]
Outputs = Annotated[
    Literal["probabilities"] | None,
    QueryParameter(name="outputs", required=False, description="`probabilities`: the probability of every class"),
]

_PREDICTION_ERRORS = (
    InvalidFeatures,
    MalformedBody,
    NotPermitted,
    NotFound,
    TooLarge,
    UnsupportedContent,
    DeadlineExceeded,
)


def _answers(kind: Any, *errors: type[ServalError]) -> dict[int, ResponseSpec]:
    return {200: ResponseSpec(kind, generate_examples=False, description="The prediction."), **keyed_responses(*errors)}


@post(
    "/predict",
    operation_id="predict_short",
    summary="Predict with the model named in the body",
    status_code=200,
    tags=["Predictions"],
    opt={"own_authentication": True},
    responses=_answers(ShortAnswer | RowsAnswer, *_PREDICTION_ERRORS),
    operation_class=operation(takes=SHORT_BODY, headers=ANSWER_HEADERS, examples=SHORT_EXAMPLES),
)
async def predict_short(request: HttpRequest, predictions: NamedDependency[PredictionService]) -> Response[bytes]:
    question = _question(request, "short", None, None, None, None)
    return await _respond(request, predictions, question)


def _predict_operation_id(_handler: object, _method: object, path: list[Any]) -> str:
    """Return the id for one of the two paths: each is an operation of its own."""
    has_owner = any(getattr(part, "name", None) == "owner" for part in path)
    return "predict_shared" if has_owner else "predict"


@post(
    ["/api/v1/predict/{model:str}", "/api/v1/predict/{owner:str}/{model:str}"],
    operation_id=_predict_operation_id,
    summary="Predict with a model",
    status_code=200,
    tags=["Predictions"],
    opt={"own_authentication": True},
    responses=_answers(RowAnswer | RowsAnswer, *_PREDICTION_ERRORS),
    operation_class=operation(takes=ROWS_BODY, headers=ANSWER_HEADERS, examples=ROW_EXAMPLES),
)
async def predict(
    request: HttpRequest,
    predictions: NamedDependency[PredictionService],
    model: FromPath[str],
    owner: FromPath[str | None] = None,
    version: VersionNumber = None,
    alias: Alias = None,
    outputs: Outputs = None,
) -> Response[bytes]:
    name = model if owner is None else f"{owner}/{model}"
    return await _respond(request, predictions, _question(request, "full", name, version, alias, outputs))


@post(
    "/api/v1/models/{model:str}/test",
    operation_id="test_model",
    summary="Test the live version with its stored example",
    status_code=200,
    tags=["Models"],
    responses=_answers(TestedVersion, NotFound, Conflict, DeadlineExceeded),
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
    question = Question(
        caller=caller.digest,
        credential=read_credential(request.scope["headers"]),
        origin=caller.origin,
        shape="full",
        model=version.model_id,
        version=version.number,
        alias=None,
        all_probabilities=False,
        no_cache=True,
        csv=None,
        started_ns=time.monotonic_ns(),
    )
    answer = await predictions.answer(question, msgspec.json.encode(example))
    note(request.scope, model=answer.model, version=answer.version_number)
    tested = msgspec.json.encode({"request": example, "answer": msgspec.Raw(answer.body)})
    return Response(tested, media_type="application/json", headers=_headers(answer))


def _question(
    request: HttpRequest, shape: Shape, model: str | None, version: int | None, alias: str | None, outputs: str | None
) -> Question:
    if request.scope["query_string"]:
        request.check_query("version", "alias", "outputs")
    credential = read_credential(request.scope["headers"])
    return Question(
        caller=credential.digest,
        credential=credential,
        origin=client_of(request.scope),
        shape=shape,
        model=model,
        version=version,
        alias=alias,
        all_probabilities=outputs == "probabilities",
        no_cache=_asks_no_cache(request.headers.get("cache-control", "")),
        csv=_csv_parameters(request),
        started_ns=time.monotonic_ns(),
    )


def _asks_no_cache(cache_control: str) -> bool:
    """Whether `no-cache` is among the directives of a Cache-Control header."""
    return "no-cache" in {directive.partition("=")[0].strip().lower() for directive in cache_control.split(",")}


def _csv_parameters(request: HttpRequest) -> dict[str, str] | None:
    """Return the parameters of `text/csv`, None for JSON. Raises UnsupportedContent for anything else."""
    given = request.headers.get("content-type", "application/json")
    if given == "application/json":
        return None
    header = Message()
    header["Content-Type"] = given
    kind = header.get_content_type()
    if kind == "text/csv":
        return {name.lower(): str(value) for name, value in header.get_params([])[1:]}
    if kind == "application/json":
        return None
    raise UnsupportedContent(f"`Content-Type`: rows come as `application/json` or `text/csv`, not `{given[:60]}`.")


async def _respond(request: HttpRequest, predictions: PredictionService, question: Question) -> Response[bytes]:
    await predictions.admit(question)
    answer = await predictions.answer(question, await request.body())
    note(request.scope, model=answer.model, version=answer.version_number, user=predictions.user_of(question.caller))
    return Response(answer.body, media_type="application/json", headers=_headers(answer))


def _headers(answer: Answer) -> dict[str, str]:
    return {
        **({} if answer.rate is None else rate_headers(answer.rate)),
        "X-Model-Version": str(answer.version_number),
        "X-Cache": answer.cache,
        "Server-Timing": (
            f"parse;dur={answer.parse_seconds * 1e3:.3f}, cache;dur={answer.cache_seconds * 1e3:.3f}, "
            f"queue;dur={answer.queue_seconds * 1e3:.3f}, infer;dur={answer.infer_seconds * 1e3:.3f}"
        ),
    }
