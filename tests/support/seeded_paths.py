"""Lets schemathesis ask, most of the time, for models and versions that are there."""

from typing import Any

import schemathesis

LIVE = ("iris", "diabetes", "failed")


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: dict[str, Any]) -> dict[str, Any]:
    chance = sum(str(path_parameters).encode()) % 4
    if not path_parameters or not chance:
        return path_parameters
    is_deletion = context.operation is not None and context.operation.method.lower() == "delete"
    there = {"model": "doomed" if is_deletion else LIVE[chance - 1], "owner": "admin", "number": 1}
    return {name: there.get(name, value) for name, value in path_parameters.items()}
