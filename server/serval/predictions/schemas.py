"""The shapes of prediction requests and answers, as `/openapi.json` shows them; Rust writes the answers."""

from datetime import datetime
from typing import Any

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from msgspec import UNSET, UnsetType

from serval.auth.rate_headers import LIMIT_HEADERS, rate_headers
from serval.conversion.golden import GoldenResult
from serval.conversion.report import Reason
from serval.data_plane.plane import Answer
from serval.errors import DeadlineExceeded, ServalError
from serval.history.schemas import Label, Prediction, PredictionProbability, Probability
from serval.http.openapi import JsonSchema, body, keyed_responses


class ShortAnswer(msgspec.Struct):
    """What `POST /predict` says of one row."""

    prediction: Prediction
    probability: PredictionProbability
    latency_ms: float
    cache_hit: bool


class RowAnswer(msgspec.Struct):
    """What `POST /api/v1/predict/{model}` says of one row."""

    prediction: Prediction
    model: str
    version: str
    model_version: int
    latency_ms: float
    cache_hit: bool
    timestamp: datetime
    probability: PredictionProbability | UnsetType = UNSET
    probabilities: (
        dict[str, Probability] | list[Probability | list[Probability] | dict[str, Probability]] | UnsetType
    ) = UNSET
    """By label, or where two labels have the same text in the order of the classes; of several targets a list of
    these."""
    classes: list[Label | list[Label]] | UnsetType = UNSET


class RowsAnswer(msgspec.Struct):
    """What both routes say of many rows, in their order."""

    predictions: list[Prediction]
    model: str
    version: str
    model_version: int
    latency_ms: float
    cache_hits: int
    timestamp: datetime
    probabilities: list[list[Probability | list[Probability]]] | UnsetType = UNSET
    """Of each row in the order of the classes; of several targets a list of these."""
    classes: list[Label | list[Label]] | UnsetType = UNSET


class TestedVersion(msgspec.Struct, kw_only=True):
    """A version, and what is known or feared to be wrong with it."""

    version: int
    is_live: bool
    held: Reason | None
    """Why it answers nobody else; null: it is not held."""
    request: dict[str, Any] | UnsetType = UNSET
    """The stored example, where it was asked instead of rows of the request."""


class TestedRow(TestedVersion, kw_only=True):
    """A version and its answer for one row."""

    answer: RowAnswer


class TestedRows(TestedVersion, kw_only=True):
    """A version and its answers for many rows."""

    answer: RowsAnswer


class TestedGolden(TestedVersion, kw_only=True):
    """A version and whether its golden requests get the answers that they were kept with."""

    golden: GoldenResult


_CELL: JsonSchema = {
    "title": "Cell",
    "type": ["number", "string", "boolean", "null"],
    "description": "By the kind of the column; a timestamp is RFC 3339 text, such as `2024-05-05T10:00:00Z`.",
}
_ROW: JsonSchema = {
    "title": "Row",
    "description": "A row by column name, or by position.",
    "anyOf": [
        {"title": "NamedRow", "type": "object", "additionalProperties": _CELL},
        {"title": "PlacedRow", "type": "array", "items": _CELL},
    ],
}
_FORMS: dict[str, tuple[str, JsonSchema]] = {
    "input": ("OneRow", _ROW),
    "data": ("OneRowAsData", _ROW),
    "features": ("OneRowAsFeatures", _ROW),
    "inputs": ("ManyRows", {"type": "array", "minItems": 1, "items": _ROW}),
}
"""Key of the rows → (title of the body with it, what it holds)."""


def _rows(prefix: str, **more: JsonSchema) -> JsonSchema:
    """A body with exactly one key of rows: the key says how many there are. `prefix`: of titles."""
    forms = [
        {
            "title": prefix + title,
            "type": "object",
            "required": [key, *more],
            "properties": {key: rows, **more},
            "additionalProperties": False,
        }
        for key, (title, rows) in _FORMS.items()
    ]
    return {"title": f"{prefix}Rows", "oneOf": forms}


_NAMED_ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
_PLACED_ROW = [5.1, 3.5, 1.4, 0.2]

_ROWS_CONTENT: dict[str, JsonSchema] = {"application/json": _rows("")}
"""CSV is not among them: no generator of clients knows `text/csv` as the type of a body."""
_ROWS_EXAMPLES: dict[str, dict[str, Any]] = {
    "application/json": {
        "one row by column name": {"input": _NAMED_ROW},
        "one row by position": {"features": _PLACED_ROW},
        "many rows": {"inputs": [_PLACED_ROW, [6.7, 3.0, 5.2, 2.3]]},
    },
}

ROWS_BODY = body(
    "Rows as JSON. The key, not the shape, gives their number: `input`, `data` and `features` hold one row, `inputs` "
    "holds many. Rows as CSV are taken too, with `Content-Type: text/csv`: RFC 4180 in UTF-8 with a header line, or "
    "without one and with `text/csv; header=absent`.",
    _ROWS_CONTENT,
    _ROWS_EXAMPLES,
)

TEST_BODY = body(
    "Rows, as for a prediction; without any, the golden requests or the stored example are asked.",
    _ROWS_CONTENT,
    _ROWS_EXAMPLES,
)

SHORT_BODY = body(
    "The model's name, id or `owner/name`, and its rows.",
    {
        "application/json": _rows(
            "Short", model_name={"type": "string", "description": "Id, name or `owner/name` of the model."}
        )
    },
    {"application/json": {"one row": {"model_name": "iris", "features": _PLACED_ROW}}},
)

ANSWER_HEADERS = {
    "X-Model-Version": "Number of the version that answered.",
    "X-Cache": "`l1`: every row came from the first cache level; `l2`: from the first or the second; `miss`: a row was "
    "run; `bypass`: the cache was not used.",
    "Server-Timing": "Milliseconds of `parse`, `cache`, `queue` and `infer`.",
    **LIMIT_HEADERS,
}

_AFTER = {"model": "iris", "version": "ver_01M7XEZP4GCTEJJ6AZ0VR52KCA", "model_version": 1, "latency_ms": 0.031}
_AT = {"timestamp": "2026-11-20T12:00:00.000000Z"}
SHORT_EXAMPLES = {"one row": {"prediction": 0, "probability": 0.98, "latency_ms": 0.031, "cache_hit": False}}
ROW_EXAMPLES = {
    "one row": {
        "prediction": 0, "probability": 0.98, "probabilities": {"0": 0.98, "1": 0.02, "2": 0.0}, **_AFTER,
        "cache_hit": False, **_AT,
    },
    "many rows": {"predictions": [0, 2], **_AFTER, "cache_hits": 0, **_AT},
}  # fmt: skip


def prediction_responses(kind: Any, *errors: type[ServalError]) -> dict[int, ResponseSpec]:
    return {
        200: ResponseSpec(kind, generate_examples=False, description="The prediction."),
        **keyed_responses(*errors, DeadlineExceeded),
    }


def answer_headers(answer: Answer) -> dict[str, str]:
    return {
        **({} if answer.rate is None else rate_headers(answer.rate)),
        "X-Model-Version": str(answer.version_number),
        "X-Cache": answer.cache,
        "Server-Timing": timing(answer.parse_seconds, answer.cache_seconds, answer.queue_seconds, answer.infer_seconds),
    }


def timing(parse: float = 0.0, cache: float = 0.0, queue: float = 0.0, infer: float = 0.0) -> str:
    """Return `Server-Timing` for seconds."""
    return (
        f"parse;dur={parse * 1e3:.3f}, cache;dur={cache * 1e3:.3f}, queue;dur={queue * 1e3:.3f}, "
        f"infer;dur={infer * 1e3:.3f}"
    )
