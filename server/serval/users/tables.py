"""The tables of people and their API keys."""

from datetime import datetime
from typing import Literal

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from serval.db.base import CreatedAt, Moment, Table

Role = Literal["admin", "user"]


class User(Table):
    """A person; `username` is the `owner` in `owner/name`."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    username: Mapped[str] = mapped_column(String(50), unique=True)
    role: Mapped[Role] = mapped_column(String(10))
    created_at: Mapped[CreatedAt]


class ApiKey(Table):
    """A key for programs. Only its SHA-256 is kept; `prefix` is what a person recognises it by."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]
    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)

    def is_valid(self, at: datetime) -> bool:
        """Whether the key opens anything at a moment."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)
