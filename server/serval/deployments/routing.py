"""Which versions answer, and for whom: read from the database, given to the data plane as routes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from serval.data_plane.route import Route
from serval.errors import VersionHeld
from serval.models.lifecycle import Status
from serval.models.tables import Cache, Model, Share, Version
from serval.users.tables import User


class RoutedVersion(NamedTuple):
    """A version that can be asked for, and its model. Not the rows themselves: all of them are read whenever one
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
    held: dict[str, str] | None = None
    """Why it waits for its promotion: `code` and `message`."""

    @property
    def is_held(self) -> bool:
        """Whether it answers nobody; the live version does whatever was recorded of it."""
        return self.held is not None and self.number != self.live

    def is_called(self, reference: str, user_id: str | None) -> bool:
        """Whether a user means its model by an id, a name of their own or `owner/name`."""
        names = {self.model, f"{self.owner_username}/{self.name}"}
        return reference in names or (reference == self.name and user_id == self.owner)

    def check_released(self) -> None:
        """Raises VersionHeld, which says why it is held."""
        if self.held is not None and self.is_held:
            path = f"/api/v1/models/{self.model}"
            raise VersionHeld(
                f"Version {self.number} is held: {self.held['message']} Those who manage the model can test it "
                f"(`POST {path}/test?version={self.number}`) and promote it "
                f"(`POST {path}/versions/{self.number}/promote`); until then it answers no predictions.",
                extra={"held": self.held},
            )

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


Versions = dict[int, RoutedVersion]
"""The versions of a model that were ready once, by number; at least one."""


async def find_routed(session: AsyncSession) -> dict[str, Versions]:
    """Return by model the versions that were ready once: one in quarantine keeps its route, so that its callers learn
    why."""
    query = (
        select(
            Version.id, Version.number, Version.status, Version.failure,
            Model.id, Model.name, Model.owner_id, User.username, Model.live,
            Model.cache, Model.cache_ttl_seconds, Model.cache_l2_ttl_seconds, Version.held,
        )
        .join_from(Version, Model)
        .join(User, User.id == Model.owner_id)
        .where(Model.deleted_at.is_(None), Version.ready_at.is_not(None), Version.lifecycle != "archived")
    )  # fmt: skip
    models: defaultdict[str, Versions] = defaultdict(dict)
    for row in await session.execute(query):
        version = RoutedVersion(*row)
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


async def find_live(session: AsyncSession) -> list[str]:
    """Return the ids of all live versions that can be loaded."""
    query = (
        select(Version.id)
        .join(Model)
        .where(Model.live == Version.number, Model.deleted_at.is_(None), Version.status == "ready")
    )
    return list(await session.scalars(query.order_by(Version.id)))


async def find_named(session: AsyncSession, version_ids: Sequence[str]) -> list[str]:
    """Return those of the versions whose columns have names."""
    has_names = Version.signature["has_names"].as_boolean()
    query = select(Version.id).where(Version.id.in_(version_ids), Version.status == "ready", has_names.is_(True))
    return list(await session.scalars(query.order_by(Version.id)))


def live_version(versions: Versions) -> RoutedVersion | None:
    """Return the live version of a model, where it has one."""
    model = next(iter(versions.values()))
    return None if model.live is None else versions.get(model.live)


def answering_version(
    versions: Versions, before_id: str | None, is_loaded: Callable[[str], bool]
) -> RoutedVersion | None:
    """Return the version that answers until the live one is loaded: the one that has answered so far, where it is
    loaded and still routed, else the live one."""
    before = next((version for version in versions.values() if version.id == before_id), None)
    return before if before is not None and is_loaded(before.id) else live_version(versions)


def route_of(versions: Versions, answering: RoutedVersion | None, audience: Audience) -> Route:
    """Return the route of a model, which leads to the answering version unless another one is asked for. No route leads
    to a version that is held."""
    model = next(iter(versions.values()))
    return Route(
        model=model.model,
        name=model.name,
        owner=model.owner,
        owner_username=model.owner_username,
        live=None if answering is None else answering.number,
        versions={number: version.id for number, version in versions.items() if not version.is_held},
        aliases={},
        cache=model.cache,
        cache_ttl_seconds=model.cache_ttl_seconds,
        cache_l2_ttl_seconds=model.cache_l2_ttl_seconds,
        is_public=audience.is_public,
        shared_with=audience.users,
    )
