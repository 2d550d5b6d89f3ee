"""Names of the columns of a model that was fitted without any, given to a version after its upload."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from serval.conversion.plain_text import plain, why_not_served
from serval.errors import BadRequest, Conflict, SchemaChanged
from serval.models.tables import Version


def name_columns(version: Version, names: Sequence[str]) -> None:
    """Give names to the columns of a ready version, in their order, and to its example. Raises BadRequest, Conflict
    where it has names of its own or is not ready."""
    if version.status != "ready" or version.signature is None:
        raise Conflict(
            f"Version {version.number} is `{version.status}`: only the columns of a `ready` one can be named."
        )
    signature = version.parsed_signature
    if signature.has_names:
        raise Conflict(
            f"The columns of version {version.number} have names already, which requests use: upload the model again to"
            " give it others."
        )
    _check(names, len(signature.columns))
    columns = tuple(
        msgspec.structs.replace(column, name=name) for column, name in zip(signature.columns, names, strict=True)
    )
    named = msgspec.structs.replace(signature, columns=columns, has_names=True)
    version.signature = msgspec.to_builtins(named)
    if version.held is not None and version.held["code"] == SchemaChanged.code:
        version.held = {
            "code": SchemaChanged.code,
            "message": f"Version {version.number} took other columns than the live version when it was uploaded; they "
            "were named since. It is ready, but not live: promote it.",
        }
    if version.example is not None:
        version.example = {"input": named.by_name(version.example["input"])}


def _check(names: Sequence[str], count: int) -> None:
    if len(names) != count:
        raise BadRequest(f"`columns`: {len(names)} names for a version that takes {count} columns.")
    for index, name in enumerate(names):
        if not name:
            raise BadRequest(f"`columns[{index}]`: is empty.")
        if problem := why_not_served(name):
            raise BadRequest(f"`columns[{index}]`: the name `{plain(name, 40)}` {problem}.")
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise BadRequest(f"`columns`: `{plain(twice, 40)}` is there twice.")
