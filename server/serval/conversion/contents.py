"""What an upload holds: one model, or a model among other things, of which none is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serval.conversion.joining import CannotJoin, Consecutive, Joined, Part, Parts, join, parts_of
from serval.conversion.plain_text import plain
from serval.conversion.refusals import of_files
from serval.errors import ServalError

MAX_NAMED = 8


def predictor(content: Any) -> Any:
    """The object itself if it is an estimator. Raises NotAModel for containers, data and classes, with what to save
    instead."""
    if isinstance(content, type):
        raise of_files.A_CLASS(name=plain(content.__name__, 100))
    if hasattr(content, "predict") or hasattr(content, "fit"):
        return content
    if not isinstance(content, Mapping | list | tuple):
        raise of_files.NO_MODEL(type=plain(type(content).__name__, 100))
    parts = parts_of(content)
    if not parts.models:
        raise of_files.NO_MODEL_AMONG(content=_description(content))
    raise _advice(content, parts)


def joined(content: Any) -> Any:
    """The one predictor that the parts of a file make. Raises NotAModel for a file of one object, and for parts that
    only their owner can join."""
    if not isinstance(content, Mapping | list | tuple):
        raise of_files.NOTHING_TO_JOIN(content="one object")
    parts = parts_of(content)
    if not parts.models:
        raise of_files.NOTHING_TO_JOIN(content=f"{_description(content)}, and no model among them")
    try:
        return join(parts).model
    except CannotJoin as reason:
        raise _apart(content, reason) from reason


def _description(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = [f"`{plain(repr(key), 60)}`" for key in list(content)[:MAX_NAMED]]
        return f"a dict with the keys {', '.join(keys)}" + (", ..." if len(content) > MAX_NAMED else "")
    kinds = [f"`{plain(type(each).__name__, 60)}`" for each in content[:MAX_NAMED]]
    named = ", ".join(kinds) + (", ..." if len(content) > MAX_NAMED else "")
    if isinstance(content, Consecutive):
        return f"{len(content)} objects, one after the other ({named})"
    return f"a {type(content).__name__} of {len(content)} objects ({named})"


def _apart(content: Any, reason: CannotJoin) -> ServalError:
    return reason.kind(content=_description(content), **reason.values)


def _advice(content: Any, parts: Parts) -> ServalError:
    """How to join the parts, or why that cannot be done here."""
    try:
        whole = join(parts)
    except CannotJoin as reason:
        return _apart(content, reason)
    beside = [*parts.transformers, *parts.label_encoders]
    given = {"content": _description(content), "path": parts.models[0].path, "lines": _lines(content, whole)}
    if whole.lines == [parts.models[0].path]:
        return of_files.MODEL_AND_MORE(**given, left_out=_left_out([*beside, *parts.others]))
    named = " and ".join(f"`{part.path}`" for part in beside)
    return of_files.MODEL_AND_STEPS(**given, beside=named, left_out=_left_out(parts.others))


def _lines(content: Any, whole: Joined) -> str:
    """What to run: each line in backticks."""
    *changes, last = whole.lines
    if isinstance(content, Consecutive) and content.is_compressed:
        return "`serval check FILE --join joined.pkl`"
    load = ["saved = joblib.load(path)"]
    if isinstance(content, Consecutive):
        load = [f'with open(path, "rb") as file: saved = [joblib.load(file) for _ in range({len(content)})]']
    lines = [*load, *changes, f'joblib.dump({last}, "joined.joblib")']
    return ", ".join(f"`{plain(line, 400)}`" for line in lines) + "; or `serval check FILE --join joined.pkl`"


def _left_out(others: list[Part]) -> str:
    if not others:
        return ""
    named = ", ".join(f"`{plain(part.path, 60)}`" for part in others[:MAX_NAMED])
    return f". What else it holds is not served: {named}"
