"""Which key a command sends: the one given, that of the server of this folder, or that of a login."""

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import rich_click as click

from serval.commands.saved_logins import login_at, logins_file
from serval.errors import CannotStart
from serval.process.locks import running_server
from serval.settings.addresses import is_loopback

ADMIN_KEY = "admin.key"
NO_KEY_HINT = "log in with `serval login`, or give a key with `--key` or `SERVAL_KEY`"


class Credential(NamedTuple):
    """A key, and where it comes from in words."""

    key: str
    source: str
    is_login: bool = False


def find_key(given: Credential | None, data_dir: str | None, url: str, *, is_url_given: bool) -> Credential:
    """The key for a server: as given, of the server of the data folder, of the login at its address.

    Raises UsageError where the address given is another machine's and nothing says which key is for it; CannotStart
    if a file cannot be read.
    """
    if given is not None:
        return given
    if data_dir is None and running_server(data_folder(None)) != url:
        login = login_at(url)
        if login is not None:
            return Credential(login.key, f"the login of `{login.username}` in `{logins_file()}`", is_login=True)
        if is_url_given and not is_loopback(host_of(url)):
            raise click.UsageError(
                f"no API key for `{host_of(url)}`: {NO_KEY_HINT}, or name the data folder of that server with"
                " `--data-dir`."
            )
    return administrators_key(data_dir)


def administrators_key(data_dir: str | None) -> Credential:
    """Raises CannotStart if the file cannot be read."""
    path = data_folder(data_dir) / ADMIN_KEY
    try:
        return Credential(path.read_text(encoding="ascii").strip(), f"`{path}`")
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise CannotStart(f"no API key: `{path}` cannot be read ({reason}); {NO_KEY_HINT}") from error


def data_folder(data_dir: str | None) -> Path:
    from serval.settings.reading import surroundings, typed

    return typed(surroundings({"data_dir": data_dir})).data_dir


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
