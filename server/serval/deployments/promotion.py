"""Whether a version may become the live one: decided by values alone."""

from typing import Any, NamedTuple

from serval.errors import Conflict, SchemaChanged
from serval.models.lifecycle import Lifecycle, Status


class Candidate(NamedTuple):
    """A version that has just been converted, as the rules see it."""

    number: int
    takes_other_columns: bool
    """Than the live version."""
    allows_schema_change: bool
    unproven: str | None
    """Why its report does not prove enough, where it does not."""


def check_promotable(number: int, status: Status, lifecycle: Lifecycle) -> None:
    """Raise Conflict where a version may not answer predictions."""
    if status != "ready":
        raise Conflict(f"Version {number} is `{status}`: only a `ready` version can be promoted.")
    if lifecycle == "archived":
        raise Conflict(f"Version {number} is archived: upload it again.")


def hold_reason(version: Candidate, live: int | None) -> dict[str, str] | None:
    """Return the code and the message of why a converted version is not promoted by itself. `live`: the number of the
    live version."""
    if version.unproven is not None:
        return {"code": "unproven", "message": version.unproven}
    if live is not None and live > version.number:
        return {
            "code": "superseded",
            "message": f"Version {live}, which was uploaded later, was live before this one was ready.",
        }
    if version.takes_other_columns and not version.allows_schema_change:
        return {"code": SchemaChanged.code, "message": schema_changed(version.number).message}
    return None


def takes_other_columns(signature: dict[str, Any] | None, live: dict[str, Any] | None) -> bool:
    """Whether the inputs of two signatures differ by name, kind or order."""
    return _inputs(signature) != _inputs(live)


def schema_changed(number: int) -> SchemaChanged:
    return SchemaChanged(
        f"Version {number} takes other columns than the live version, so requests that work today would fail; it is "
        "ready, but not live. Promote it with `allow_schema_change` when its callers know."
    )


def _inputs(signature: dict[str, Any] | None) -> list[tuple[str, str]]:
    return [(column["name"], column["kind"]) for column in (signature or {}).get("columns", [])]
