"""Reads the audit trail: administrators see all of it, others their own acts and those on their own resources."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, or_, select, union
from sqlalchemy.orm import InstrumentedAttribute

from serval.audit.record import ACTIONS, Action
from serval.audit.tables import OUTCOMES, AuditEntry, Outcome
from serval.auth.caller import Caller
from serval.db.engine import Database
from serval.db.id_ranges import id_range
from serval.errors import BadRequest

EXPORT_ROWS = 1000
"""Rows that an export reads and holds at a time."""
Conditions = list[ColumnElement[bool]]

USER_ID = re.compile("usr_[0-9A-Z]{26}")


class AuditFilter(NamedTuple):
    """Which entries to return."""

    actor: str | None
    """Username or id of a user."""
    actions: tuple[Action, ...]
    """One of these; empty: any."""
    subject: str | None
    """Id or name of the resource; of a model `owner/name`, or the name of one of the caller's own."""
    outcome: Outcome | None
    since: datetime | None
    until: datetime | None
    before: str | None
    """Id of an entry: only earlier ones."""
    limit: int


def actions_of(pattern: str | None) -> tuple[Action, ...]:
    """Return the action of that name, or those with a prefix such as `key.`; none for None. Raises BadRequest."""
    if pattern is None:
        return ()
    is_prefix = pattern.endswith(".")
    actions = tuple(action for action in ACTIONS if action == pattern or (is_prefix and action.startswith(pattern)))
    if not actions:
        known = ", ".join(f"`{action}`" for action in ACTIONS)
        raise BadRequest(f"`action`: there is no action `{pattern}`; there are {known}, and prefixes such as `key.`.")
    return actions


class AuditTrail:
    """Queries the audit trail."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_entries(self, caller: Caller, filters: AuditFilter) -> list[AuditEntry]:
        """Return the matching entries that a caller may see, newest first. Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            return list(await session.scalars(query_of(caller, filters)))

    async def all_entries(self, caller: Caller, filters: AuditFilter) -> AsyncIterator[list[AuditEntry]]:
        """Yield all these entries in parts, the first of which may be empty. Raises DatabaseUnavailable."""
        filters = filters._replace(limit=EXPORT_ROWS)
        while True:
            rows = await self.list_entries(caller, filters)
            yield rows
            if len(rows) < EXPORT_ROWS:
                return
            filters = filters._replace(before=rows[-1].id)


def query_of(caller: Caller, filters: AuditFilter) -> Select[AuditEntry]:
    """Return the query of a page: the newest rows of each branch, and of these the newest."""
    branches = [_newest(branch, filters).subquery() for branch in _branches(caller, filters)]
    ids = union(*(select(branch.c.id) for branch in branches))
    return select(AuditEntry).where(AuditEntry.id.in_(ids)).order_by(AuditEntry.id.desc()).limit(filters.limit)


def _newest(branch: Conditions, filters: AuditFilter) -> Select[str]:
    ids = id_range(AuditEntry.id, "aud", since=filters.since, until=filters.until, before=filters.before)
    return select(AuditEntry.id).where(*branch, *ids).order_by(AuditEntry.id.desc()).limit(filters.limit)


def _branches(caller: Caller, filters: AuditFilter) -> list[Conditions]:
    """Return conditions whose union is the result; an index has the rows of each branch in the order of the result."""
    who: Conditions = [] if filters.actor is None else [_without_index(_actor_column(filters.actor)) == filters.actor]
    what: Conditions = [_without_index(AuditEntry.action).in_(filters.actions)] if filters.actions else []
    what += [_without_index(AuditEntry.outcome) == filters.outcome] if filters.outcome else []
    if filters.subject is not None:
        rest = [*_visible(caller), *who, *what]
        return [[is_meant, *rest] for is_meant in _is_about(caller, filters.subject)]
    if not caller.is_admin:
        return [
            [AuditEntry.owner_id == caller.user_id, *who, *what],
            [AuditEntry.actor_id == caller.user_id, *who, *what],
        ]
    if filters.actor is not None:
        return [[_actor_column(filters.actor) == filters.actor, *what]]
    if not what:
        return [[]]
    return [
        [AuditEntry.action == action, AuditEntry.outcome == outcome]
        for action in filters.actions or ACTIONS
        for outcome in ([filters.outcome] if filters.outcome else OUTCOMES)
    ]


def _is_about(caller: Caller, subject: str) -> Conditions:
    """Return conditions of which one holds for entries on a resource with an id, or a name at the time."""
    names = [subject] if "/" in subject else [subject, f"{caller.username}/{subject}"]
    return [AuditEntry.subject_id == subject, *(AuditEntry.subject == name for name in names)]


def _visible(caller: Caller) -> Conditions:
    if caller.is_admin:
        return []
    return [
        or_(
            _without_index(AuditEntry.owner_id) == caller.user_id, _without_index(AuditEntry.actor_id) == caller.user_id
        )
    ]


def _without_index(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """Return a column so that its own index does not apply: SQLite has no statistics and would use any that does."""
    return column.concat("")


def _actor_column(actor: str) -> InstrumentedAttribute[Any]:
    """Return the column that holds a username or the id of a user."""
    return AuditEntry.actor_id if USER_ID.fullmatch(actor) else AuditEntry.actor
