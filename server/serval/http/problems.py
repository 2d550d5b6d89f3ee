"""Turns errors into RFC 9457 problems; nothing else writes one."""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import Scope

from serval.errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
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
from serval.http.invalid_parts import invalid_parts
from serval.http.options_handler import allowed
from serval.http.root_path import root_path_of
from serval.ids import new_id

PROBLEM_MEDIA_TYPE = "application/problem+json"
NOTHING_HERE = "There is nothing at this path; /docs lists all routes."

_WELL_FORMED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_STATE_KEY = "request_id"

_ERROR_OF_STATUS: Mapping[int, type[ServalError]] = {
    error.status: error
    for error in (
        BadRequest, NotAuthenticated, NotPermitted, NotFound, MethodNotAllowed, Conflict, TooLarge,
        UnsupportedContent, Unprocessable, RateLimited, Unavailable, DeadlineExceeded,
    )
}  # fmt: skip


class ProblemPart(msgspec.Struct, frozen=True):
    """One invalid part of a request."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error by RFC 9457; `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ProblemPart] | None = None


ProblemHandler = Callable[[Request[Any, Any, Any], Any], Response[Any]]


def problem_handlers() -> dict[type[Exception] | int, ProblemHandler]:
    """Return the exception handlers of the app, which turn every error into a problem."""
    return {
        ServalError: _serval_response,
        HTTPException: _framework_response,
        Exception: _fault_response,
    }


def problem(error: ServalError, request_id: str, root_path: str = "") -> Problem:
    """Return the problem of an error; one with status 500 does not reveal its cause. `root_path`: of its `type`."""
    is_fault = error.status == ServalError.status
    return Problem(
        type=f"{root_path}/docs/errors#{error.code}",
        title=error.title,
        status=error.status,
        detail=f"Internal error; the log has its cause, under request {request_id}." if is_fault else error.message,
        code=error.code,
        request_id=request_id,
        errors=[ProblemPart(path, message) for path, message in error.errors] or None,
    )


def problem_headers(error: ServalError) -> dict[str, str]:
    """Return the headers of an error: its own, `Retry-After`, `WWW-Authenticate`."""
    headers = dict(error.headers)
    if error.retry_after_seconds is not None:
        headers.setdefault("retry-after", str(error.retry_after_seconds))
    if error.status == NotAuthenticated.status:
        headers["www-authenticate"] = 'Bearer realm="serval"'
    return headers


def request_id_of(scope: Scope) -> str:
    """Return the id of a request: its own `X-Request-Id` where well-formed, else a new one; the same at each call."""
    state = scope["state"]
    if _STATE_KEY not in state:
        sent_id = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        state[_STATE_KEY] = sent_id if _WELL_FORMED_REQUEST_ID.fullmatch(sent_id) else new_id("req")
    return str(state[_STATE_KEY])


def _serval_response(request: Request[Any, Any, Any], error: ServalError) -> Response[bytes]:
    return _response(request, error)


def _framework_response(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    parts = invalid_parts(error.extra, request.scope.get("route_handler"))
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if methods := _allowed(error):
        headers["allow"] = methods
    return _response(request, _as_serval_error(error, parts), headers)


def _allowed(error: HTTPException) -> str:
    """Return the methods that the path allows, sorted; empty where the error names none."""
    methods = (error.headers or {}).get("allow")
    return allowed(set(methods.split(", "))) if methods else ""


def _fault_response(request: Request[Any, Any, Any], _error: Exception) -> Response[bytes]:
    return _response(request, ServalError("A fault of Serval's own."))


def _response(
    request: Request[Any, Any, Any], error: ServalError, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    return Response(
        problem_body(error, request_id_of(request.scope), root_path_of(request.scope)),
        status_code=error.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers={**problem_headers(error), **(headers or {})},
    )


async def send_problem(scope: AsgiMap, send: AsgiSend, error: ServalError) -> None:
    """Send the response of a request that reaches no route."""
    body = problem_body(error, request_id_of(cast(Scope, scope)), root_path_of(scope))
    headers = {"content-type": PROBLEM_MEDIA_TYPE, "content-length": str(len(body)), **problem_headers(error)}
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def problem_body(error: ServalError, request_id: str, root_path: str = "") -> bytes:
    """Return the problem as JSON with the error's own members, which never replace those of RFC 9457."""
    members = {} if error.status == ServalError.status else error.extra
    return msgspec.json.encode({**members, **msgspec.to_builtins(problem(error, request_id, root_path))})


def _as_serval_error(error: HTTPException, parts: list[tuple[str, str]]) -> ServalError:
    """Return the error of Serval for one that the framework raised."""
    kind = _ERROR_OF_STATUS.get(error.status_code) or (BadRequest if error.status_code < 500 else ServalError)
    return kind(_detail(error, parts), errors=parts)


def _detail(error: HTTPException, parts: list[tuple[str, str]]) -> str:
    match error.status_code:
        case 404:
            return NOTHING_HERE
        case 405:
            return f"This path allows {_allowed(error) or 'other methods'}."
    return f"{parts[0][0]}: {parts[0][1]}" if parts else f"{error.detail.rstrip('.')}."
