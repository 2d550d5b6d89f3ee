"""What the registry needs of deployments, which are above it: given by `wiring`."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from serval.models.tables import Version


class Publication(NamedTuple):
    """How versions become live, and how their routes come into force."""

    refresh: Callable[[], Awaitable[None]]
    """Publishes the routes of all models again."""
    announcing: Callable[[], AbstractAsyncContextManager[None]]
    """A block in which a version may become live, and after which its route is published."""
    release_converted: Callable[[AsyncSession, Version, str | None], Awaitable[None]]
    """Decides, in the transaction of the session, whether a converted version becomes live. The text says why its
    report does not prove enough, where it does not."""
