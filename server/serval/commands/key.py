"""`serval key`: manages API keys."""

from typing import Any

import rich_click as click

from serval.commands.remote import Remote, remote

COLUMNS = {
    "id": "id",
    "name": "name",
    "prefix": "starts with",
    "scopes": "scopes",
    "models": "models",
    "used_this_month": "predictions",
    "monthly_quota": "quota",
    "predict_rate": "rate",
    "last_used_at": "last used",
    "created_at": "created",
    "expires_at": "expires",
    "revoked_at": "revoked",
}
"""Field → heading; `predictions` and `quota` are per month."""


@click.group()
def key() -> None:
    """Create, list, rotate and revoke API keys."""


@key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="Scope: predict, models:read, models:write or admin; by default all but admin. Repeatable.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Id, name or owner/name of a model that it may use; by default all. Repeatable.",
)
@click.option(
    "--expires-in-days",
    "--days",
    "days",
    type=click.IntRange(1, 36500),
    help="Days until it expires; by default never.",
)
@click.option("--rate", help="Rate limit of predictions: 100/min, 5/s; by default that of its user.")
@click.option("--quota", type=click.IntRange(min=0), help="Limit of predictions per calendar month (UTC).")
@remote
def create(
    server: Remote,
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    days: int | None,
    rate: str | None,
    quota: int | None,
) -> None:
    """Create a key called NAME. It is shown only once."""
    body = {
        "name": name,
        "scopes": list(scopes) or None,
        "models": list(models) or None,
        "expires_in_days": days,
        "predict_rate": rate,
        "monthly_quota": quota,
    }
    created = server.api.post("/api/v1/api-keys", body)
    server.show(created, lambda: click.echo(created["key"]))


@key.command("list")
@click.option("--user", help="Id or username of the user whose keys to list, for administrators.")
@remote
def list_keys(server: Remote, user: str | None) -> None:
    """List your keys, newest first."""
    listed = {"items": all_keys(server, user)}
    server.show(listed, lambda: server.table(map(as_row, listed["items"]), COLUMNS))


def all_keys(server: Remote, user: str | None) -> list[dict[str, Any]]:
    """The keys of all pages."""
    items: list[dict[str, Any]] = []
    query: dict[str, str] = {"limit": "500"} | ({} if user is None else {"user": user})
    while True:
        page = server.api.get("/api/v1/api-keys", query)
        items += page["items"]
        if page["next"] is None:
            return items
        query["cursor"] = page["next"]


def as_row(key: dict[str, Any]) -> dict[str, Any]:
    """A key as a row of the table, its lists comma-separated."""
    return key | {name: None if key[name] is None else ", ".join(key[name]) for name in ("scopes", "models")}


@key.command()
@click.argument("key_id")
@click.option(
    "--overlap", type=click.IntRange(min=0), help="Seconds for which the old key stays valid; by default a day."
)
@remote
def rotate(server: Remote, key_id: str, overlap: int | None) -> None:
    """Replace the key KEY_ID by a new one. It is shown only once."""
    created = server.api.post(
        f"/api/v1/api-keys/{key_id}/rotate", {} if overlap is None else {"overlap_seconds": overlap}
    )
    server.show(created, lambda: click.echo(created["key"]))


@key.command()
@click.argument("key_id")
@remote
def revoke(server: Remote, key_id: str) -> None:
    """Revoke the key KEY_ID immediately."""
    server.api.delete(f"/api/v1/api-keys/{key_id}")
    server.show({"id": key_id, "revoked": True}, lambda: click.echo(f"{key_id} is revoked"))
