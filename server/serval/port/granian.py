"""Granian's embedded server on a socket that somebody else has bound."""

from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from serval.port.certificates import Certificate

BACKLOG = 1024
STREAMS = 128
"""Requests of one connection of HTTP/2 at a time."""


class AppServer(Server):
    """Granian binds its sockets itself; here it may be given one (docs/adr/0050-granian-embedded.md)."""

    def __init__(self, app: Any, place: int | Path, head_bytes: int, certificate: Certificate | None = None) -> None:
        """`place`: descriptor of a listening socket, which is taken over and closed; or the path of a Unix socket to be
        made.

        `certificate`: speak TLS, and in it HTTP/2 to those who ask for it.
        """
        super().__init__(
            target=app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1 if certificate is None else HTTPModes.auto,
            http1_settings=HTTP1Settings(max_buffer_size=head_bytes),
            http2_settings=HTTP2Settings(max_concurrent_streams=STREAMS, max_headers_size=head_bytes),
            ssl_cert=None if certificate is None else certificate.chain_file,
            ssl_key=None if certificate is None else certificate.key_file,
            ssl_protocol_min=SSLProtocols.tls12,
            websockets=False,
            backlog=BACKLOG,
            log_level=LogLevels.error,
            uds=place if isinstance(place, Path) else None,
        )
        self._place = place
        self.uds_permissions = 0o600  # the embedded server takes no such argument

    def _init_shared_socket(self) -> None:
        if isinstance(self._place, Path):
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        # Its own stubs know neither this constructor nor that these attributes hold anything.
        self._shd = SocketHolder(self._place, False, self.backlog)  # type: ignore[call-arg,assignment]
        self._sfd = self._place  # type: ignore[assignment]
