"""Reads the audit trail: all of it for administrators, for everybody else their own acts and what was done to their own things."""

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
from serval.errors import BadRequest
from serval.http.pagination import in_utc
from serval.ids import first_id

EXPORT_ROWS = 1000
"""What an export reads, and holds, at a time."""
Conditions = list[ColumnElement[bool]]

USER_ID = re.compile("usr_[0-9A-Z]{26}")


class AuditFilter(NamedTuple):
    """Which entries are asked for."""

    actor: str | None
    """Username, or id of a user."""
    actions: tuple[Action, ...]
    """One of these; none: whichever."""
    subject: str | None
    """Id of the thing."""
    outcome: Outcome | None
    since: datetime | None
    until: datetime | None
    before: str | None
    """The id of an entry: only earlier ones."""
    limit: int


def actions_of(given: str | None) -> tuple[Action, ...]:
    """The action of that name, or those that begin with a prefix such as `key.`; none for None. Raises BadRequest."""
    if given is None:
        return ()
    found = tuple(action for action in ACTIONS if action == given or (given.endswith(".") and action.startswith(given)))
    if not found:
        known = ", ".join(f"`{action}`" for action in ACTIONS)
        raise BadRequest(f"`action`: there is no action `{given}`; there are {known}, and prefixes such as `key.`.")
    return found


class AuditTrail:
    """Answers what the audit trail holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_entries(self, caller: Caller, wanted: AuditFilter) -> list[AuditEntry]:
        """Return what a caller may see of what is asked for, newest first. Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            return list(await session.scalars(query_of(caller, wanted)))

    async def all_entries(self, caller: Caller, wanted: AuditFilter) -> AsyncIterator[list[AuditEntry]]:
        """Yield the same in parts, past the limit: at least one, which may be empty. Raises DatabaseUnavailable."""
        wanted = wanted._replace(limit=EXPORT_ROWS)
        while True:
            entries = await self.list_entries(caller, wanted)
            yield entries
            if len(entries) < EXPORT_ROWS:
                return
            wanted = wanted._replace(before=entries[-1].id)


def query_of(caller: Caller, wanted: AuditFilter) -> Select[AuditEntry]:
    """The query of a page: the newest of each branch, and of these the newest."""
    branches = [_newest(branch, wanted).subquery() for branch in _branches(caller, wanted)]
    ids = union(*(select(branch.c.id) for branch in branches))
    return select(AuditEntry).where(AuditEntry.id.in_(ids)).order_by(AuditEntry.id.desc()).limit(wanted.limit)


def _newest(branch: Conditions, wanted: AuditFilter) -> Select[str]:
    query = select(AuditEntry.id).where(*branch).order_by(AuditEntry.id.desc()).limit(wanted.limit)
    if wanted.since is not None:
        query = query.where(AuditEntry.id >= first_id("aud", in_utc(wanted.since)))
    if wanted.until is not None:
        query = query.where(AuditEntry.id < first_id("aud", in_utc(wanted.until)))
    if wanted.before is not None:
        query = query.where(AuditEntry.id < wanted.before)
    return query


def _branches(caller: Caller, wanted: AuditFilter) -> list[Conditions]:
    """What together is all that is asked for. Of each branch an index has the entries in the order of the answer."""
    who: Conditions = [] if wanted.actor is None else [_read(_named(wanted.actor)) == wanted.actor]
    what: Conditions = [_read(AuditEntry.action).in_(wanted.actions)] if wanted.actions else []
    what += [_read(AuditEntry.outcome) == wanted.outcome] if wanted.outcome else []
    if wanted.subject is not None:
        return [[AuditEntry.subject_id == wanted.subject, *_visible(caller), *who, *what]]
    if not caller.is_admin:
        return [
            [AuditEntry.owner_id == caller.user_id, *who, *what],
            [AuditEntry.actor_id == caller.user_id, *who, *what],
        ]
    if wanted.actor is not None:
        return [[_named(wanted.actor) == wanted.actor, *what]]
    if not what:
        return [[]]
    return [
        [AuditEntry.action == action, AuditEntry.outcome == outcome]
        for action in wanted.actions or ACTIONS
        for outcome in ([wanted.outcome] if wanted.outcome else OUTCOMES)
    ]


def _visible(caller: Caller) -> Conditions:
    if caller.is_admin:
        return []
    return [or_(_read(AuditEntry.owner_id) == caller.user_id, _read(AuditEntry.actor_id) == caller.user_id)]


def _read(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """A column so written that its own index does not apply: SQLite, which has no statistics, would take any that
    does."""
    return column.concat("")


def _named(actor: str) -> InstrumentedAttribute[Any]:
    """The column in which whoever is meant by a username or the id of a user is found."""
    return AuditEntry.actor_id if USER_ID.fullmatch(actor) else AuditEntry.actor
