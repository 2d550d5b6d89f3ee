"""Writes the audit trail in the transaction of the act, so that neither exists without the other."""

from typing import Any, Literal, NamedTuple, get_args

from prometheus_client import Counter
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, UOWTransaction, sessionmaker

from serval.audit.tables import AuditEntry, Outcome
from serval.auth.caller import Caller, ClientInfo
from serval.db.engine import now
from serval.ids import new_id

Action = Literal[
    "user.register", "user.create", "user.change", "user.disable", "user.enable", "user.password",
    "login", "logout", "session.reuse", "signing_key.rotate",
    "key.create", "key.revoke", "key.rotate",
    "model.upload", "model.change", "model.delete", "model.restore", "model.share", "model.unshare",
    "version.change", "version.promote", "version.rollback", "version.deprecate", "version.archive",
]  # fmt: skip

ACTIONS: tuple[Action, ...] = get_args(Action)


_FLUSHED = "audit_entries"
"""Key of a session's entries that are counted when it commits."""


class AuditSubject(NamedTuple):
    """The resource of an act."""

    id: str | None
    name: str
    owner_id: str | None


def record(session: AsyncSession, caller: Caller, action: Action, subject: AuditSubject, **details: Any) -> None:
    """Record an act that succeeds with the transaction of `session`. `details`: JSON values, and no secrets."""
    _add(
        session,
        caller.origin,
        action,
        subject,
        "success",
        caller.user_id,
        caller.username,
        caller.credential_id,
        details,
    )


def record_unauthenticated(
    session: AsyncSession,
    client: ClientInfo,
    action: Action,
    subject: AuditSubject,
    outcome: Outcome,
    actor: str,
    **details: Any,
) -> None:
    """Record an act of a client without a credential: a login, a registration. `actor`: the name that it gave."""
    _add(session, client, action, subject, outcome, subject.id if outcome == "success" else None, actor, None, details)


def _add(
    session: AsyncSession,
    client: ClientInfo,
    action: Action,
    subject: AuditSubject,
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
            address=client.address,
            request_id=client.request_id,
            details=details or None,
        )
    )


def count_entries(sessions: sessionmaker[Session], counter: Counter) -> None:
    """Count the entries that sessions commit. `counter`: by action and outcome."""

    def collect(session: Session, _flush: UOWTransaction) -> None:
        flushed = [(entry.action, entry.outcome) for entry in session.new if isinstance(entry, AuditEntry)]
        session.info.setdefault(_FLUSHED, []).extend(flushed)

    def count(session: Session) -> None:
        for labels in session.info.pop(_FLUSHED, []):
            counter.labels(*labels).inc()

    def discard(session: Session) -> None:
        session.info.pop(_FLUSHED, None)

    event.listen(sessions, "after_flush", collect)
    event.listen(sessions, "after_commit", count)
    event.listen(sessions, "after_rollback", discard)
