"""What commands print for people: names, labels and categories may be any text, which must not steer the terminal."""

from typing import Any

import rich_click as click

from serval.conversion.plain_text import escaped


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
