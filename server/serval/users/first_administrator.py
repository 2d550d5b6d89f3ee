"""Creates the first administrator."""

import os
from pathlib import Path

from sqlalchemy import select

from serval.auth import key_format
from serval.auth.caller import SCOPES
from serval.db.engine import Database, now
from serval.errors import CannotStart
from serval.ids import new_id
from serval.users.key_rows import new_row
from serval.users.tables import ApiKey, User


async def ensure_administrator(database: Database, key_file: Path) -> bool:
    """Create the first administrator where there is none with a key, and write the key to `key_file` (mode 0600); a key
    that is there already stays and is theirs.

    Returns whether an administrator got a key. Raises CannotStart where the file holds something else,
    DatabaseUnavailable.
    """
    async with database.read() as session:
        admin_id = await session.scalar(select(User.id).where(User.role == "admin").order_by(User.id).limit(1))
        has_key = admin_id and await session.scalar(select(ApiKey.id).where(ApiKey.user_id == admin_id).limit(1))
    if has_key:
        return False
    if admin_id is None:
        admin_id = new_id("usr")
        async with database.write() as session:
            session.add(User(id=admin_id, username="admin", role="admin", created_at=now()))
    # The file comes first: after a crash in between, the next start takes the key from it.
    secret = _stored(key_file) or _write_private(key_file, key_format.new_key())
    async with database.write() as session:
        session.add(new_row(admin_id, "first key", secret, now(), scopes=SCOPES))
    return True


def _stored(path: Path) -> str | None:
    """The key in a file. Raises CannotStart where it holds none."""
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"`{path}` cannot be read ({error}), and its database has no administrator") from error
    if not key_format.is_key(secret):
        raise CannotStart(f"`{path}` holds no key of Serval, and its database has no administrator: move it away")
    return secret


def _write_private(path: Path, secret: str) -> str:
    """Write a key whole or not at all. Returns the key."""
    whole = path.with_name(f"{path.name}.new")
    whole.unlink(missing_ok=True)
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{secret}\n")
        file.flush()
        os.fsync(file.fileno())
    whole.rename(path)
    return secret
