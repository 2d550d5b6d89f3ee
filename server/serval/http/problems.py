"""Errors become RFC 9457 problem bodies; nothing else in Serval writes one."""

import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import Scope

from serval.errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    MalformedBody,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RateLimited,
    ServalError,
    TooLarge,
    Unavailable,
    Unprocessable,
    UnsupportedContent,
)
from serval.http.asgi import AsgiMap, AsgiSend
from serval.http.options_handler import allowed
from serval.ids import new_id

PROBLEM_MEDIA_TYPE = "application/problem+json"
NOTHING_HERE = "There is nothing at this path; /docs lists what there is."

_WELL_FORMED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_STATE_KEY = "request_id"

_UNREADABLE = (UnicodeDecodeError, LookupError, RecursionError)
_READERS = ("litestar.connection.request", "litestar._multipart")
"""Errors that the framework lets escape from reading a body: not UTF-8, an unknown charset of a part, deep nesting."""

_ERROR_OF_STATUS: Mapping[int, type[ServalError]] = {
    error.status: error
    for error in (
        BadRequest, NotAuthenticated, NotPermitted, NotFound, MethodNotAllowed, Conflict, TooLarge,
        UnsupportedContent, Unprocessable, RateLimited, Unavailable, DeadlineExceeded,
    )
}  # fmt: skip


class ProblemPart(msgspec.Struct, frozen=True):
    """One wrong part of a request."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, by RFC 9457; `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ProblemPart] | None = None


ProblemHandler = Callable[[Request[Any, Any, Any], Any], Response[Any]]


def problem_handlers() -> dict[type[Exception] | int, ProblemHandler]:
    """The app's exception handlers: every error of every route leaves as a problem."""
    return {
        ServalError: _answer_serval_error,
        HTTPException: _answer_litestar_error,
        Exception: _answer_other,
    }


def problem(error: ServalError, request_id: str) -> Problem:
    """The body for an error; one with status 500 says nothing of its cause."""
    is_fault = error.status == ServalError.status
    return Problem(
        type=f"/docs/errors#{error.code}",
        title=error.title,
        status=error.status,
        detail=f"Serval failed; request {request_id} is in its log." if is_fault else error.message,
        code=error.code,
        request_id=request_id,
        errors=[ProblemPart(path, message) for path, message in error.errors] or None,
    )


def problem_headers(error: ServalError) -> dict[str, str]:
    """Headers that belong to an error: its own, `Retry-After`, `WWW-Authenticate`."""
    headers = dict(error.headers)
    if error.retry_after_seconds is not None:
        headers.setdefault("retry-after", str(error.retry_after_seconds))
    if error.status == NotAuthenticated.status:
        headers["www-authenticate"] = 'Bearer realm="serval"'
    return headers


def request_id_of(scope: Scope) -> str:
    """The request's id: the caller's own `X-Request-Id` where well-formed, else a new one; the same at each call."""
    state = scope["state"]
    if _STATE_KEY not in state:
        offered = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        state[_STATE_KEY] = offered if _WELL_FORMED_REQUEST_ID.fullmatch(offered) else new_id("req")
    return str(state[_STATE_KEY])


def _answer_serval_error(request: Request[Any, Any, Any], error: ServalError) -> Response[bytes]:
    return _response(request, error)


def _answer_litestar_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if methods := _allowed(error):
        headers["allow"] = methods
    return _response(request, _as_serval_error(error), headers)


def _allowed(error: HTTPException) -> str:
    """The methods that a path takes instead, in the same order in every process; empty where the error names none."""
    given = (error.headers or {}).get("allow")
    return allowed(set(given.split(", "))) if given else ""


def _answer_other(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    if type(error) in _UNREADABLE and _came_from_reading_the_body(error):
        return _response(request, MalformedBody("The body is not UTF-8 in its own encoding, or is nested too deeply."))
    return _response(request, ServalError("A fault of Serval's own."))


def _came_from_reading_the_body(error: Exception) -> bool:
    return any(frame.f_globals.get("__name__") in _READERS for frame, _ in traceback.walk_tb(error.__traceback__))


def _response(
    request: Request[Any, Any, Any], error: ServalError, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    return Response(
        problem_body(error, request_id_of(request.scope)),
        status_code=error.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers={**problem_headers(error), **(headers or {})},
    )


async def send_problem(scope: AsgiMap, send: AsgiSend, error: ServalError) -> None:
    """Answer a request that reaches no route."""
    body = problem_body(error, request_id_of(cast(Scope, scope)))
    headers = {"content-type": PROBLEM_MEDIA_TYPE, "content-length": str(len(body)), **problem_headers(error)}
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def problem_body(error: ServalError, request_id: str) -> bytes:
    """The problem with the error's own members beside it, which never stand in for those of RFC 9457."""
    members = {} if error.status == ServalError.status else error.extra
    return msgspec.json.encode({**members, **msgspec.to_builtins(problem(error, request_id))})


def _as_serval_error(error: HTTPException) -> ServalError:
    """What the framework raised, in Serval's own tree."""
    if error.detail == "Request Entity Too Large":
        return TooLarge("The body is larger than this route takes.")
    if error.detail == "client disconnected prematurely":
        return BadRequest("The body ended before it was whole.")
    if isinstance(error.__cause__, SerializationException):
        return MalformedBody(f"The body is not JSON: {error.detail.rstrip('.')}.")
    kind = _ERROR_OF_STATUS.get(error.status_code) or (BadRequest if error.status_code < 500 else ServalError)
    return kind(_sentence(error), errors=_parts(error.extra))


def _sentence(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return NOTHING_HERE
        case 405:
            return f"This path takes {_allowed(error) or 'other methods'}."
    parts = _parts(error.extra)
    return f"{parts[0][0]}: {parts[0][1]}" if parts else f"{error.detail.rstrip('.')}."


def _parts(extra: object) -> list[tuple[str, str]]:
    """(path, message) of each problem that the framework found in a request."""
    if not isinstance(extra, list):
        return []
    return [
        _part(str(found.get("key", "body")), str(found["message"]))
        for found in extra
        if isinstance(found, dict) and "message" in found
    ]


def _part(key: str, message: str) -> tuple[str, str]:
    path = "body" if key == "data" else key
    return path, "absent" if message == f"'{key}'" else message


def problem_responses(*errors: type[ServalError]) -> dict[int, ResponseSpec]:
    """What a route's OpenAPI entry says of the errors it can answer, for Litestar's `responses=`."""
    by_status: dict[int, list[type[ServalError]]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(error.status, []).append(error)
    return {status: _problem_response(group) for status, group in sorted(by_status.items())}


def _problem_response(errors: list[type[ServalError]]) -> ResponseSpec:
    told = "; ".join(f"{error.title} (`{error.code}`)" for error in errors)
    return ResponseSpec(Problem, generate_examples=False, description=f"{told}.", media_type=PROBLEM_MEDIA_TYPE)


JSON_ERRORS = (MalformedBody, TooLarge, UnsupportedContent)
"""What a route answers too that takes a JSON body."""


def keyed_responses(*errors: type[ServalError]) -> dict[int, ResponseSpec]:
    """`problem_responses` of a route that needs a credential: looking it up can fail too, and it may be used too
    often."""
    return problem_responses(BadRequest, NotAuthenticated, NotPermitted, *errors, RateLimited, Unavailable)
