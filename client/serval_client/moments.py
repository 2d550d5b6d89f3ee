"""Dates and timestamps that a sample has as text, as the model was fitted on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?)?",
)
"""A date, or a timestamp whose offset may be missing."""
OFFSET = r":.*(?:[Zz]|[+-]\d{2}:\d{2})$"


class Known(NamedTuple):
    """The values that the encoders of a model were fitted on."""

    texts: set[str]
    dates: set[str]
    naive: set[Any]
    instants: set[Any]


def as_fitted(model: Any, table: Any) -> tuple[Any, Any]:
    """A frame from text twice: its dates and timestamps as the encoders of a model know them, and besides those that no
    encoder knows, also the columns that may be text for all that is known, as timestamps."""
    columns = {name: instants_of(table[name]) for name in table.columns}
    columns = {name: instants for name, instants in columns.items() if instants is not None}
    if not columns:
        return table, table
    known = known_to(model)
    surely: dict[Any, Any] = {}
    perhaps: dict[Any, Any] = {}
    for name, instants in columns.items():
        texts, naive = table[name], instants.dt.tz_localize(None)
        if not known.texts.isdisjoint(texts.dropna()):
            continue
        if not known.naive.isdisjoint(naive.dropna()):
            surely[name] = naive
        elif not known.instants.isdisjoint(instants.dropna()):
            surely[name] = instants
        elif not known.dates.isdisjoint(texts.dropna().str[:10]):
            surely[name] = naive.dt.date.astype(object).where(naive.notna(), None)
        else:
            perhaps[name] = instants if texts.dropna().str.contains(OFFSET).all() else naive
    return table.assign(**surely), table.assign(**surely, **perhaps)


def instants_of(texts: Any) -> Any:
    """A series of RFC 3339 text as instants in UTC; None if some of it is anything else, or all of it is missing."""
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    given = texts.dropna()
    if not len(given) or not all(isinstance(text, str) and RFC3339.fullmatch(text) for text in given):
        return None
    try:
        moments = [pd.Timestamp(text) for text in given]
    except ValueError:  # such as the 30th of February
        return None
    utc = [moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC") for moment in moments]
    return pd.Series(pd.DatetimeIndex(utc), index=given.index).reindex(texts.index)


def known_to(model: Any) -> Known:
    import pandas as pd

    known = Known(set(), set(), set(), set())
    for values in categories_of(model, set()):
        for value in values:
            if isinstance(value, str):
                known.texts.add(value)
            elif isinstance(value, date) and not isinstance(value, datetime):
                known.dates.add(value.isoformat())
            elif isinstance(value, datetime) or type(value).__name__ == "datetime64":
                moment = pd.Timestamp(value)
                if moment.tzinfo is None:
                    known.naive.add(moment)
                else:
                    known.instants.add(moment.tz_convert("UTC"))
    return known


def categories_of(thing: Any, seen: set[int]) -> Iterator[Any]:
    """The categories of each column of each encoder in a fitted model."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, (list, tuple)):
        parts = list(thing)
    elif isinstance(thing, dict):
        parts = list(thing.values())
    elif hasattr(thing, "get_params") and not isinstance(thing, type):
        parts = list(vars(thing).values())
        found = getattr(thing, "categories_", None)
        yield from found if isinstance(found, list) else []
    else:
        return
    for part in parts:
        yield from categories_of(part, seen)
