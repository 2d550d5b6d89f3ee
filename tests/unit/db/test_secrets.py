"""Secrets that replicas share."""

import asyncio
from pathlib import Path

from serval.db.engine import Database, database_url, open_engine
from serval.db.migrate import migrate
from serval.db.shared_secrets import shared_secret


def test_a_secret_is_made_once_for_all_who_ask(tmp_path: Path) -> None:
    async def ask() -> list[bytes]:
        url = database_url(None, tmp_path)
        await migrate(url)
        replicas = [Database(open_engine(url)) for _ in range(4)]
        given = await asyncio.gather(*(shared_secret(database, "cache") for database in replicas))
        given.append(await shared_secret(replicas[0], "another"))
        for database in replicas:
            await database.close()
        return given

    *equal, other = asyncio.run(ask())
    assert len(set(equal)) == 1
    assert [len(secret) for secret in (equal[0], other)] == [32, 32]
    assert other != equal[0]
