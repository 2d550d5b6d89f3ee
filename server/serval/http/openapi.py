"""Parts of the OpenAPI document beyond annotations: authentication, bodies, and headers of responses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIHeader, OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

from serval.errors import (
    BadRequest,
    MalformedBody,
    NotAuthenticated,
    NotPermitted,
    RateLimited,
    ServalError,
    TooLarge,
    Unavailable,
    UnsupportedContent,
)
from serval.http.problems import PROBLEM_MEDIA_TYPE, Problem

JsonSchema = dict[str, Any]
"""JSON Schema for what annotations cannot express. Its examples hold no `null`: Litestar omits None."""

_COMMON_HEADERS = {"X-Request-Id": "The id of the request: the one it sent, where well-formed, else a new one."}
_STATUS_HEADERS = {
    401: {"WWW-Authenticate": "How to authenticate."},
    429: {"Retry-After": "Seconds after which to retry."},
    503: {"Retry-After": "Seconds after which to retry."},
}


def body(
    description: str, content: Mapping[str, JsonSchema], examples: Mapping[str, Mapping[str, Any]] | None = None
) -> RequestBody:
    """Return a request body: for each media type its schema, and examples by name."""
    examples = examples or {}
    return RequestBody(
        description=description,
        required=True,
        content={kind: _media(schema, examples.get(kind)) for kind, schema in content.items()},
    )


def _media(schema: JsonSchema, examples: Mapping[str, Any] | None) -> OpenAPIMediaType:
    named = {name: {"value": value} for name, value in (examples or {}).items()}
    return OpenAPIMediaType(schema=cast(Schema, schema), examples=cast(Any, named or None))


def operation(
    *,
    is_public: bool = False,
    takes: RequestBody | None = None,
    is_body_required: bool = True,
    headers: Mapping[str, str] | None = None,
    examples: Mapping[str, Any] | None = None,
    also: Mapping[str, JsonSchema] | None = None,
) -> type[Operation]:
    """Return the class of a route's operation, for Litestar's `operation_class=`.

    `headers`: names and meanings of those of a successful response. `examples`: successful responses by name.
    `also`: further media types of a successful response.
    """

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.security = [] if is_public else None
            self.request_body = takes or self.request_body
            if isinstance(self.request_body, RequestBody):
                self.request_body.required = is_body_required
            for status, response in (self.responses or {}).items():
                _describe_response(
                    int(status), cast(OpenAPIResponse, response), headers or {}, examples or {}, also or {}
                )

    return Described


def _describe_response(
    status: int,
    response: OpenAPIResponse,
    headers: Mapping[str, str],
    examples: Mapping[str, Any],
    also: Mapping[str, JsonSchema],
) -> None:
    is_success = status < 300
    texts = _COMMON_HEADERS | _STATUS_HEADERS.get(status, {}) | (dict(headers) if is_success else {})
    described = {
        name: OpenAPIHeader(schema=Schema(type=OpenAPIType.STRING), description=text) for name, text in texts.items()
    }
    response.headers = {**(response.headers or {}), **described}
    if is_success and examples and response.content:
        for media in response.content.values():
            media.examples = cast(Any, {name: {"value": value} for name, value in examples.items()})
    if is_success and also:
        response.content = {**(response.content or {}), **{kind: _media(schema, None) for kind, schema in also.items()}}


PUBLIC = operation(is_public=True)
"""A route without authentication."""

KEYED = operation()
"""A route with authentication and nothing else to describe."""


def problem_responses(*errors: type[ServalError]) -> dict[int, ResponseSpec]:
    """Return the OpenAPI responses of the errors that a route can return, for Litestar's `responses=`."""
    by_status: dict[int, list[type[ServalError]]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(error.status, []).append(error)
    return {status: _problem_response(group) for status, group in sorted(by_status.items())}


def _problem_response(errors: list[type[ServalError]]) -> ResponseSpec:
    description = "; ".join(f"{error.title} (`{error.code}`)" for error in errors)
    return ResponseSpec(Problem, generate_examples=False, description=f"{description}.", media_type=PROBLEM_MEDIA_TYPE)


JSON_ERRORS = (MalformedBody, TooLarge, UnsupportedContent)
"""Further errors of a route that takes a JSON body."""


def keyed_responses(*errors: type[ServalError]) -> dict[int, ResponseSpec]:
    """Return the responses of a route that needs a credential, with the errors of authentication and limits."""
    return problem_responses(BadRequest, NotAuthenticated, NotPermitted, *errors, RateLimited, Unavailable)
