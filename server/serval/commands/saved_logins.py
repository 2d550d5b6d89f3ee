"""The keys of `serval login`, one for each server, in a file of the user's configuration folder."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from serval.commands.failure import CommandFailed
from serval.commands.files import written_whole


class SavedLogin(NamedTuple):
    """A key that a login made, for one server."""

    username: str
    key: str
    key_id: str
    expires_at: str | None


def logins_file() -> Path | None:
    """`serval/logins.json` in `$XDG_CONFIG_HOME`, or in `~/.config`; None where there is no home directory."""
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    try:
        folder = configured if configured.is_absolute() else Path.home() / ".config"
    except RuntimeError:
        return None
    return folder / "serval" / "logins.json"


def login_at(url: str) -> SavedLogin | None:
    """The login at a server; None: there is none. Raises CommandFailed if the file cannot be read."""
    file = logins_file()
    return None if file is None else read_logins(file).get(address_key(url))


def last_address() -> str | None:
    """The address of the last login; None: there is none. Raises CommandFailed if the file cannot be read."""
    file = logins_file()
    return None if file is None else next(reversed(read_logins(file)), None)


def address_key(url: str) -> str:
    """An address as the file has it: host names have no case."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.lower()).geturl()


def read_logins(file: Path) -> dict[str, SavedLogin]:
    """Logins by address. Raises CommandFailed if the file cannot be read."""
    try:
        stored: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return {url: SavedLogin(**login) for url, login in stored.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CommandFailed(f"`{file}` cannot be read: {(error.strerror or '').lower()}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CommandFailed(f"`{file}` is damaged: delete it and log in again with `serval login`") from error


def save_login(url: str, login: SavedLogin | None) -> Path:
    """Keep the login at a server in place of an earlier one; None: keep none. Returns the file, which only its owner
    can read. Raises CommandFailed if it cannot be written."""
    file = logins_file()
    if file is None:
        raise CommandFailed("there is no home directory for the file of logins: set `XDG_CONFIG_HOME` to a folder")
    saved = read_logins(file)
    saved.pop(address_key(url), None)
    if login is not None:
        saved[address_key(url)] = login
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with written_whole(file) as opened:
            opened.write(json.dumps({address: each._asdict() for address, each in saved.items()}, indent=2).encode())
    except OSError as error:
        raise CommandFailed(f"`{file}` cannot be written: {(error.strerror or '').lower()}") from error
    return file
