"""The states of a version and the moves between them."""

from typing import Literal

from serval.errors import Conflict

Status = Literal["pending", "converting", "verifying", "ready", "failed"]
Lifecycle = Literal["active", "deprecated", "archived"]

UNDER_WAY: frozenset[Status] = frozenset({"pending", "converting", "verifying"})

_NEXT_STATUS: dict[Status, frozenset[Status]] = {
    "pending": frozenset({"converting", "failed"}),
    "converting": frozenset({"verifying", "failed", "pending"}),
    "verifying": frozenset({"ready", "failed", "pending"}),
    "ready": frozenset({"failed"}),
    "failed": frozenset(),
}

_NEXT_LIFECYCLE: dict[Lifecycle, frozenset[Lifecycle]] = {
    "active": frozenset({"deprecated", "archived"}),
    "deprecated": frozenset({"active", "archived"}),
    "archived": frozenset(),
}


def advance(before: Status, after: Status) -> Status:
    """Return `after`, where the move is allowed. Raises Conflict."""
    if after not in _NEXT_STATUS[before]:
        raise Conflict(f"A version that is `{before}` cannot become `{after}`.")
    return after


def retire(before: Lifecycle, after: Lifecycle, *, is_live: bool) -> Lifecycle:
    """Return the lifecycle after a move asked for by the owner. Raises Conflict."""
    if after == before:
        return after
    if after == "archived" and is_live:
        raise Conflict("The live version cannot be archived: promote another version first.")
    if after not in _NEXT_LIFECYCLE[before]:
        raise Conflict(f"A version that is `{before}` cannot become `{after}`.")
    return after
