"""What a feature brings to the service: routes, what their handlers ask for by name, and background work."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
from litestar.types import ControllerRouterHandler


class Background(Protocol):
    """Something that runs beside the requests."""

    async def start(self) -> None:
        """Begin. Raises CannotStart or Unavailable where the service cannot run without it."""

    async def stop(self) -> None:
        """End, also where `start` was cut short."""


class Feature(msgspec.Struct, frozen=True):
    """One folder's part of the service; `wiring.py` puts them together."""

    routes: Sequence[ControllerRouterHandler] = ()
    dependencies: Mapping[str, object] = {}
    """By the names of the handlers' parameters."""
    background: Sequence[Background] = ()
    """Started in this order, stopped in the opposite one."""
    max_body_bytes: int | None = None
    """The largest body that its routes take; None: that of every other JSON route."""


class Closing:
    """Background work that only has an end."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        self._close()
