"""`serval history`: what was predicted."""

from typing import Any

import rich_click as click

from serval.commands.output import as_text
from serval.commands.pages import all_items, moment
from serval.commands.remote import Remote, remote

COLUMNS = {
    "created_at": "time",
    "model": "model",
    "version": "version",
    "rows": "rows",
    "predictions": "predictions",
    "probabilities": "probabilities",
    "inputs": "inputs",
    "cache": "cache",
    "latency_ms": "ms",
    "id": "id",
}


@click.command()
@click.argument("model", required=False)
@click.option("--version", type=click.IntRange(min=1), help="Only of this version.")
@click.option("--since", callback=moment, metavar="TIME", help="From this time on: RFC 3339, or a date (UTC).")
@click.option("--until", callback=moment, metavar="TIME", help="Earlier than this time.")
@click.option("--limit", type=click.IntRange(min=1), default=100, help="At most so many; by default 100.")
@remote
def history(server: Remote, /, limit: int, **filters: str | int | None) -> None:
    """List past predictions of MODEL, newest first; without MODEL those of all that you own or manage.

    A prediction appears about a second after its response. Of many rows the first ones are shown.
    """
    query = {name: str(value) for name, value in filters.items() if value is not None}
    items = all_items(server, "/api/v1/predictions", query, limit)
    server.show({"items": items}, lambda: server.table(map(as_row, items), COLUMNS))


def as_row(prediction: dict[str, Any]) -> dict[str, Any]:
    """A prediction as a row of the table, its lists as text."""
    lists = ("predictions", "probabilities", "inputs")
    texts = {name: ", ".join(map(as_text, prediction[name] or [])) for name in lists}
    return prediction | texts | {"latency_ms": f"{prediction['latency_ms']:.3g}"}
