"""`serval key`: the API keys of the caller."""

from typing import Any

import rich_click as click

from serval.commands.remote import Remote, remote

COLUMNS = {
    "id": "id",
    "name": "name",
    "prefix": "starts with",
    "scopes": "for",
    "models": "models",
    "used_this_month": "predictions",
    "monthly_quota": "quota",
    "predict_rate": "rate",
    "last_used_at": "last used",
    "created_at": "made",
    "expires_at": "expires",
    "revoked_at": "revoked",
}
"""Field → heading; `predictions` and `quota` are of a month."""


@click.group()
def key() -> None:
    """Make, list, rotate and revoke API keys."""


@key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="What it is for: predict, models:read, models:write or admin; all but admin by default. Repeat it.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Id, name or owner/name of a model that it is for; all by default. Repeat it.",
)
@click.option(
    "--expires-in-days",
    "--days",
    "days",
    type=click.IntRange(1, 36500),
    help="Days until it expires; never by default.",
)
@click.option("--rate", help="Predictions that it may make: 100/min, 5/s. As many as its user by default.")
@click.option("--quota", type=click.IntRange(min=0), help="Predictions that it may make in a calendar month (UTC).")
@remote
def create(
    here: Remote,
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    days: int | None,
    rate: str | None,
    quota: int | None,
) -> None:
    """Make a key called NAME. It is shown this once."""
    asked = {
        "name": name,
        "scopes": list(scopes) or None,
        "models": list(models) or None,
        "expires_in_days": days,
        "predict_rate": rate,
        "monthly_quota": quota,
    }
    made = here.api.post("/api/v1/api-keys", asked)
    here.show(made, lambda: click.echo(made["key"]))


@key.command("list")
@click.option("--user", help="For administrators: id or username of whose keys to list.")
@remote
def list_keys(here: Remote, user: str | None) -> None:
    """List your keys, newest first."""
    found = {"items": all_keys(here, user)}
    here.show(found, lambda: here.table(map(as_row, found["items"]), COLUMNS))


def all_keys(here: Remote, user: str | None) -> list[dict[str, Any]]:
    """The keys of all pages."""
    items: list[dict[str, Any]] = []
    query: dict[str, str] = {"limit": "500"} | ({} if user is None else {"user": user})
    while True:
        page = here.api.get("/api/v1/api-keys", query)
        items += page["items"]
        if page["next"] is None:
            return items
        query["cursor"] = page["next"]


def as_row(found: dict[str, Any]) -> dict[str, Any]:
    """A key for the table, with its lists in words."""
    return found | {name: None if found[name] is None else ", ".join(found[name]) for name in ("scopes", "models")}


@key.command()
@click.argument("key_id")
@click.option(
    "--overlap", type=click.IntRange(min=0), help="Seconds that the old key goes on opening things; a day by default."
)
@remote
def rotate(here: Remote, key_id: str, overlap: int | None) -> None:
    """Make the key that takes over from KEY_ID. It is shown this once."""
    made = here.api.post(f"/api/v1/api-keys/{key_id}/rotate", {} if overlap is None else {"overlap_seconds": overlap})
    here.show(made, lambda: click.echo(made["key"]))


@key.command()
@click.argument("key_id")
@remote
def revoke(here: Remote, key_id: str) -> None:
    """Revoke the key with the id KEY_ID, at once."""
    here.api.delete(f"/api/v1/api-keys/{key_id}")
    here.show({"id": key_id, "revoked": True}, lambda: click.echo(f"{key_id} is revoked"))
