"""A request as the routes see it."""

import re
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.params import PathParameter

from serval.auth.caller import Caller
from serval.errors import BadRequest, UnsupportedContent
from serval.settings.plans import RATE


class HttpRequest(Request[Caller | None, Any, State]):
    """A request whose body is read as it was sent: an encoded one is refused, and JSON only where it says so."""

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Return the body as it arrives. Raises UnsupportedContent, before any of it is read, where it is encoded."""
        if self.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
            raise UnsupportedContent("`Content-Encoding`: send the body as it is, uncompressed.")
        return super().stream()

    async def json(self) -> Any:
        """Return the body read as JSON, as what its route takes, with nothing turned into another type.

        Raises UnsupportedContent where it says to be something else, BadRequest.
        """
        given = self.headers.get("content-type", "application/json")
        if given.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedContent(f"`Content-Type`: this takes `application/json`, not `{given[:60]}`.")
        body, taken = await super().json(), self.scope["route_handler"].parsed_data_field
        return body if taken is None else _typed(body, taken.annotation)

    def check_query(self, *single: str) -> None:
        """Refuse parameters that are given more than once: which of them is meant would be a guess. Raises
        BadRequest."""
        for name in single:
            if len(self.query_params.getall(name, [])) > 1:
                raise BadRequest(f"`{name}`: given twice; send it once.")


def _typed(body: object, kind: Any) -> Any:
    """The framework would read `"5"` as a number, and takes a wrong member with the name of a dependency for a fault of
    ours."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at ")
        message = next(
            (f"Expected {text}" for pattern, text in MATCHING.items() if message.endswith(repr(pattern))), message
        )
        path = re.sub(r"^`\$\.?|`$", "", where) or "body"
        raise BadRequest(f"{path}: {message}.", errors=[(path, message)]) from error


PLAIN_TEXT = "^[^\\x00]*$"
"""Text without U+0000, which PostgreSQL can not keep."""

MATCHING = {PLAIN_TEXT: "text without U+0000", RATE: "a rate as `1000/s`, `100/min`, `5/h` or `10/day`, or `unlimited`"}
"""What a text is that matches a pattern, for whoever sent another."""

MAX_NUMBER = 2**31 - 1
"""The largest number of a version."""

Name = Annotated[str, PathParameter(pattern=PLAIN_TEXT, max_length=200, description="Id or name")]
VersionNumber = Annotated[int, PathParameter(ge=1, le=MAX_NUMBER, description="Number of a version")]
