"""`serval user`: people, for administrators."""

import sys
from typing import Any
from urllib.parse import quote

import rich_click as click

from serval.commands.remote import Remote, remote

COLUMNS = {
    "id": "id",
    "username": "username",
    "email": "address",
    "role": "role",
    "subscription_tier": "plan",
    "is_disabled": "disabled",
    "last_login_at": "last login",
}


@click.group()
def user() -> None:
    """Make, list and change users; who asks must be an administrator."""


@user.command()
@click.argument("email")
@click.option("--username", help="What the user is called; derived from the address by default.")
@click.option("--name", "full_name", default="", help="Full name.")
@click.option("--admin", is_flag=True, help="Make an administrator.")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; by default one is generated and shown.",
)
@click.option("--password-hash", help="Argon2 or bcrypt hash of an account from elsewhere.")
@remote
def create(
    here: Remote,
    email: str,
    username: str | None,
    full_name: str,
    admin: bool,
    password_stdin: bool,
    password_hash: str | None,
) -> None:
    """Make an account for EMAIL and show its password this once."""
    if password_stdin and password_hash:
        raise click.UsageError("--password-stdin and --password-hash exclude each other.")
    password = None if password_hash else _password(from_input=password_stdin)
    body = {"email": email, "full_name": full_name, "username": username, "role": "admin" if admin else "user"}
    made = here.api.post("/api/v1/users", body | {"password": password, "password_hash": password_hash})
    shown = made if password_stdin or password_hash else made | {"password": password}
    here.show(shown, lambda: _print_made(shown))


@user.command("list")
@click.option("--search", help="Part of a name or address.")
@remote
def list_users(here: Remote, search: str | None) -> None:
    """List users."""
    query = f"&search={quote(search)}" if search else ""
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = here.api.get(f"/api/v1/users?limit=500{query}" + (f"&cursor={cursor}" if cursor else ""))
        items, cursor = items + page["items"], page["next"]
    here.show({"items": items}, lambda: here.table(items, COLUMNS))


@user.command()
@click.argument("who")
@remote
def disable(here: Remote, who: str) -> None:
    """End WHO's logins and close their keys. WHO: an id, a username or an address."""
    changed = here.api.post(f"{_path(who)}/disable", {})
    here.show(changed, lambda: click.echo(f"{changed['username']} is disabled"))


@user.command()
@click.argument("who")
@remote
def enable(here: Remote, who: str) -> None:
    """Let WHO in again."""
    changed = here.api.post(f"{_path(who)}/enable", {})
    here.show(changed, lambda: click.echo(f"{changed['username']} is enabled"))


@user.command("set-role")
@click.argument("who")
@click.argument("role", type=click.Choice(["admin", "user"]))
@remote
def set_role(here: Remote, who: str, role: str) -> None:
    """Make WHO an administrator, or a user again."""
    changed = here.api.patch(_path(who), {"role": role})
    here.show(changed, lambda: click.echo(f"{changed['username']} is {changed['role']}"))


@user.command("set-plan")
@click.argument("who")
@click.argument("tier")
@remote
def set_plan(here: Remote, who: str, tier: str) -> None:
    """Put WHO on the plan TIER of the settings (`plans`)."""
    changed = here.api.patch(_path(who), {"subscription_tier": tier})
    here.show(changed, lambda: click.echo(f"{changed['username']} is on {changed['subscription_tier']}"))


@user.command("reset-password")
@click.argument("who")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; by default one is generated and shown.",
)
@remote
def reset_password(here: Remote, who: str, password_stdin: bool) -> None:
    """Give WHO another password and end their logins."""
    reset = here.api.post(f"{_path(who)}/password", {"password": _password(from_input=True)} if password_stdin else {})
    shown = {"username": reset["username"]} if password_stdin else reset
    here.show(shown, lambda: _print_made(shown))


def _path(who: str) -> str:
    return f"/api/v1/users/{quote(who, safe='')}"


def _password(*, from_input: bool) -> str:
    from serval.auth.passwords import generate_password

    return sys.stdin.readline().rstrip("\r\n") if from_input else generate_password()


def _print_made(shown: dict[str, Any]) -> None:
    for field in ("username", "email", "password"):
        if shown.get(field) is not None:
            click.echo(f"{field}: {shown[field]}")
