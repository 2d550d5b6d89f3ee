"""The refusals that the front may send by itself: whole responses with placeholders for what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serval.auth.credentials import malformed_key, no_credentials, not_bearer
from serval.auth.tokens import not_valid
from serval.errors import BadRequest, RequestTimeout, ServalError, TooLarge, Unavailable
from serval.http.problems import PROBLEM_MEDIA_TYPE, problem_body, problem_headers
from serval.predictions.refusals import refusal_error
from serval.settings.settings import Settings
from serval.users.keys import unknown_key

REFUSAL_ARGUMENTS: Mapping[str, Sequence[str]] = {
    "queue_full": (),
    "out_of_time": ("seconds", "limit", "waiting"),
    "too_late": ("limit",),
    "ran_away": (),
    "rate_limited": ("policy", "limit", "window_seconds", "retry_after_seconds"),
    "quota_exceeded": ("limit", "retry_after_seconds"),
}
"""The refusals of the data plane that the front may send by itself, and the arguments of each."""


@dataclass(frozen=True)
class RefusalTemplate:
    """A refusal of the data plane with a placeholder for each argument."""

    code: str
    arguments: Mapping[str, str]


Template = tuple[str, int, list[tuple[str, str]], bytes]
"""Name, status, headers, body."""


def refusal_templates(settings: Settings) -> tuple[list[Template], dict[str, str]]:
    """The refusals that the front may send, and the name of the value that replaces each placeholder in them."""
    errors = {**_own_refusals(settings), **_core_refusals()}
    names = {"request_id", *(name for names in REFUSAL_ARGUMENTS.values() for name in names)}
    templates = [_template(name, error, settings.root_path or "") for name, error in errors.items()]
    return templates, {_placeholder(name): name for name in names}


def _placeholder(name: str) -> str:
    return f"{{{name}}}"


def _template(name: str, error: ServalError, root_path: str) -> Template:
    headers = {"content-type": PROBLEM_MEDIA_TYPE, **problem_headers(error)}
    return name, error.status, list(headers.items()), problem_body(error, _placeholder("request_id"), root_path)


def _core_refusals() -> dict[str, ServalError]:
    return {
        code: refusal_error(RefusalTemplate(code, {name: _placeholder(name) for name in names}))
        for code, names in REFUSAL_ARGUMENTS.items()
    }


def _own_refusals(settings: Settings) -> dict[str, ServalError]:
    return {
        "no_key": no_credentials(),
        "not_bearer": not_bearer(),
        "not_a_key": malformed_key(),
        "unknown_key": unknown_key(),
        "unknown_token": not_valid(),
        "too_large": TooLarge("The body is larger than this route accepts."),
        "request_timeout": RequestTimeout.incomplete(settings.body_timeout_seconds),
        "body_too_slow": RequestTimeout.too_slow(settings.min_upload_bytes_per_second),
        "no_room": Unavailable(
            "The server holds as many bodies as it may (`max_buffered_bytes`): try again in a second."
        ),
        "no_room_for_client": Unavailable(
            "The server holds as many bodies of one client as it may (`max_buffered_bytes`): try again in a second."
        ),
        "app_busy": Unavailable("Too many requests are being answered (`max_forwarded`): try again in a second."),
        "client_busy": Unavailable(
            "Too many requests of one client are being answered (`max_forwarded_per_user`, "
            "`max_forwarded_per_address`): try again in a second."
        ),
        "app_unavailable": Unavailable("The server is starting or about to stop: try again in a second."),
        "plain_http": BadRequest("This port speaks TLS alone: ask it with `https://`."),
        "stalled": Unavailable("The event loop of the server has stalled."),
    }
