"""Schemas of the audit trail, as JSON and as CSV."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from serval.audit.tables import AuditEntry, Outcome
from serval.auth.caller import Caller

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Starts of cells that a spreadsheet may run: OWASP ASVS 5.0, 1.2.10, and the full-width forms of these characters."""


class AuditEntryView(msgspec.Struct):
    """An act: actor, action and resource."""

    id: str
    at: datetime
    actor: str
    """Username at the time; of a failed login the name that it gave."""
    actor_id: str | None
    action: str
    outcome: Outcome
    subject: str
    """Name of the resource at the time."""
    subject_id: str | None
    owner_id: str | None
    """Id of the user who owns the resource."""
    address: str | None
    """Address of the client; like the next two fields, only for the caller's own acts and for administrators."""
    credential_id: str | None
    """Id of the key or the login."""
    request_id: str | None
    details: dict[str, Any] | None

    @classmethod
    def of(cls, row: AuditEntry, caller: Caller) -> "AuditEntryView":
        """Return what a caller may know of a visible entry."""
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
    """Return the header line."""
    return _csv([AuditEntryView.__struct_fields__])


def csv_rows(entries: Iterable[AuditEntryView]) -> bytes:
    """Return one RFC 4180 record for each entry, in UTF-8; `details` is JSON."""
    return _csv([_cell(value) for value in msgspec.to_builtins(entry).values()] for entry in entries)


def _csv(records: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(records)
    return text.getvalue().encode()


def _cell(value: str | dict[str, Any] | None) -> str:
    """Return text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
