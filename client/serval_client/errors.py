"""Every error that a server's response, or its absence, becomes.

ServalError
├── Unreachable                 no response
└── RequestFailed               a response that says why not
    ├── BadRequest        400
    ├── NotAuthenticated  401
    ├── NotPermitted      403
    ├── NotFound          404
    ├── Conflict          409
    ├── TooLarge          413
    ├── Refused           422   a model that the server cannot serve
    ├── RateLimited       429
    ├── Unavailable       502, 503
    └── DeadlineExceeded  504
"""

import re
from collections.abc import Mapping
from typing import Any, Optional

import msgspec

POINTER = re.compile(r" \(and \d+ more, see `errors`\)")
"""The note in a detail that counts the errors it leaves out."""


class InvalidPart(msgspec.Struct, frozen=True):
    """A part of a request that is wrong."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The problem document of a response (RFC 9457)."""

    status: int
    detail: str
    code: str = ""
    """What is wrong, for programs: `docs/errors.md` of the server lists the codes. Empty if it was not Serval that
    answered."""
    title: str = ""
    request_id: Optional[str] = None
    errors: Optional[list[InvalidPart]] = None


class ServalError(Exception):
    """The server did not do what it was asked. The message names the cause."""


class Unreachable(ServalError):
    """The server did not respond."""

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message, cause)
        self.message = message
        self.cause = cause
        """Why, without the address."""

    def __str__(self) -> str:
        return self.message


class RequestFailed(ServalError):
    """The server responded with a problem."""

    def __init__(
        self,
        problem: Problem,
        retry_after_seconds: Optional[float] = None,
        document: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(problem, retry_after_seconds, document)
        self.problem = problem
        self.retry_after_seconds = retry_after_seconds
        """When to try again, if the server has said so."""
        self.document = document
        """The whole problem document, with the members that only some problems have; None if there is none."""

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def code(self) -> str:
        return self.problem.code

    def __str__(self) -> str:
        """The detail, which tells of the first part that is wrong, and the other parts."""
        others = [f"{part.path}: {part.message}" for part in (self.problem.errors or [])[1:]]
        if not others:
            return self.problem.detail
        return "; ".join([POINTER.sub("", self.problem.detail).rstrip("."), *others])


class BadRequest(RequestFailed): ...


class NotAuthenticated(RequestFailed): ...


class NotPermitted(RequestFailed): ...


class NotFound(RequestFailed): ...


class Conflict(RequestFailed): ...


class TooLarge(RequestFailed): ...


class Refused(RequestFailed):
    """The server cannot serve the model: it cannot convert it, or the converted model answers differently."""


class RateLimited(RequestFailed): ...


class Unavailable(RequestFailed): ...


class DeadlineExceeded(RequestFailed): ...


BY_STATUS: dict[int, type[RequestFailed]] = {
    400: BadRequest,
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Refused,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}
