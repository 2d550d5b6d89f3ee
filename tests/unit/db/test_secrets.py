"""Secrets that replicas share."""

import asyncio
from pathlib import Path

import pytest

from serval.db.engine import Database, database_url, open_engine
from serval.db.migrate import migrate
from serval.db.shared_secrets import shared_secret


@pytest.mark.anyio
async def test_all_replicas_get_the_same_secret_of_a_name(tmp_path: Path) -> None:
    url = database_url(None, tmp_path)
    await migrate(url)
    replicas = [Database(open_engine(url)) for _ in range(4)]
    secrets = await asyncio.gather(*(shared_secret(database, "cache") for database in replicas))
    other = await shared_secret(replicas[0], "another")
    for database in replicas:
        await database.close()
    assert len(set(secrets)) == 1
    assert [len(secret) for secret in (secrets[0], other)] == [32, 32]
    assert other != secrets[0]
