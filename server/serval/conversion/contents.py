"""What an upload holds: one model, or a model among other things, of which none is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serval.conversion.file_kinds import SAVE
from serval.conversion.joining import CannotJoin, Consecutive, Joined, Part, Parts, join, parts_of
from serval.conversion.plain_text import plain
from serval.errors import NotAModel

MAX_NAMED = 8


def predictor(content: Any) -> Any:
    """The object itself if it is an estimator. Raises NotAModel for containers, data and classes, with what to save
    instead."""
    if isinstance(content, type):
        raise NotAModel(
            f"The file holds the class `{content.__name__}`, not a fitted object: save what"
            f" `{content.__name__}(...).fit(X, y)` returns."
        )
    if hasattr(content, "predict") or hasattr(content, "fit"):
        return content
    if not isinstance(content, Mapping | list | tuple):
        raise NotAModel(f"The file holds a `{plain(type(content).__name__, 100)}`, not a model: {SAVE}.")
    parts = parts_of(content)
    if not parts.models:
        raise NotAModel(f"The file holds {_description(content)}, and no model among them: {SAVE}.")
    raise NotAModel(f"The file holds {_description(content)}: {_advice(content, parts)}.")


def joined(content: Any) -> Any:
    """The one predictor that the parts of a file make. Raises NotAModel for a file of one object, and for parts that
    only their owner can join."""
    if not isinstance(content, Mapping | list | tuple):
        raise NotAModel("The file holds one object: there is nothing to join.")
    parts = parts_of(content)
    if not parts.models:
        raise NotAModel(f"The file holds {_description(content)}, and no model among them: there is nothing to join.")
    try:
        return join(parts).model
    except CannotJoin as reason:
        raise NotAModel(f"The file holds {_description(content)}: {plain(str(reason), 1200)}.") from reason


def _description(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = [f"`{plain(repr(key), 60)}`" for key in list(content)[:MAX_NAMED]]
        return f"a dict with the keys {', '.join(keys)}" + (", ..." if len(content) > MAX_NAMED else "")
    kinds = [f"`{plain(type(each).__name__, 60)}`" for each in content[:MAX_NAMED]]
    named = ", ".join(kinds) + (", ..." if len(content) > MAX_NAMED else "")
    if isinstance(content, Consecutive):
        return f"{len(content)} objects, one after the other ({named})"
    return f"a {type(content).__name__} of {len(content)} objects ({named})"


def _advice(content: Any, parts: Parts) -> str:
    try:
        whole = join(parts)
    except CannotJoin as reason:
        return plain(str(reason), 1200)
    beside = [*parts.transformers, *parts.label_encoders]
    if whole.lines == [parts.models[0].path]:
        return f"save `{whole.lines[-1]}` alone ({_lines(content, whole)}){_left_out([*beside, *parts.others])}"
    named = " and ".join(f"`{part.path}`" for part in beside)
    return (
        f"`{parts.models[0].path}` alone would be served without {named}. Join them, which fits nothing again:"
        f" {_lines(content, whole)}{_left_out(parts.others)}"
    )


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
