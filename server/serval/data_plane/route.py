"""Routes: which version of a model answers whom."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

import msgspec


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A model and the versions of it that may answer."""

    model: str
    """Id."""
    name: str
    owner: str
    """User id."""
    owner_username: str
    live: int | None
    """The number of the version that answers."""
    versions: Mapping[int, str]
    """Number → version id, of those that may answer."""
    aliases: Mapping[str, int]
    cache: Literal["off", "l1", "l2", "auto"]
    """The cache levels that are used: `l2` asks the second one for every call, `auto` for those that cost more than the
    round trip."""
    cache_ttl_seconds: float | None
    """None takes the default, 0 turns the first level off."""
    cache_l2_ttl_seconds: float | None
    is_public: bool
    """Everybody may ask it, and all who ask share its cached rows."""
    shared_with: AbstractSet[str]
    """User ids of others who may ask it."""
