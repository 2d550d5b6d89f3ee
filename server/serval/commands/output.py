"""What commands print for people: names, labels and categories may be any text, which must not steer the terminal."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import rich_click as click

from serval.conversion.plain_text import escaped

UNITS = (
    ("years", 31_557_600),
    ("months", 2_629_800),
    ("days", 86_400),
    ("hours", 3600),
    ("minutes", 60),
    ("seconds", 1),
)
"""The seconds of each, the largest first; the mean of years and months."""


def show(answer: object, as_text: Callable[[], None], *, as_json: bool) -> None:
    """Print an answer as JSON for programs, or as `as_text` prints it for people."""
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(answer, enc_hook=str))
    else:
        as_text()


def distance(moment: datetime, now: datetime) -> str:
    """`3 days ago` or `in 3 days`, in the largest unit of which there are at least two."""
    seconds = abs((now - moment).total_seconds())
    count, unit = next(((int(seconds // size), unit) for unit, size in UNITS if seconds >= 2 * size), (0, ""))
    if not unit:
        return "just now" if moment <= now else "now"
    return f"{count} {unit} ago" if moment <= now else f"in {count} {unit}"


def say(line: str) -> None:
    """Print one line."""
    click.echo(escaped(line))


def escaped_lines(message: str) -> str:
    """A message that may have several lines."""
    return "\n".join(map(escaped, message.split("\n")))


def tables_of(answer: dict[str, Any]) -> list[list[tuple[str, float | None]]]:
    """For each target the labels and their probabilities, of the answer for one row; empty where it has none."""
    tables, classes = answer.get("probabilities"), answer.get("classes")
    if tables is None:
        return []
    if not isinstance(answer["prediction"], list):
        tables, classes = [tables], classes and [classes]
    if classes is None:
        return [list(table.items()) for table in tables]
    return [list(zip(map(as_text, known), table, strict=True)) for known, table in zip(classes, tables, strict=True)]


def as_text(value: object) -> str:
    import msgspec

    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
