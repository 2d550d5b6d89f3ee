"""What every prediction route answers: its documented responses and the headers of an answer."""

from typing import Any

from litestar.openapi.datastructures import ResponseSpec

from serval.auth.rate_headers import rate_headers
from serval.data_plane.plane import Answer
from serval.errors import DeadlineExceeded, ServalError
from serval.http.problems import keyed_responses


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
        "Server-Timing": (
            f"parse;dur={answer.parse_seconds * 1e3:.3f}, cache;dur={answer.cache_seconds * 1e3:.3f}, "
            f"queue;dur={answer.queue_seconds * 1e3:.3f}, infer;dur={answer.infer_seconds * 1e3:.3f}"
        ),
    }
