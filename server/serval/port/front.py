"""Opens the public port in the data plane, with the refusals that it may send by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from serval.auth.credentials import read_credential
from serval.auth.tokens import not_valid
from serval.data_plane.plane import DataPlane, Front
from serval.data_plane.settings import FrontSettings
from serval.errors import BadRequest, CannotStart, RequestTimeout, ServalError, TooLarge, Unavailable
from serval.http.probes import LIVE
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
    templates, placeholders = templates_of({**_own_refusals(settings), **_core_refusals()})
    live = msgspec.json.encode(LIVE)
    try:
        return plane.start_front(
            descriptor, app_socket, front_settings(settings), templates, placeholders, live, certificate
        )
    except ValueError as error:
        raise CannotStart(str(error)) from error


def front_opener(plane: DataPlane, settings: Settings) -> Callable[[int, Path, tuple[bytes, bytes] | None], Front]:
    """Return what opens the front of a data plane on a listening socket."""

    def open_it(descriptor: int, app_socket: Path, certificate: tuple[bytes, bytes] | None) -> Front:
        return open_front(plane, settings, descriptor, app_socket, certificate)

    return open_it


def front_settings(settings: Settings) -> FrontSettings:
    """Return what the settings say of the public port."""
    return FrontSettings(
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


def templates_of(errors: Mapping[str, ServalError]) -> tuple[list[Template], dict[str, str]]:
    """The answers to some errors, and the name of the value that replaces each placeholder in them."""
    names = {"request_id", *(name for names in REFUSAL_ARGUMENTS.values() for name in names)}
    return [_template(name, error) for name, error in errors.items()], {_placeholder(name): name for name in names}


def _placeholder(name: str) -> str:
    return f"{{{name}}}"


def _template(name: str, error: ServalError) -> Template:
    headers = {"content-type": PROBLEM_MEDIA_TYPE, **problem_headers(error)}
    return name, error.status, list(headers.items()), problem_body(error, _placeholder("request_id"))


def _core_refusals() -> dict[str, ServalError]:
    return {
        code: refusal_error(RefusalTemplate(code, {name: _placeholder(name) for name in names}))
        for code, names in REFUSAL_ARGUMENTS.items()
    }


def _own_refusals(settings: Settings) -> dict[str, ServalError]:
    return {
        "no_key": _raised(lambda: read_credential([])),
        "not_bearer": _raised(lambda: read_credential([(b"authorization", b"Basic")])),
        "not_a_key": _raised(lambda: read_credential([(b"x-api-key", b"none")])),
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
        "app_unavailable": Unavailable("The server is starting or about to stop: try again in a second."),
        "plain_http": BadRequest("This port speaks TLS alone: ask it with `https://`."),
        "stalled": Unavailable("The event loop of the server has stalled."),
    }


def _raised(call: Callable[[], object]) -> ServalError:
    try:
        call()
    except ServalError as error:
        return error
    raise AssertionError("nothing was refused")
