"""Granian's embedded server on a socket that somebody else has bound."""

from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

BACKLOG = 1024


class OnSocket(Server):
    """Granian binds its sockets itself; here it is given one (docs/adr/0050-granian-embedded.md)."""

    def __init__(self, descriptor: int, app: Any) -> None:
        super().__init__(
            target=app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(),
            websockets=False,
            backlog=BACKLOG,
            log_level=LogLevels.error,
        )
        self._descriptor = descriptor

    def _init_shared_socket(self) -> None:
        # Its own stubs know neither this constructor nor that these attributes hold anything.
        self._shd = SocketHolder(self._descriptor, False, self.backlog)  # type: ignore[call-arg,assignment]
        self._sfd = self._descriptor  # type: ignore[assignment]


def server_on(descriptor: int, app: Any) -> OnSocket:
    """A server for an ASGI app without lifespan; it takes the descriptor and closes it."""
    return OnSocket(descriptor, app)
