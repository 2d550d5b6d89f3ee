"""`serval user`: manages users, for administrators."""

import sys
from typing import Any
from urllib.parse import quote

import rich_click as click

from serval.commands.pages import all_items
from serval.commands.remote import Remote, remote

COLUMNS = {
    "id": "id",
    "username": "username",
    "email": "address",
    "role": "role",
    "subscription_tier": "plan",
    "stored_bytes": "stored bytes",
    "is_disabled": "disabled",
    "last_login_at": "last login",
}


@click.group()
def user() -> None:
    """Create, list and change users: administrators all of them, others their own account as `me`."""


@user.command()
@click.argument("email")
@click.option("--username", help="Username; by default derived from the address.")
@click.option("--name", "full_name", default="", help="Full name.")
@click.option("--admin", is_flag=True, help="Make an administrator.")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; by default it is generated and shown.",
)
@click.option("--password-hash", help="Argon2 or bcrypt hash of an account from another system.")
@remote
def create(
    server: Remote,
    email: str,
    username: str | None,
    full_name: str,
    admin: bool,
    password_stdin: bool,
    password_hash: str | None,
) -> None:
    """Create an account for EMAIL and show its password once."""
    if password_stdin and password_hash:
        raise click.UsageError("--password-stdin and --password-hash are mutually exclusive.")
    password = None if password_hash else _password(from_input=password_stdin)
    body = {"email": email, "full_name": full_name, "username": username, "role": "admin" if admin else "user"}
    created = server.api.post("/api/v1/users", body | {"password": password, "password_hash": password_hash})
    shown = created if password_stdin or password_hash else created | {"password": password}

    def as_text() -> None:
        _print_created(shown)
        click.echo("\nTo log in, they run:")
        click.echo(f"  serval login --url {server.api.url} --email {created['email']}")
        click.echo("  serval whoami")

    server.show(shown, as_text)


@user.command("list")
@click.option("--search", help="Part of a name or address.")
@remote
def list_users(server: Remote, search: str | None) -> None:
    """List users."""
    items = all_items(server, "/api/v1/users", {"search": search} if search else {})
    server.show({"items": items}, lambda: server.table(items, COLUMNS))


@user.command()
@click.argument("reference", metavar="WHO")
@remote
def show(server: Remote, reference: str) -> None:
    """Show the account of WHO."""
    found = server.api.get(_path(reference))
    server.show(found, lambda: server.facts(found))


@user.command()
@click.argument("reference", metavar="WHO")
@click.option("--email", help="New e-mail address.")
@click.option("--name", "full_name", help="New full name.")
@remote
def update(server: Remote, reference: str, email: str | None, full_name: str | None) -> None:
    """Change the address or the name of WHO; `me` is your own account."""
    given = {"email": email, "full_name": full_name}
    body = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise click.UsageError("Give `--email` or `--name`.")
    changed = server.api.patch(_path(reference), body)
    server.show(changed, lambda: click.echo(f"{changed['username']} is changed"))


@user.command("change-password")
@remote
def change_password(server: Remote) -> None:
    """Change your own password and end your other logins.

    Asks for both passwords on a terminal; else reads two lines of standard input, the current and the new one.
    """
    current, new = (_secret(what) for what in ("Current password", "New password"))
    server.api.post("/api/v1/users/me/password", {"current_password": current, "new_password": new})
    server.show({"changed": True}, lambda: click.echo("the password is changed"))


@user.command()
@click.argument("reference", metavar="WHO")
@remote
def disable(server: Remote, reference: str) -> None:
    """Disable WHO: end their logins and refuse their keys. WHO: an id, a username or an address."""
    changed = server.api.post(f"{_path(reference)}/disable", {})
    server.show(changed, lambda: click.echo(f"{changed['username']} is disabled"))


@user.command()
@click.argument("reference", metavar="WHO")
@remote
def enable(server: Remote, reference: str) -> None:
    """Enable WHO again."""
    changed = server.api.post(f"{_path(reference)}/enable", {})
    server.show(changed, lambda: click.echo(f"{changed['username']} is enabled"))


@user.command("set-role")
@click.argument("reference", metavar="WHO")
@click.argument("role", type=click.Choice(["admin", "user"]))
@remote
def set_role(server: Remote, reference: str, role: str) -> None:
    """Change the role of WHO."""
    changed = server.api.patch(_path(reference), {"role": role})
    server.show(changed, lambda: click.echo(f"{changed['username']} is {changed['role']}"))


@user.command("set-plan")
@click.argument("reference", metavar="WHO")
@click.argument("tier")
@remote
def set_plan(server: Remote, reference: str, tier: str) -> None:
    """Move WHO to the plan TIER of the settings (`plans`)."""
    changed = server.api.patch(_path(reference), {"subscription_tier": tier})
    server.show(changed, lambda: click.echo(f"{changed['username']} is on {changed['subscription_tier']}"))


@user.command("reset-password")
@click.argument("reference", metavar="WHO")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; by default it is generated and shown.",
)
@remote
def reset_password(server: Remote, reference: str, password_stdin: bool) -> None:
    """Reset the password of WHO and end their logins."""
    reset = server.api.post(
        f"{_path(reference)}/password", {"password": _password(from_input=True)} if password_stdin else {}
    )
    shown = {"username": reset["username"]} if password_stdin else reset
    server.show(shown, lambda: _print_created(shown))


def _path(reference: str) -> str:
    return f"/api/v1/users/{quote(reference, safe='')}"


def _secret(what: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, confirmation_prompt=what == "New password", err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _password(*, from_input: bool) -> str:
    from serval.auth.passwords import generate_password

    return sys.stdin.readline().rstrip("\r\n") if from_input else generate_password()


def _print_created(shown: dict[str, Any]) -> None:
    for field in ("username", "email", "password"):
        if shown.get(field) is not None:
            click.echo(f"{field}: {shown[field]}")
