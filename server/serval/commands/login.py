"""`serval login`, `logout` and `whoami`: a key for a person, made with the password and kept for one server."""

import functools
import itertools
import os
import platform
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import rich_click as click

from serval.commands.credentials import data_folder, is_same_server
from serval.commands.failure import CommandFailed, RequestFailed
from serval.commands.output import say, show
from serval.commands.remote import URL_HELP, Api, Remote, address, remote
from serval.commands.saved_logins import SavedLogin, login_at, save_login
from serval.process.locks import running_server

SCOPES = ("predict", "models:read", "models:write", "admin")
"""Of the key of a login: all that the user may do. `admin` is for their own account and its keys."""


def for_a_server(function: Callable[..., None]) -> Callable[..., None]:
    """Adds `--url` and `--json` to a command that needs no key; it gets the address as its first argument."""

    @click.option(
        "--url",
        envvar="SERVAL_URL",
        show_envvar=True,
        help=URL_HELP,
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @functools.wraps(function)
    def with_address(url: str | None, **options: Any) -> None:
        function(address(url, None), **options)

    return with_address


@click.command()
@click.option("--email", "account", help="E-mail address or username; asked for on a terminal.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    help="Days until the login expires, and all keys made with it; by default never.",
)
@for_a_server
def login(url: str, account: str | None, password_stdin: bool, days: int | None, as_json: bool) -> None:
    """Log in to a server, so that commands find a key of your own for it.

    The password makes an API key, which is kept in a file that only you can read, until `serval logout`.
    """
    account = account or asked("E-mail address or username", "--email")
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else asked("Password", "--password-stdin")
    with closing(Api(url, None)) as api:
        named = {"email" if "@" in account else "username": account}
        tokens = api.post("/api/v1/auth/login", named | {"password": password})
    with closing(Api(url, None, token=tokens["access_token"])) as api:
        user = api.get("/api/v1/auth/me")
        key = key_of_login(api, days)
        api.post("/api/v1/auth/logout", {"refresh_token": tokens["refresh_token"]})
    before = login_at(url)
    file = save_login(url, SavedLogin(user["username"], key["key"], key["id"], key["expires_at"]))
    if before is not None:
        with suppress(CommandFailed):  # it may have expired, or been revoked
            revoke(url, before)

    def as_text() -> None:
        until = "" if key["expires_at"] is None else f" until {key['expires_at'][:10]}"
        say(f"logged in to {url} as {user['username']}{until}; the key is in {file}")

    shown = {"url": url, "username": user["username"], "key_id": key["id"], "expires_at": key["expires_at"]}
    show(shown | {"file": str(file)}, as_text, as_json=as_json)
    if first := what_comes_first(url):
        sys.stderr.write(f"serval: commands here still use {first}, which comes before a login\n")


def key_of_login(api: Api, days: int | None) -> dict[str, Any]:
    """A new key, named after this machine; with a number where a login here, or another one, has the name."""
    base = f"serval login on {platform.node()}"[:90]
    names = itertools.chain([base], (f"{base} ({number})" for number in itertools.count(2)))
    while True:
        body = {"name": next(names), "scopes": list(SCOPES), "expires_in_days": days}
        try:
            key: dict[str, Any] = api.post("/api/v1/api-keys", body)
        except RequestFailed as error:
            if error.problem.get("code") != "name_taken":
                raise
        else:
            return key


def what_comes_first(url: str) -> str | None:
    """What else commands in this folder send to this server; None: nothing else."""
    if os.environ.get("SERVAL_KEY"):
        return "the key in `SERVAL_KEY`"
    folder = data_folder(None)
    running = running_server(folder)
    return None if running is None or not is_same_server(running, url) else f"the administrator's key in `{folder}`"


def asked(what: str, option: str) -> str:
    """What is typed in on a terminal. Raises UsageError where there is none."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"There is no terminal to ask for it: give `{option}`.")
    return str(click.prompt(what, hide_input=what == "Password", err=True))


@click.command()
@click.option("--forget", is_flag=True, help="Do not ask the server to revoke the key, such as one that is gone.")
@for_a_server
def logout(url: str, forget: bool, as_json: bool) -> None:
    """Log out of a server: revoke the key of the login and forget it."""
    saved = login_at(url)
    if saved is None:
        raise CommandFailed(f"you are not logged in to {url}")
    if not forget:
        try:
            revoke(url, saved)
        except RequestFailed as error:
            if error.problem.get("status") != 401:  # else it has expired, or was revoked
                raise
    save_login(url, None)
    shown = {"url": url, "username": saved.username, "revoked": not forget}
    show(shown, lambda: say(f"logged out of {url}"), as_json=as_json)


def revoke(url: str, saved: SavedLogin) -> None:
    """Revoke the key of a login with itself."""
    with closing(Api(url, saved.key)) as api:
        api.delete(f"/api/v1/api-keys/{saved.key_id}")


@click.command()
@remote
def whoami(server: Remote) -> None:
    """Show as whom commands act here, at which server, and where the key comes from."""
    user = server.api.get("/api/v1/auth/me")

    def as_text() -> None:
        say(f"{user['username']} ({user['email'] or 'no e-mail address'}), {user['role']}")
        say(f"storage {user['stored_bytes']} bytes of models")
        say(f"server  {server.api.url}")
        say(f"key     from {server.key_source}")

    server.show(user | {"url": server.api.url, "key_source": server.key_source}, as_text)
