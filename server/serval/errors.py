"""Every error that Serval raises on purpose: its code, HTTP status and title.

ServalError
├── BadRequest 400                bad_request
│   ├── MalformedBody             malformed_body
│   └── InvalidFeatures           invalid_features
├── NotAuthenticated 401          not_authenticated
├── NotPermitted 403              not_permitted
│   └── HttpsRequired             https_required
├── NotFound 404                  not_found
├── MethodNotAllowed 405          method_not_allowed
├── RequestTimeout 408            request_timeout
├── Conflict 409                  conflict
│   ├── NameTaken                 name_taken
│   ├── SchemaChanged             schema_changed
│   ├── GoldenMismatch            golden_mismatch
│   └── VersionHeld               version_held
├── TooLarge 413                  too_large
│   └── StorageQuotaExceeded      storage_quota_exceeded
├── UnsupportedContent 415        unsupported_content
├── Unprocessable 422             unprocessable
│   ├── NotAModel                 not_a_model
│   ├── NotAPredictor             not_a_predictor
│   ├── NotConvertible            not_convertible
│   ├── NotVerified               not_verified
│   └── SandboxViolation          sandbox_violation
├── RateLimited 429               rate_limited
├── Unavailable 503               unavailable
│   ├── DatabaseUnavailable       database_unavailable
│   │   └── DatabaseDiskFull      database_disk_full
│   ├── DiskFull                  disk_full
│   └── Quarantined               quarantined
├── DeadlineExceeded 504          deadline_exceeded
└── CannotStart                   cannot_start      (never on the wire: the process ends)
"""

from collections.abc import Iterator
from typing import ClassVar

_LAST = {"connection": "close"}
"""Of a response before the end of a body: the rest would be taken for the next request."""


class ServalError(Exception):
    """An error that Serval raises on purpose. The message names the cause and the way out."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    retry_after_seconds: int | None = None
    """When to retry; None where a retry does not help."""

    def __init__(
        self,
        message: str,
        *,
        errors: list[tuple[str, str]] | None = None,
        extra: dict[str, object] | None = None,
        retry_after_seconds: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`errors`: (JSON path, message) of each invalid part of the request. `extra`: further members of the problem.

        `headers`: of the response, names in lower case.
        """
        super().__init__(message)
        self.message = message
        self.errors = errors or []
        self.extra = extra or {}
        self.headers = headers or {}
        self.retry_after_seconds = retry_after_seconds or self.retry_after_seconds


class BadRequest(ServalError):
    code, status, title = "bad_request", 400, "Bad request"


class MalformedBody(BadRequest):
    code, title = "malformed_body", "The body cannot be read"


class InvalidFeatures(BadRequest):
    code, title = "invalid_features", "The features do not fit the model"


class NotAuthenticated(ServalError):
    code, status, title = "not_authenticated", 401, "Not authenticated"


class NotPermitted(ServalError):
    code, status, title = "not_permitted", 403, "Not permitted"


class HttpsRequired(NotPermitted):
    code, title = "https_required", "HTTPS is required"


class NotFound(ServalError):
    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(ServalError):
    code, status, title = "method_not_allowed", 405, "Method not allowed"


class RequestTimeout(ServalError):
    code, status, title = "request_timeout", 408, "Request timeout"

    @classmethod
    def incomplete(cls, seconds: float) -> "RequestTimeout":
        """Return the error of a client whose small body is not whole in time, or whose larger one has paused."""
        return cls(
            f"The body did not arrive within {seconds:g} s, or paused for as long (`body_timeout_seconds`).",
            headers=_LAST,
        )

    @classmethod
    def too_slow(cls, bytes_per_second: int) -> "RequestTimeout":
        """Return the error of a client whose large body comes below the least rate."""
        return cls(
            f"The body arrived at less than {bytes_per_second} bytes per second on average "
            "(`min_upload_bytes_per_second`).",
            headers=_LAST,
        )


class Conflict(ServalError):
    code, status, title = "conflict", 409, "Conflict"


class NameTaken(Conflict):
    code, title = "name_taken", "Name taken"


class SchemaChanged(Conflict):
    code, title = "schema_changed", "The input schema differs"


class GoldenMismatch(Conflict):
    code, title = "golden_mismatch", "Golden requests get other answers"


class VersionHeld(Conflict):
    code, title = "version_held", "The version is held"


class TooLarge(ServalError):
    code, status, title = "too_large", 413, "Too large"


class StorageQuotaExceeded(TooLarge):
    code, title = "storage_quota_exceeded", "The storage quota is used up"


class UnsupportedContent(ServalError):
    code, status, title = "unsupported_content", 415, "Unsupported content"


class Unprocessable(ServalError):
    code, status, title = "unprocessable", 422, "Cannot be processed"


class NotAModel(Unprocessable):
    code, title = "not_a_model", "Not a model"


class NotAPredictor(Unprocessable):
    code, title = "not_a_predictor", "Not a predictor"


class NotConvertible(Unprocessable):
    code, title = "not_convertible", "Cannot be converted"


class NotVerified(Unprocessable):
    code, title = "not_verified", "The converted model answers differently"


class SandboxViolation(Unprocessable):
    code, title = "sandbox_violation", "The file tried what an upload may not do"


class RateLimited(ServalError):
    code, status, title = "rate_limited", 429, "Too many requests"
    retry_after_seconds = 1


class Unavailable(ServalError):
    code, status, title = "unavailable", 503, "Unavailable"
    retry_after_seconds: int | None = 1


class DatabaseUnavailable(Unavailable):
    code, title = "database_unavailable", "The database is unavailable"


class DatabaseDiskFull(DatabaseUnavailable):
    code, title = "database_disk_full", "The disk of the database is full"
    retry_after_seconds = None


class DiskFull(Unavailable):
    code, title = "disk_full", "The disk is full"
    retry_after_seconds = None


class Quarantined(Unavailable):
    code, title = "quarantined", "The version is in quarantine"
    retry_after_seconds = None


class DeadlineExceeded(ServalError):
    code, status, title = "deadline_exceeded", 504, "Deadline exceeded"


class CannotStart(ServalError):
    """A command cannot do its work: one sentence for stderr, and an exit code that is not 0."""

    code, title = "cannot_start", "Cannot start"


def error_classes(root: type[ServalError] = ServalError) -> Iterator[type[ServalError]]:
    """Yield every error, in the order of the tree above."""
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def error_class(code: str) -> type[ServalError]:
    """Return the error with a code, `ServalError` where there is none."""
    return next((error for error in error_classes() if error.code == code), ServalError)
