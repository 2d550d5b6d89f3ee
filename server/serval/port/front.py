"""Opens the front: the public port in the data plane."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from serval.data_plane.plane import DataPlane, Front
from serval.data_plane.settings import FrontSettings
from serval.errors import CannotStart
from serval.http.probes import LIVE
from serval.port.refusal_templates import refusal_templates
from serval.settings.settings import Settings


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
    templates, placeholders = refusal_templates(settings)
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
        forwarded_by_user=settings.max_forwarded_per_user,
        forwarded_by_address=settings.max_forwarded_per_address,
        small_body_bytes=settings.small_body_bytes,
        min_body_bytes_per_second=settings.min_upload_bytes_per_second,
        head_seconds=settings.head_timeout_seconds,
        body_seconds=settings.body_timeout_seconds,
        idle_seconds=settings.idle_timeout_seconds,
        write_seconds=settings.write_timeout_seconds,
        stall_seconds=settings.stall_seconds,
        https_only=settings.https_only,
        trusted_proxies=settings.trusted_proxies,
    )
