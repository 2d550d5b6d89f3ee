"""Writes the audit trail: in the transaction of the act, so that neither is there without the other."""

from typing import Any, Literal, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.tables import AuditEntry, Outcome
from serval.auth.caller import Caller, Origin
from serval.db.base import now
from serval.ids import new_id

Action = Literal[
    "user.register", "user.create", "user.change", "user.disable", "user.enable", "user.password",
    "login", "logout", "session.reuse", "signing_key.rotate",
    "key.create", "key.revoke", "key.rotate",
    "model.upload", "model.change", "model.delete", "model.restore", "model.share", "model.unshare",
    "version.promote", "version.rollback", "version.deprecate", "version.archive",
]  # fmt: skip


class Subject(NamedTuple):
    """The thing that something was done to."""

    id: str | None
    name: str
    owner_id: str | None


def record(session: AsyncSession, caller: Caller, action: Action, subject: Subject, **details: Any) -> None:
    """Record an act that succeeds with the transaction of `session`. `details`: what JSON can hold, and no secret."""
    _add(session, caller.origin, action, subject, "success", caller.user_id, caller.username, caller.credential_id, details)


def record_unknown(
    session: AsyncSession, origin: Origin, action: Action, subject: Subject, outcome: Outcome, actor: str, **details: Any
) -> None:
    """Record an act of somebody who presented no credential: a login, a registration. `actor`: what they said they were."""
    _add(session, origin, action, subject, outcome, subject.id if outcome == "success" else None, actor, None, details)


def _add(
    session: AsyncSession,
    origin: Origin,
    action: Action,
    subject: Subject,
    outcome: Outcome,
    actor_id: str | None,
    actor: str,
    credential_id: str | None,
    details: dict[str, Any],
) -> None:
    session.add(
        AuditEntry(
            id=new_id("aud"),
            at=now(),
            actor_id=actor_id,
            actor=actor[:254],
            credential_id=credential_id,
            action=action,
            subject_id=subject.id,
            subject=subject.name[:200],
            owner_id=subject.owner_id,
            outcome=outcome,
            address=origin.address,
            request_id=origin.request_id,
            details=details or None,
        )
    )
