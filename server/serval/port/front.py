"""Opens the public port in the data plane, with the refusals that it may send by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from serval.auth.credentials import malformed_key, no_credentials, not_bearer
from serval.auth.tokens import not_valid
from serval.data_plane.plane import DataPlane, Front, FrontLimits
from serval.errors import BadRequest, CannotStart, RequestTimeout, ServalError, TooLarge, Unavailable
from serval.http.probes import LIVE
from serval.http.problems import PROBLEM_MEDIA_TYPE, problem_body, problem_headers
from serval.predictions.refusals import refusal_error
from serval.settings.settings import Settings
from serval.users.keys import unknown_key

REQUEST_ID = "req_00000000000000000000000000"
"""Stands in a template for the id of the request."""


@dataclass(frozen=True)
class Refused:
    """A refusal of the data plane whose arguments are yet to come."""

    code: str
    arguments: dict[str, str]


def open_front(
    plane: DataPlane,
    settings: Settings,
    descriptor: int,
    app_socket: Path,
    certificate: tuple[bytes, bytes] | None = None,
) -> Front:
    """Listen on a socket that is bound; requests that are not answered in Rust go to the app on its own socket.

    `certificate`: PEM of it with its chain, and of its key; the port then speaks TLS. Raises CannotStart.
    """
    templates, marks = templates_of({**_own_refusals(settings), **_refusals_of_the_core()})
    return plane.start_front(
        descriptor, app_socket, front_limits(settings), templates, marks, msgspec.json.encode(LIVE), certificate
    )


def front_opener(plane: DataPlane, settings: Settings) -> Callable[[int, Path, tuple[bytes, bytes] | None], Front]:
    """Return what opens the front of a data plane on a listening socket."""

    def open_it(descriptor: int, app_socket: Path, certificate: tuple[bytes, bytes] | None) -> Front:
        return open_front(plane, settings, descriptor, app_socket, certificate)

    return open_it


def front_limits(settings: Settings) -> FrontLimits:
    """What the settings say of the public port. Raises CannotStart for a proxy that is no address."""
    try:
        return _limits(settings)
    except ValueError as error:
        raise CannotStart(f"`trusted_proxies`: {error}") from error


def _limits(settings: Settings) -> FrontLimits:
    return FrontLimits(
        connections=settings.max_connections,
        connections_by_address=settings.max_connections_per_address,
        head_bytes=settings.max_head_bytes,
        body_bytes=settings.max_body_bytes,
        buffered_bytes=settings.max_buffered_bytes,
        forwarded=settings.max_forwarded,
        head_seconds=settings.head_timeout_seconds,
        body_seconds=settings.body_timeout_seconds,
        idle_seconds=settings.idle_timeout_seconds,
        write_seconds=settings.write_timeout_seconds,
        stall_seconds=settings.stall_seconds,
        https_only=settings.https_only,
        trusted_proxies=settings.trusted_proxies,
    )


Template = tuple[str, int, list[tuple[str, str]], bytes]
"""Name, status, headers, body."""


def templates_of(errors: dict[str, ServalError]) -> tuple[list[Template], dict[str, str]]:
    """The answers to some errors with marks for what differs, and what each mark stands for."""
    marks = {REQUEST_ID: "request_id"} | {
        mark: argument for arguments in GAPS.values() for argument, mark in arguments.items()
    }
    return [_template(name, error) for name, error in errors.items()], marks


def _template(name: str, error: ServalError) -> Template:
    headers = {"content-type": PROBLEM_MEDIA_TYPE, **problem_headers(error)}
    return name, error.status, list(headers.items()), problem_body(error, REQUEST_ID)


GAPS: dict[str, dict[str, str]] = {
    "queue_full": {},
    "out_of_time": {"seconds": "7357001.25", "limit": "7357002.25", "waiting": "7357003.25"},
    "too_late": {"limit": "7357002.25"},
    "ran_away": {},
    "rate_limited": {
        "policy": "policy7357004",
        "limit": "7357005",
        "window_seconds": "7357006",
        "retry_after_seconds": "7357007",
    },
    "quota_exceeded": {"limit": "7357005", "retry_after_seconds": "7357007"},
}
"""For each refusal of the core that the front may send: its arguments, and a number that stands for each in the
template."""


def _refusals_of_the_core() -> dict[str, ServalError]:
    return {code: refusal_error(Refused(code, arguments)) for code, arguments in GAPS.items()}


def _own_refusals(settings: Settings) -> dict[str, ServalError]:
    return {
        "no_key": no_credentials(),
        "not_bearer": not_bearer(),
        "not_a_key": malformed_key(),
        "unknown_key": unknown_key(),
        "unknown_token": not_valid(),
        "too_large": TooLarge("The body is larger than this route accepts."),
        "request_timeout": RequestTimeout(
            f"The body did not arrive within {settings.body_timeout_seconds:g} s (`body_timeout_seconds`)."
        ),
        "no_room": Unavailable(
            "The server holds as many bodies as it may (`max_buffered_bytes`): try again in a second."
        ),
        "app_busy": Unavailable("Too many requests are being answered (`max_forwarded`): try again in a second."),
        "app_away": Unavailable("The server is starting or about to stop: try again in a second."),
        "plain_http": BadRequest("This port speaks TLS alone: ask it with `https://`."),
        "stalled": Unavailable("The event loop of the server has stalled."),
    }
