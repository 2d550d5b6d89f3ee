"""`serval key`: manages API keys."""

from datetime import UTC, datetime
from typing import Any

import rich_click as click

from serval.commands.failure import CommandFailed
from serval.commands.pages import all_items
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
@click.option("--rate", help="Rate limit of predictions: 100/min, 5/s; 5 is 5/s; by default that of its user.")
@click.option("--quota", type=click.IntRange(min=0), help="Limit of predictions per calendar month (UTC).")
@click.option("--user", hidden=True, expose_value=False, callback=lambda *given: refuse_user(given[2]))
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
    server.show(created, lambda: print_created(created))


def refuse_user(user: str | None) -> None:
    """Raises UsageError if a user is given."""
    if user is not None:
        raise click.UsageError(
            f"Only `{user}` can create a key of `{user}`, so that nobody else ever sees it: they run `serval login` and"
            f" then `serval key create`. If they have lost their password, `serval user reset-password {user}`."
        )


@key.command("list")
@click.option("--user", help="Id or username of the user whose keys to list, for administrators.")
@remote
def list_keys(server: Remote, user: str | None) -> None:
    """List your keys, newest first."""
    listed = {"items": all_keys(server, user)}
    server.show(listed, lambda: server.table(map(as_row, listed["items"]), COLUMNS))


def all_keys(server: Remote, user: str | None) -> list[dict[str, Any]]:
    """The keys of a user, by default of the caller."""
    return all_items(server, "/api/v1/api-keys", {} if user is None else {"user": user})


def as_row(key: dict[str, Any]) -> dict[str, Any]:
    """A key as a row of the table, its lists comma-separated."""
    return key | {name: None if key[name] is None else ", ".join(key[name]) for name in ("scopes", "models")}


@key.command()
@click.argument("reference", metavar="KEY")
@click.option(
    "--overlap", type=click.IntRange(min=0), help="Seconds for which the old key stays valid; by default a day."
)
@remote
def rotate(server: Remote, reference: str, overlap: int | None) -> None:
    """Replace KEY by a new one, which is shown only once. KEY: an id, a name, or how the key starts (srv_...)."""
    key_id = id_of(server, reference, may_be_rotated=False)
    created = server.api.post(
        f"/api/v1/api-keys/{key_id}/rotate", {} if overlap is None else {"overlap_seconds": overlap}
    )
    server.show(created, lambda: print_created(created))


@key.command()
@click.argument("reference", metavar="KEY")
@click.option("--user", help="Id or username of the user whose key it is, for administrators.")
@remote
def revoke(server: Remote, reference: str, user: str | None) -> None:
    """Revoke KEY immediately. KEY: an id, a name, or how the key starts (srv_...)."""
    key_id = id_of(server, reference, user)
    server.api.delete(f"/api/v1/api-keys/{key_id}")
    server.show({"id": key_id, "revoked": True}, lambda: click.echo(f"{key_id} is revoked"))


def id_of(server: Remote, reference: str, user: str | None = None, *, may_be_rotated: bool = True) -> str:
    """The id of a key by its id, its name or the start of its text, of the valid keys of a user.

    `may_be_rotated`: whether a key that has a successor counts too. Raises CommandFailed where it is none or several.
    """
    if reference.startswith("key_"):
        return reference
    valid = [each for each in all_keys(server, user) if is_valid(each) and (may_be_rotated or not each["replaced_by"])]
    found = [each for each in valid if each["name"] == reference] or [
        each for each in valid if len(reference) >= len(each["prefix"]) and reference.startswith(each["prefix"])
    ]
    if len(found) == 1:
        return str(found[0]["id"])
    if not found:
        raise CommandFailed(f"there is no valid key `{reference}`; `serval key list` shows ids, names and starts")
    ids = ", ".join(f"`{each['id']}` (starts with {each['prefix']})" for each in found)
    raise CommandFailed(f"`{reference}` names {len(found)} keys: give the id of one, {ids}")


def is_valid(key: dict[str, Any]) -> bool:
    """Whether a key is neither revoked nor expired."""
    is_expired = key["expires_at"] is not None and datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC)
    return key["revoked_at"] is None and not is_expired


def print_created(created: dict[str, Any]) -> None:
    """The key alone on standard output, for `$(serval key create ...)`; what else is known of it on standard error."""
    click.echo(created["key"])
    until = "does not expire" if created["expires_at"] is None else f"expires on {created['expires_at'][:10]}"
    click.echo(f"serval: this is shown only once; the key is {created['id']} and {until}", err=True)
