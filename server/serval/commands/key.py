"""`serval key`: the API keys of the caller."""

import rich_click as click

from serval.commands.remote import Remote, remote


@click.group()
def key() -> None:
    """Make, list and revoke API keys."""


@key.command()
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 36500), help="Days until it expires; never by default.")
@remote
def create(here: Remote, name: str, days: int | None) -> None:
    """Make a key called NAME. It is shown this once."""
    made = here.api.post("/api/v1/api-keys", {"name": name, "expires_in_days": days})
    here.show(made, lambda: click.echo(made["key"]))


@key.command("list")
@remote
def list_keys(here: Remote) -> None:
    """List your keys."""
    found = here.api.get("/api/v1/api-keys")
    columns = {"id": "id", "name": "name", "prefix": "starts with", "created_at": "made", "expires_at": "expires", "revoked_at": "revoked"}
    here.show(found, lambda: here.table(found["items"], columns))


@key.command()
@click.argument("key_id")
@remote
def revoke(here: Remote, key_id: str) -> None:
    """Revoke the key with the id KEY_ID, at once."""
    here.api.delete(f"/api/v1/api-keys/{key_id}")
    here.show({"id": key_id, "revoked": True}, lambda: click.echo(f"{key_id} is revoked"))
