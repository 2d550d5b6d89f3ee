"""What commands print for people: names, labels and categories may be any text, which must not steer the terminal."""

import rich_click as click

from serval.conversion.plain_text import escaped


def say(line: str) -> None:
    """Print one line."""
    click.echo(escaped(line))


def escaped_lines(message: str) -> str:
    """A message that may have several lines."""
    return "\n".join(map(escaped, message.split("\n")))
