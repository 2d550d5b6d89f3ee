"""A request as the routes see it."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from litestar import Request
from litestar.datastructures import State
from litestar.params import PathParameter

from serval.auth.caller import Caller
from serval.errors import BadRequest, UnsupportedContent


class HttpRequest(Request[Caller | None, Any, State]):
    """A request whose body is read as it was sent: an encoded one is refused, and JSON only where it says so."""

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Return the body as it arrives. Raises UnsupportedContent, before any of it is read, where it is encoded."""
        if self.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
            raise UnsupportedContent("`Content-Encoding`: send the body as it is, uncompressed.")
        return super().stream()

    async def json(self) -> Any:
        """Return the body read as JSON. Raises UnsupportedContent where it says to be something else."""
        given = self.headers.get("content-type", "application/json")
        if given.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedContent(f"`Content-Type`: this takes `application/json`, not `{given[:60]}`.")
        return await super().json()

    def check_query(self, *single: str) -> None:
        """Refuse parameters that are given more than once: which of them is meant would be a guess. Raises BadRequest."""
        for name in single:
            if len(self.query_params.getall(name, [])) > 1:
                raise BadRequest(f"`{name}`: given twice; send it once.")


PLAIN_TEXT = "^[^\\x00]*$"
"""Text without U+0000, which PostgreSQL can not keep."""

MAX_NUMBER = 2**31 - 1
"""The largest number of a version."""

Name = Annotated[str, PathParameter(pattern=PLAIN_TEXT, max_length=200, description="Id or name")]
VersionNumber = Annotated[int, PathParameter(ge=1, le=MAX_NUMBER, description="Number of a version")]
