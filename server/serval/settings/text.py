"""Settings as text: what a setting accepts, how values are written, sizes with units, `.env` lines."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta

from serval.errors import CannotStart

KIB, MIB, GIB = 2**10, 2**20, 2**30
UNITS = MappingProxyType({"": 1, "B": 1, "KIB": KIB, "MIB": MIB, "GIB": GIB, "KB": 10**3, "MB": 10**6, "GB": 10**9})


def read_bytes(text: str) -> str | int:
    """`256 MiB` → 268435456; text that is no size is returned as it is, for the conversion to refuse."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in UNITS:
        return text
    return int(float(match[1]) * UNITS[match[2].upper()])


def in_units(count: int) -> str:
    """268435456 → `256 MiB`."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return str(count)


def shown(name: str, value: object) -> str:
    """Return a value as it is written in a settings file, without passwords."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | dict):
        return ", ".join(value) or "none"
    if isinstance(value, int) and name.endswith("_bytes"):
        return in_units(value)
    return f"{value:g}" if isinstance(value, float) else masked(str(value))


def masked(text: str) -> str:
    """Return a URL without its password; other text as it is."""
    return re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", text)


def accepts(name: str, hint: Any) -> str:
    """Describe what a setting accepts."""
    base = bare_type(hint)
    if get_origin(base) is tuple:
        return "comma-separated list"
    if get_origin(base) is dict:
        return "JSON by name"
    if name.endswith("_rate"):
        return "a rate, as `1000/s`, `100/min` or `unlimited`"
    if get_origin(base) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in get_args(base))
    words = {bool: "`true` or `false`", int: "a whole number", float: "a number", Path: "a path", str: "text"}[base]
    if name.endswith("_bytes"):
        words = "a size, as `1048576` or `1 MiB`"
    elif name.endswith("_url"):
        words = (
            "a URL as "
            + {"database_url": "`postgresql://`", "redis_url": "`redis://`", "cache_url": "`redis://`"}[name]
        )
    return f"{words}{bounds(name, hint)}"


def bounds(name: str, hint: Any) -> str:
    least = next((meta.ge for meta in metas(hint) if meta.ge), None)
    most = next((meta.le for meta in metas(hint) if meta.le is not None), None)
    above = next((meta.gt for meta in metas(hint) if meta.gt is not None), None)
    if most is not None:
        return f" from {least or 0} to {most}"
    if above is not None:
        return f" above {above}"
    return f", at least {shown(name, least)}" if least else ""


def metas(hint: Any) -> Iterator[Meta]:
    if get_origin(hint) is Annotated:
        yield from (extra for extra in hint.__metadata__ if isinstance(extra, Meta))
    elif get_origin(hint) in {UnionType, Union}:
        for choice in get_args(hint):
            yield from metas(choice)


def bare_type(hint: Any) -> Any:
    """Return the type inside `Annotated` and `| None`."""
    if get_origin(hint) is Annotated:
        return bare_type(get_args(hint)[0])
    if get_origin(hint) in {UnionType, Union}:
        return next(bare_type(choice) for choice in get_args(hint) if choice is not NoneType)
    return hint


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean `{close[0]}`?" if close else "; `serval serve --help` lists them all"


def read_dotenv(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; comments, `export` and quotes are allowed. Raises CannotStart for any other line."""
    values = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = text.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise CannotStart(f"line {number} of `{path}` is not `NAME=value`")
        values[name.strip()] = unquoted(value.strip())
    return values


def unquoted(value: str) -> str:
    """Return the value of a `.env` line without its quotes, or without the comment after it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return re.sub(r"\s+#.*$", "", value)
