"""Secrets that all replicas share: created by the first replica that needs one, and stored in the database."""

import secrets
from contextlib import suppress

from sqlalchemy import LargeBinary, String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from serval.db.base import CreatedAt, Table
from serval.db.engine import Database

SECRET_BYTES = 32


class Secret(Table):
    """Random bytes under a name."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary(SECRET_BYTES))
    created_at: Mapped[CreatedAt]


async def shared_secret(database: Database, name: str) -> bytes:
    """Return the 32 random bytes of a name, the same for every replica. Raises DatabaseUnavailable."""
    query = select(Secret.content).where(Secret.name == name)
    async with database.read() as session:
        content = await session.scalar(query)
    if content is not None:
        return content
    with suppress(IntegrityError):  # another replica was first
        async with database.write() as session:
            session.add(Secret(name=name, content=secrets.token_bytes(SECRET_BYTES)))
    async with database.read() as session:
        return (await session.scalars(query)).one()
