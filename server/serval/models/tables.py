"""The tables of models and their versions."""

from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, relationship

from serval.conversion.signature import Signature
from serval.db.base import CreatedAt, Json, Moment, Table
from serval.models.access import Permission
from serval.models.lifecycle import Lifecycle, Status
from serval.users.tables import User
from serval.work.queue import WorkTable

Cache = Literal["off", "l1", "l2", "auto"]
"""The levels of the cache that a model uses; `auto`: the second one where it pays."""
_EVERYBODY = text("user_id IS NULL")
_NOT_DELETED = text("deleted_at IS NULL")


class Model(Table):
    """A name that answers predictions; `live` is the number of the version that answers."""

    __tablename__ = "models"
    __table_args__ = (
        Index(None, "owner_id", "name", unique=True, sqlite_where=_NOT_DELETED, postgresql_where=_NOT_DELETED),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(50))
    description: Mapped[str] = mapped_column(Text)
    live: Mapped[int | None]
    previous: Mapped[int | None]
    """The version that was live before, for a roll-back."""
    cache: Mapped[Cache] = mapped_column(String(4), default="auto", server_default="auto")
    cache_ttl_seconds: Mapped[float | None]
    cache_l2_ttl_seconds: Mapped[float | None]
    created_at: Mapped[CreatedAt]
    deleted_at: Mapped[Moment | None]
    owner: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class Share(Table):
    """Others who may use a model."""

    __tablename__ = "shares"
    __table_args__ = (
        UniqueConstraint("model_id", "user_id"),
        Index(
            "uq_shares_model_id_everybody",
            "model_id",
            unique=True,
            sqlite_where=_EVERYBODY,
            postgresql_where=_EVERYBODY,
        ),
        Index(None, "user_id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    """None: all users."""
    permission: Mapped[Permission] = mapped_column(String(10))
    created_at: Mapped[CreatedAt]
    model: Mapped[Model] = relationship(lazy="joined", innerjoin=True)
    user: Mapped[User | None] = relationship(lazy="joined")


class Version(WorkTable):
    """One uploaded file and what became of it."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model_id", "number"), Index(None, "status"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int]
    status: Mapped[Status] = mapped_column(String(12))
    lifecycle: Mapped[Lifecycle] = mapped_column(String(12))
    failure: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Of a failed version, or a ready one that cannot be loaded: `code` and `message`."""
    held: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Why a ready version did not go live by itself: `code` and `message`."""
    filename: Mapped[str] = mapped_column(String(255))
    source_bytes: Mapped[int] = mapped_column(BigInteger)
    source_sha256: Mapped[str] = mapped_column(String(64))
    request: Mapped[dict[str, Any]] = mapped_column(Json)
    """What the upload said besides the file: columns, sample, options."""
    attempts: Mapped[int]
    """Conversions begun and not ended: after three of them the version has failed, for it takes the process down."""
    signature: Mapped[dict[str, Any] | None] = mapped_column(Json)
    report: Mapped[dict[str, Any] | None] = mapped_column(Json)
    example: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """A real row, as a request body."""
    onnx_bytes: Mapped[int | None] = mapped_column(BigInteger)
    onnx_sha256: Mapped[str | None] = mapped_column(String(64))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """What its files take on disk; 0 after they were deleted."""
    created_at: Mapped[CreatedAt]
    ready_at: Mapped[Moment | None]
    failed_at: Mapped[Moment | None]
    model: Mapped[Model] = relationship(lazy="joined", innerjoin=True)

    @property
    def parsed_signature(self) -> Signature:
        """The signature of a version that is ready."""
        return msgspec.convert(self.signature, Signature)

    @property
    def is_live(self) -> bool:
        return self.model.live == self.number

    @property
    def is_held(self) -> bool:
        """Whether it answers nobody; the live version does whatever was recorded of it."""
        return self.held is not None and not self.is_live


async def set_stored_bytes(session: AsyncSession, version: Version, size_bytes: int) -> None:
    """Record what the files of a version take; its model's owner has as many more, or fewer."""
    await add_stored_bytes(session, version.model.owner_id, size_bytes - version.stored_bytes)
    version.stored_bytes = size_bytes


async def add_stored_bytes(session: AsyncSession, user_id: str, size_bytes: int) -> None:
    """Add to what the files of a user take; less where negative."""
    query = update(User).where(User.id == user_id).values(stored_bytes=User.stored_bytes + size_bytes)
    await session.execute(query.execution_options(synchronize_session=False))
