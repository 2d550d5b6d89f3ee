"""The table of the audit trail."""

from typing import Any, Literal, get_args

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from serval.db.base import Json, Moment, Table

Outcome = Literal["success", "failure"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class AuditEntry(Table):
    """One act. The database refuses to change a row; ids begin with the time, so their order is its order."""

    __tablename__ = "audit"
    __table_args__ = (
        Index(None, "owner_id", "id"),
        Index(None, "actor_id", "id"),
        Index(None, "actor", "id"),
        Index(None, "subject_id", "id"),
        Index(None, "subject", "id"),
        Index(None, "action", "outcome", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[Moment]
    actor_id: Mapped[str | None] = mapped_column(String(40))
    """User id; None: an unauthenticated client, or the server itself."""
    actor: Mapped[str] = mapped_column(String(254))
    """Username; of a failed login the name that it gave."""
    credential_id: Mapped[str | None] = mapped_column(String(40))
    """Id of the key or the session."""
    action: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[str | None] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    """Name of the resource at the time."""
    owner_id: Mapped[str | None] = mapped_column(String(40))
    """User id of the owner of the resource, who may see the entry."""
    outcome: Mapped[Outcome] = mapped_column(String(10))
    address: Mapped[str] = mapped_column(String(45))
    request_id: Mapped[str] = mapped_column(String(128))
    details: Mapped[dict[str, Any] | None] = mapped_column(Json)
