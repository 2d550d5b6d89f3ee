"""`serval audit`: who did what, and when."""

import sys
from typing import Any

import rich_click as click

from serval.commands.pages import all_items, moment
from serval.commands.remote import Remote, remote

COLUMNS = {
    "at": "time",
    "actor": "actor",
    "action": "action",
    "subject": "subject",
    "outcome": "outcome",
    "address": "address",
    "details": "details",
}


@click.command()
@click.option("--actor", help="Username or id of who acted.")
@click.option("--action", help="Action, or a prefix such as `key.`; a wrong one is refused with the list.")
@click.option("--subject", help="Id of the thing, or its name at the time; of a model owner/name, or one of yours.")
@click.option("--outcome", type=click.Choice(["success", "failure"]), help="Only these.")
@click.option("--since", callback=moment, metavar="TIME", help="From this time on: RFC 3339, or a date (UTC).")
@click.option("--until", callback=moment, metavar="TIME", help="Earlier than this time.")
@click.option("--limit", type=click.IntRange(min=1), default=100, help="At most so many; by default 100.")
@click.option("--csv", "as_csv", is_flag=True, help="Write all that match as CSV, whatever the limit.")
@remote
def audit(server: Remote, /, limit: int, as_csv: bool, **filters: str | None) -> None:
    """List entries of the audit trail, newest first: your own actions and those on your things.

    Administrators see all. It needs a login, or a key with the scope admin.
    """
    query = {name: value for name, value in filters.items() if value is not None}
    if as_csv:
        if server.as_json:
            raise click.UsageError("`--csv` and `--json` are mutually exclusive.")
        with server.api.reading("/api/v1/audit", query | {"format": "csv"}) as parts:
            sys.stdout.buffer.writelines(parts)
        return
    items = all_items(server, "/api/v1/audit", query, limit)
    server.show({"items": items}, lambda: server.table(map(as_row, items), COLUMNS))


def as_row(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as a row of the table, its details as `name=value`."""
    details = ", ".join(f"{name}={value}" for name, value in (entry["details"] or {}).items())
    return entry | {"details": details, "outcome": None if entry["outcome"] == "success" else entry["outcome"]}
