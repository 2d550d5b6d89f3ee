"""The prefix under which a proxy shows the server: `/serval`, or nothing.

The proxy takes it off the path of each request; Serval puts it before the addresses that it writes.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, cast

_STATE_KEY = "root_path"


def set_root_path(scope: MutableMapping[str, Any], root_path: str) -> None:
    """Note the prefix of a request."""
    scope.setdefault("state", {})[_STATE_KEY] = root_path


def root_path_of(scope: Mapping[str, object]) -> str:
    """Return the prefix of a request, empty where there is none."""
    return str(cast(Mapping[str, object], scope.get("state", {})).get(_STATE_KEY, ""))
