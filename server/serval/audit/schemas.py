"""What the route of the audit trail gives, as JSON and as CSV."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from serval.audit.tables import AuditEntry, Outcome
from serval.auth.caller import Caller

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a cell begins that a spreadsheet may run: OWASP ASVS 5.0, 1.2.10, and the full-width forms of the same
signs."""


class AuditEntryView(msgspec.Struct):
    """Who did what to which thing."""

    id: str
    at: datetime
    actor: str
    """Username at the time; of a failed login what was given for one."""
    actor_id: str | None
    action: str
    outcome: Outcome
    subject: str
    """What the thing was called at the time."""
    subject_id: str | None
    owner_id: str | None
    """Id of the user to whom the thing belongs."""
    address: str | None
    """Where the request came from; like the two below it null in what others did, but for administrators."""
    credential_id: str | None
    """Of the key or the login."""
    request_id: str | None
    details: dict[str, Any] | None

    @classmethod
    def of(cls, row: AuditEntry, caller: Caller) -> "AuditEntryView":
        """What a caller may know of an entry that they may see."""
        may_see_origin = caller.is_admin or row.actor_id == caller.user_id
        return cls(
            id=row.id,
            at=row.at,
            actor=row.actor,
            actor_id=row.actor_id,
            action=row.action,
            outcome=row.outcome,
            subject=row.subject,
            subject_id=row.subject_id,
            owner_id=row.owner_id,
            address=row.address if may_see_origin else None,
            credential_id=row.credential_id if may_see_origin else None,
            request_id=row.request_id if may_see_origin else None,
            details=row.details,
        )


class AuditEntryList(msgspec.Struct):
    """A page; `next` is the cursor of the page after it."""

    items: list[AuditEntryView]
    next: str | None


def csv_header() -> bytes:
    """The line of the names of the columns."""
    return _csv([AuditEntryView.__struct_fields__])


def csv_rows(entries: Iterable[AuditEntryView]) -> bytes:
    """Entries as RFC 4180 in UTF-8, a record each; `details` is JSON."""
    return _csv([_cell(value) for value in msgspec.to_builtins(entry).values()] for entry in entries)


def _csv(records: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(records)
    return text.getvalue().encode()


def _cell(value: str | dict[str, Any] | None) -> str:
    """Text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
