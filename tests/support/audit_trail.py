"""The database of a server, people in it, and acts of theirs, written as its services write them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.record import Action, AuditSubject, record, record_unauthenticated
from serval.audit.tables import Outcome
from serval.auth import key_format as keys
from serval.auth.caller import SCOPES, Caller, ClientInfo, Role, Scope
from serval.db.engine import Database, database_url, now, open_engine
from serval.ids import new_id
from serval.users.tables import ApiKey, User

ORIGIN = ClientInfo("192.0.2.7", "req-of-a-test")

Result = TypeVar("Result")


class Store(NamedTuple):
    """Where a server keeps its rows."""

    folder: Path
    settings: Mapping[str, str]

    @property
    def url(self) -> Any:
        return database_url(self.settings.get("SERVAL_DATABASE_URL"), self.folder)

    def run(self, work: Callable[[Database], Awaitable[Result]]) -> Result:
        """What some work on the database returns."""

        async def run() -> Result:
            database = Database(open_engine(self.url))
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(run())

    def write(self, change: Callable[[AsyncSession], Awaitable[None]]) -> None:
        """Change something in one transaction."""

        async def work(database: Database) -> None:
            async with database.write() as session:
                await change(session)

        self.run(work)


class Person(NamedTuple):
    """A user with a key."""

    caller: Caller
    headers: dict[str, str]

    @property
    def id(self) -> str:
        return self.caller.user_id

    @property
    def name(self) -> str:
        return self.caller.username


def add_people(store: Store, *options: dict[str, Any]) -> list[Person]:
    """Add people, each with the options of `add_person`."""
    people: list[Person] = []

    async def change(session: AsyncSession) -> None:
        people.extend([await add_person(session, **each) for each in options])

    store.write(change)
    return people


async def add_person(session: AsyncSession, *, role: Role = "user", scopes: tuple[Scope, ...] = SCOPES) -> Person:
    """A user of a name of their own, and a key of theirs."""
    user_id, key_id, secret = new_id("usr"), new_id("key"), keys.new_key()
    name = f"u-{user_id[-12:].lower()}"
    session.add(User(id=user_id, username=name, role=role, created_at=now()))
    await session.flush()
    digest = keys.digest(secret)
    session.add(
        ApiKey(
            id=key_id,
            user_id=user_id,
            name="test",
            digest=digest,
            prefix=keys.visible_prefix(secret),
            scopes=list(scopes),
        )
    )
    return Person(caller(user_id, name, role, key_id), {"X-API-Key": secret})


def caller(user_id: str, username: str, role: Role = "user", key_id: str = "key_1") -> Caller:
    """Somebody who is known by a key for everything."""
    return Caller(
        user_id=user_id,
        username=username,
        role=role,
        scopes=frozenset(SCOPES),
        models=None,
        key_id=key_id,
        session_id=None,
        digest=b"",
        expires_at=None,
        api_rate=None,
        predict_limits=(),
        quota=None,
        origin=ORIGIN,
    )


class Act(NamedTuple):
    """What somebody did."""

    who: Caller | str
    """A name: nobody who is known said to be that."""
    action: Action
    subject: AuditSubject
    outcome: Outcome = "success"
    details: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it

    def record(self, session: AsyncSession) -> None:
        if isinstance(self.who, Caller):
            record(session, self.who, self.action, self.subject, **self.details)
        else:
            record_unauthenticated(session, ORIGIN, self.action, self.subject, self.outcome, self.who, **self.details)


def record_all(store: Store, acts: list[Act]) -> None:
    async def change(session: AsyncSession) -> None:
        for act in acts:
            act.record(session)

    store.write(change)
