"""What may be asked and by whom, as the database has it and as the data plane is told."""

from collections import defaultdict
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.data_plane.route import Route
from serval.models.lifecycle import Status
from serval.models.tables import Cache, Model, Share, Version
from serval.users.tables import User


class Routed(NamedTuple):
    """A version that may be asked, and its model. Not the rows themselves: all of them are read whenever one
    changes."""

    id: str
    number: int
    status: Status
    failure: dict[str, Any] | None
    model: str
    """Id."""
    name: str
    owner: str
    """User id."""
    owner_username: str
    live: int | None
    cache: Cache
    cache_ttl_seconds: float | None
    cache_l2_ttl_seconds: float | None

    @property
    def reason(self) -> str:
        """Why it is in quarantine."""
        return str((self.failure or {}).get("message", f"Version {self.id} is in quarantine."))


class Audience:
    """Who may ask a model that is not theirs."""

    def __init__(self) -> None:
        self.is_public = False
        self.users: set[str] = set()
        """User ids."""

    def add(self, user_id: str | None) -> None:
        """Let a user ask, or everybody."""
        if user_id is None:
            self.is_public = True
        else:
            self.users.add(user_id)


Versions = dict[int, Routed]
"""The versions of a model that may be asked, by number; at least one."""


async def find_routed(session: AsyncSession) -> dict[str, Versions]:
    """Return by model what was ready once: what is in quarantine keeps its route, so that whoever asks it is told
    so."""
    query = (
        select(
            Version.id, Version.number, Version.status, Version.failure,
            Model.id, Model.name, Model.owner_id, User.username, Model.live,
            Model.cache, Model.cache_ttl_seconds, Model.cache_l2_ttl_seconds,
        )
        .join_from(Version, Model)
        .join(User, User.id == Model.owner_id)
        .where(Model.deleted_at.is_(None), Version.ready_at.is_not(None), Version.lifecycle != "archived")
    )  # fmt: skip
    models: defaultdict[str, Versions] = defaultdict(dict)
    for row in await session.execute(query):
        version = Routed(*row)
        models[version.model][version.number] = version
    return models


async def find_audiences(session: AsyncSession) -> defaultdict[str, Audience]:
    """Return by model who else may ask it."""
    audiences: defaultdict[str, Audience] = defaultdict(Audience)
    for model_id, user_id in await session.execute(
        select(Share.model_id, Share.user_id).join(Model).where(Model.deleted_at.is_(None))
    ):
        audiences[model_id].add(user_id)
    return audiences


def route_of(versions: Versions, live: Routed | None, audience: Audience) -> Route:
    """Return the route of a model, which leads to `live` unless another version is asked for."""
    model = next(iter(versions.values()))
    return Route(
        model=model.model,
        name=model.name,
        owner=model.owner,
        owner_username=model.owner_username,
        live=None if live is None else live.number,
        versions={number: version.id for number, version in versions.items()},
        aliases={},
        cache=model.cache,
        cache_ttl_seconds=model.cache_ttl_seconds,
        cache_l2_ttl_seconds=model.cache_l2_ttl_seconds,
        is_public=audience.is_public,
        shared_with=audience.users,
    )
