"""Messages about invalid parts of a request: those of msgspec, with what would be valid instead."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import inspect

from serval.settings.plans import RATE

PLAIN_TEXT = "^[^\\x00]*$"
"""Text without U+0000, which PostgreSQL cannot store."""

PATTERN_DESCRIPTIONS = {
    PLAIN_TEXT: "text without U+0000",
    RATE: "a rate as `1000/s`, `100/min`, `5/h` or `10/day`, or `unlimited`",
}
"""Describes texts that match a pattern."""

MAX_QUOTED_LENGTH = 40
"""Characters of a request that a message repeats at most."""

_STEP = re.compile(r"\.(?P<name>[^.\[\]`]+)|\[(?P<index>[^\]]*)\]")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_NO_MEMBER = re.compile(r"Invalid enum value (?P<value>.*)", re.DOTALL)


def sentence(message: str, kind: Any, where: str = "$") -> str:
    """Return a message of msgspec so that it says what would be right.

    `kind`: the annotation that a value was converted to. `where`: the path of the part within it, as `$.items[0]`.
    """
    if (pattern := next((each for each in PATTERN_DESCRIPTIONS if message.endswith(repr(each))), None)) is not None:
        return f"Expected {PATTERN_DESCRIPTIONS[pattern]}"
    if message == "Invalid RFC3339 encoded datetime":
        return "Expected a date and time as `2026-11-20T12:00:00Z`"
    if unknown := _UNKNOWN_FIELD.fullmatch(message):
        return _about_unknown_field(unknown["name"], list(_fields(kind, where)))
    if (invalid := _NO_MEMBER.fullmatch(message)) and (members := dict.fromkeys(_members(kind, where))):
        return f"Expected one of {', '.join(f'`{each}`' for each in members)}, got {shortened(invalid['value'])}"
    return message


def _about_unknown_field(name: str, fields: list[str]) -> str:
    takes = f"; known are {listed(fields)}" if fields else ""
    return f"Object contains unknown field `{shortened(name)}`{did_you_mean(name, fields)}{takes}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean `version`?)`, or nothing where no known name is near."""
    near = difflib.get_close_matches(name.casefold(), known, n=1) if len(name) <= 100 else []
    return f" (did you mean `{near[0]}`?)" if near else ""


def listed(names: Iterable[object]) -> str:
    """Return names as `a`, `b` and `c`."""
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}" if others else last


def shortened(text: str) -> str:
    """Return a piece of a request as a message may repeat it."""
    return text if len(text) <= MAX_QUOTED_LENGTH else f"{text[: MAX_QUOTED_LENGTH - 1]}…"


def _fields(kind: Any, where: str) -> Iterator[str]:
    for node in _nodes_at(kind, where):
        if isinstance(node, inspect.StructType):
            yield from (field.encode_name for field in node.fields)


def _members(kind: Any, where: str) -> Iterator[object]:
    for node in _nodes_at(kind, where):
        if isinstance(node, inspect.LiteralType):
            yield from node.values
        elif isinstance(node, inspect.EnumType):
            yield from (member.value for member in node.cls)


def _nodes_at(kind: Any, where: str) -> list[inspect.Type]:
    """Return the types that stand at a path within a type."""
    nodes = list(_alternatives(inspect.type_info(kind)))
    for step in _STEP.finditer(where):
        nodes = [below for node in nodes for child in _children(node, step["name"]) for below in _alternatives(child)]
    return nodes


def _alternatives(node: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(node, inspect.Metadata):
        yield from _alternatives(node.type)
    elif isinstance(node, inspect.UnionType):
        for each in node.types:
            yield from _alternatives(each)
    else:
        yield node


def _children(node: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    """Return the types below one: of the field of that name, or without a name of any item."""
    if isinstance(node, inspect.StructType):
        yield from (field.type for field in node.fields if field.encode_name == name)
    elif isinstance(node, inspect.CollectionType):
        yield node.item_type
    elif isinstance(node, inspect.DictType):
        yield node.value_type
