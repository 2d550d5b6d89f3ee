"""Creates the first administrator."""

import os
from pathlib import Path

from sqlalchemy import select

from serval.auth import key_format
from serval.auth.caller import SCOPES
from serval.db.engine import Database, now
from serval.ids import new_id
from serval.users.key_rows import new_row
from serval.users.tables import ApiKey, User


async def ensure_administrator(database: Database, key_file: Path) -> bool:
    """Create the first administrator where there is none with a key, and write the key to `key_file` (mode 0600).

    Returns whether the file was written. Raises DatabaseUnavailable.
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
    # The file comes first: a crash in between leaves a key that is not valid, and the next start makes another.
    secret = key_format.new_key()
    _write_private(key_file, secret + "\n")
    async with database.write() as session:
        session.add(new_row(admin_id, "first key", secret, now(), scopes=SCOPES))
    return True


def _write_private(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
