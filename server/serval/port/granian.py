"""Granian's embedded server on a socket that the parent has bound."""

from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from serval.port.certificates import Certificate

BACKLOG = 1024
MAX_STREAMS = 128
"""Requests of one connection of HTTP/2 at a time."""


class AppServer(Server):
    """Granian binds its sockets itself; this one accepts a bound one (docs/adr/0050-granian-embedded.md)."""

    def __init__(self, app: Any, endpoint: int | Path, head_bytes: int, certificate: Certificate | None = None) -> None:
        """`endpoint`: descriptor of a listening socket, taken over and closed; or the path of a Unix socket to create.

        `certificate`: speak TLS, and HTTP/2 to clients that negotiate it.
        """
        super().__init__(
            target=app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1 if certificate is None else HTTPModes.auto,
            http1_settings=HTTP1Settings(max_buffer_size=head_bytes),
            http2_settings=HTTP2Settings(max_concurrent_streams=MAX_STREAMS, max_headers_size=head_bytes),
            ssl_cert=None if certificate is None else certificate.chain_file,
            ssl_key=None if certificate is None else certificate.key_file,
            ssl_protocol_min=SSLProtocols.tls12,
            websockets=False,
            backlog=BACKLOG,
            log_level=LogLevels.error,
            uds=endpoint if isinstance(endpoint, Path) else None,
        )
        self._endpoint = endpoint
        self.uds_permissions = 0o600  # the embedded server takes no such argument

    def _init_shared_socket(self) -> None:
        if isinstance(self._endpoint, Path):
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        # Its own stubs know neither this constructor nor that these attributes hold anything.
        self._shd = SocketHolder(self._endpoint, False, self.backlog)  # type: ignore[call-arg,assignment]
        self._sfd = self._endpoint  # type: ignore[assignment]
