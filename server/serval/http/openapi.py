"""What `/openapi.json` says of a route beyond its annotations: who may call it, its body, the headers of its answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from litestar.openapi.spec import OpenAPIHeader, OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

JsonSchema = dict[str, Any]
"""JSON Schema as it is written, for what annotations can not say. No `null` in its examples: Litestar leaves out
members that are None."""

_OF_EVERY_ANSWER = {"X-Request-Id": "The request's id: the one sent along where well-formed, else a new one."}
_OF_STATUS = {
    401: {"WWW-Authenticate": "How to authenticate."},
    429: {"Retry-After": "Seconds after which it is worth asking again."},
    503: {"Retry-After": "Seconds after which it is worth asking again."},
}


def body(
    description: str, content: Mapping[str, JsonSchema], examples: Mapping[str, Mapping[str, Any]] | None = None
) -> RequestBody:
    """A request body: for each media type its schema and examples by name."""
    examples = examples or {}
    return RequestBody(
        description=description,
        required=True,
        content={kind: _media(schema, examples.get(kind)) for kind, schema in content.items()},
    )


def _media(schema: JsonSchema, examples: Mapping[str, Any] | None) -> OpenAPIMediaType:
    shown = {name: {"value": value} for name, value in (examples or {}).items()}
    return OpenAPIMediaType(schema=cast(Schema, schema), examples=cast(Any, shown or None))


def operation(
    *,
    is_public: bool = False,
    takes: RequestBody | None = None,
    is_body_required: bool = True,
    headers: Mapping[str, str] | None = None,
    examples: Mapping[str, Any] | None = None,
    also: Mapping[str, JsonSchema] | None = None,
) -> type[Operation]:
    """The class of a route's entry, for Litestar's `operation_class=`.

    `headers`: name and meaning of those of a successful answer. `examples`: successful answers by name.
    `also`: further media types in which a successful answer can come.
    """

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.security = [] if is_public else None
            self.request_body = takes or self.request_body
            if isinstance(self.request_body, RequestBody):
                self.request_body.required = is_body_required
            for status, response in (self.responses or {}).items():
                _describe_answer(
                    int(status), cast(OpenAPIResponse, response), headers or {}, examples or {}, also or {}
                )

    return Described


def _describe_answer(
    status: int,
    response: OpenAPIResponse,
    headers: Mapping[str, str],
    examples: Mapping[str, Any],
    also: Mapping[str, JsonSchema],
) -> None:
    is_success = status < 300
    texts = _OF_EVERY_ANSWER | _OF_STATUS.get(status, {}) | (dict(headers) if is_success else {})
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
"""A route that needs no key."""

KEYED = operation()
"""A route that needs a key, and nothing else to be said."""
