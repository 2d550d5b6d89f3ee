"""Requests as the routes see them."""

import re
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.datastructures import FormMultiDict, State
from litestar.exceptions import InternalServerException, SerializationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.params import PathParameter

from serval.auth.caller import Caller
from serval.errors import BadRequest, MalformedBody, TooLarge, UnsupportedContent
from serval.http import wording
from serval.http.request_logging import note
from serval.http.root_path import root_path_of


class HttpRequest(Request[Caller | None, Any, State]):
    """A request whose body must be unencoded, and JSON only where its headers say so.

    Errors of reading the body are raised here, as errors of Serval.
    """

    @property
    def own_origin(self) -> str:
        """The origin of the pages that this server shows the client, as `https://serval.example:8443`."""
        return f"{self.scope['scheme']}://{self.headers.get('host', '')}"

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Return the body as it arrives.

        Raises UnsupportedContent, before any of it is read, where it is encoded; TooLarge; BadRequest where it ends
        too early.
        """
        if self.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
            raise UnsupportedContent("`Content-Encoding`: send the body as it is, uncompressed.")
        return self._chunks(super().stream(), is_consumed=not self.is_connected)

    async def _chunks(self, chunks: AsyncGenerator[bytes, None], *, is_consumed: bool) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in chunks:
                yield chunk
        except RequestEntityTooLarge as error:
            raise TooLarge("The body is larger than this route accepts.") from error
        except InternalServerException as error:
            if is_consumed:
                raise
            raise BadRequest("The body ended too early: the client has disconnected.") from error

    async def json(self) -> Any:
        """Return the body read as JSON, as the type that its route takes, without coercion between types.

        Raises UnsupportedContent where its headers name another type, MalformedBody, BadRequest.
        """
        content_type = self.headers.get("content-type", "application/json")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedContent(f"`Content-Type`: this route takes `application/json`, not `{content_type[:60]}`.")
        try:
            body = await super().json()
        except SerializationException as error:
            raise MalformedBody(f"The body is not JSON: {str(error).rstrip('.')}.") from error
        except (UnicodeDecodeError, RecursionError) as error:
            raise _unreadable() from error
        field = self.scope["route_handler"].parsed_data_field
        return body if field is None else _typed(body, field.annotation)

    async def form(self) -> FormMultiDict:
        """Return the body read as a form. Raises MalformedBody."""
        try:
            return await super().form()
        except (UnicodeDecodeError, LookupError, RecursionError) as error:  # LookupError: the charset of a part
            raise _unreadable() from error

    @property
    def root_path(self) -> str:
        """The prefix under which a proxy shows the server, or empty."""
        return root_path_of(self.scope)

    def note(self, **fields: Any) -> None:
        """Add fields to the log line of the request, as `request_logging.note` does."""
        note(self.scope, **fields)


def _unreadable() -> MalformedBody:
    return MalformedBody("The body is not UTF-8, or is nested too deeply.")


def _typed(body: object, kind: Any) -> Any:
    """Convert strictly: the framework would read `"5"` as a number, and report some wrong members as faults of ours."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at ")
        message = wording.sentence(message, kind, where.strip("`"))
        path = re.sub(r"^`\$\.?|`$", "", where) or "body"
        raise BadRequest(f"{path}: {message}.", errors=[(path, message)]) from error


PLAIN_TEXT = wording.PLAIN_TEXT

MAX_VERSION_NUMBER = 2**31 - 1
"""The largest version number that an integer column of PostgreSQL holds."""
MAX_WAIT_SECONDS = 300.0
_SECONDS = re.compile(r"[0-9]{1,9}")

Name = Annotated[str, PathParameter(pattern=PLAIN_TEXT, max_length=200, description="Id or name")]
VersionNumber = Annotated[int, PathParameter(ge=1, le=MAX_VERSION_NUMBER, description="Number of a version")]


def preferred_wait(prefer: str | None, default: float) -> float:
    """Return how many seconds a request may be held until what it waits for has ended.

    Reads `wait` and `respond-async` of RFC 7240; preferences of other names are ignored, as it asks. Raises BadRequest.
    """
    items = [part.partition(";")[0].partition("=") for part in (prefer or "").split(",")]
    preferences = {name.strip().lower(): value.strip() for name, _, value in reversed(items)}
    if "wait" not in preferences:
        return 0.0 if "respond-async" in preferences else default
    if not _SECONDS.fullmatch(preferences["wait"]):
        raise BadRequest(f"`Prefer`: `wait={preferences['wait'][:40]}` is no whole number of seconds.")
    return min(float(preferences["wait"]), MAX_WAIT_SECONDS)
