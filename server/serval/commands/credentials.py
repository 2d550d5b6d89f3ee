"""Which key a command sends: the one given, that of the server of this folder, or that of a login."""

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

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
    address: str | None = None
    """The base URL of the only server that it may be sent to."""


def find_key(given: Credential | None, data_dir: str | None, url: str, *, is_url_given: bool) -> Credential:
    """The key for a server: as given, of the server that runs in the data folder, of the login at its address.

    The administrator's key of a data folder goes to the server that runs in it and to no other.

    Raises UsageError where the address given is another one and nothing says which key is for it; CannotStart if there
    is no key, or a file cannot be read.
    """
    if given is not None:
        return given
    folder = data_folder(data_dir)
    running = running_server(folder)
    if running is not None and is_same_server(running, url):
        return administrators_key(folder)._replace(address=address_of_same(running, url))
    login = login_at(url) if data_dir is None else None
    if login is not None:
        return Credential(login.key, f"the login of `{login.username}` in `{logins_file()}`", is_login=True)
    if not is_url_given:
        raise CannotStart(
            f"no API key: no server runs in the data folder `{folder}`, and its `{ADMIN_KEY}` is for no other server;"
            f" start it with `serval serve`, or name a server with `--url` and {NO_KEY_HINT}"
        )
    here = "none runs there" if running is None else f"that is {running}"
    raise click.UsageError(
        f"no API key for `{host_of(url)}`: {NO_KEY_HINT}. `{folder / ADMIN_KEY}` is sent by itself only to the server"
        f" that runs in its folder ({here})."
    )


def administrators_key(folder: Path) -> Credential:
    """Raises CannotStart if the file cannot be read."""
    path = folder / ADMIN_KEY
    try:
        return Credential(path.read_text(encoding="ascii").strip(), f"`{path}`")
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise CannotStart(f"no API key: `{path}` cannot be read ({reason}); {NO_KEY_HINT}") from error


def is_same_server(running: str, url: str) -> bool:
    """Whether an address is that of a running server; the names of this machine's own addresses are one."""
    ours, theirs = urlsplit(running), urlsplit(url)
    if (ours.scheme, port_of(ours)) != (theirs.scheme, port_of(theirs)):
        return False
    return ours.hostname == theirs.hostname or (is_loopback(host_of(running)) and is_loopback(host_of(url)))


def address_of_same(running: str, url: str) -> str:
    """The address to call a running server at that was called `url`: at another address of this machine, which
    `localhost` may stand for too, another server can have its port. With TLS the name counts, which is verified."""
    ours = urlsplit(running)
    return url if ours.scheme == "https" else urlsplit(url)._replace(netloc=ours.netloc).geturl()


def port_of(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def data_folder(data_dir: str | None) -> Path:
    from serval.settings.reading import surroundings, typed

    return typed(surroundings({"data_dir": data_dir})).data_dir


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
