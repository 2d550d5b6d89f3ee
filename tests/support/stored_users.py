"""Users and keys for tests, written where the service finds them; and what else is read off its database."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from serval.auth import key_format as keys
from serval.auth.caller import SCOPES, Role
from serval.db.engine import Database, database_url, now, open_engine
from serval.ids import new_id
from serval.users.tables import ApiKey, User
from support.http_client import Client

T = TypeVar("T")


class Person(NamedTuple):
    """Somebody with a key for everything."""

    id: str
    name: str
    headers: dict[str, str]


def add_person(client: Client, backend: Mapping[str, str], name: str, role: Role = "user") -> Person:
    """A user called `name` and more, so that tests on one server do not meet."""
    user_id = new_id("usr")
    username = f"{name}-{user_id[-8:].lower()}"

    async def add(database: Database) -> None:
        async with database.write() as session:
            session.add(User(id=user_id, username=username, role=role, created_at=now()))

    on_database(client, backend, add)
    return Person(user_id, username, add_key(client, backend, user_id))


def add_key(
    client: Client, backend: Mapping[str, str], user_id: str, models: Sequence[str] | None = None
) -> dict[str, str]:
    """A key of a user, as headers. `models`: ids of those it is for; None: all."""
    secret = keys.new_key()
    row = ApiKey(
        id=new_id("key"),
        user_id=user_id,
        name="test",
        digest=keys.digest(secret),
        prefix=keys.visible_prefix(secret),
        scopes=list(SCOPES),
        models=None if models is None else list(models),
        created_at=now(),
    )

    async def add(database: Database) -> None:
        async with database.write() as session:
            session.add(row)

    on_database(client, backend, add)
    return {"X-API-Key": secret}


def on_database(client: Client, backend: Mapping[str, str], ask: Callable[[Database], Awaitable[T]]) -> T:
    """Do something with the database of a server."""

    async def run() -> T:
        database = Database(open_engine(database_url(backend.get("SERVAL_DATABASE_URL"), client.folder)))
        try:
            return await ask(database)
        finally:
            await database.close()

    return asyncio.run(run())
