"""What migrations do to the rows that they find."""

import itertools
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, text

from serval.db.engine import database_url, open_engine
from serval.db.migrate import _config, migrate
from support.backends import Postgres

pytestmark = pytest.mark.anyio
NUMBERS = itertools.count(1)

ROWS = """
INSERT INTO users (id, username, email, role, subscription_tier, created_at)
VALUES ('usr_1', 'ada', 'ada@example.com', 'user', 'default', '2026-11-20');
INSERT INTO models (id, owner_id, name, description, live, previous, cache, created_at)
VALUES ('mdl_1', 'usr_1', 'iris', '', 3, 2, 'auto', '2026-11-20');
WITH numbers(number) AS (VALUES (1), (2), (3), (4))
INSERT INTO versions (id, model_id, number, status, lifecycle, held, filename, source_bytes, source_sha256, request,
    attempts, created_at)
SELECT 'ver_' || number, 'mdl_1', number, 'ready', 'active', '{"code": "unproven", "message": "Unproven."}', 'a.pkl', 1,
    '', '{}', 0, '2026-11-20' FROM numbers;
INSERT INTO audit (id, at, actor, action, subject_id, subject, outcome, address, request_id, details)
VALUES ('aud_1', '2026-11-20', 'ada', 'version.promote', 'mdl_1', 'ada/iris', 'success', '', '', '{"version": 1}')
"""
"""Four held versions, of which the first was promoted long ago, the second before the third."""


def upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection), "0005")
    for statement in ROWS.split(";"):
        connection.exec_driver_sql(statement)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return database_url(None, tmp_path)
    server: Postgres = request.getfixturevalue("shared_postgres")
    name = f"migrations_{next(NUMBERS)}"
    server.ask(f"CREATE DATABASE {name};")
    return database_url(server.url(name), tmp_path)


async def test_versions_that_were_promoted_are_not_held_any_more(url: str) -> None:
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await migrate(url)
    async with engine.connect() as connection:
        held = await connection.execute(text("SELECT id FROM versions WHERE held IS NOT NULL"))
        assert held.scalars().all() == ["ver_4"]
    await engine.dispose()


async def test_versions_and_users_have_the_bytes_that_they_took_before(url: str) -> None:
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
        await connection.execute(text("UPDATE versions SET onnx_bytes = 10, status = 'failed' WHERE number = 1"))
    await migrate(url)
    async with engine.connect() as connection:
        versions = await connection.execute(
            text("SELECT stored_bytes, failed_at IS NOT NULL FROM versions ORDER BY number")
        )
        assert [tuple(row) for row in versions] == [(11, True), (1, False), (1, False), (1, False)]
        assert (await connection.execute(text("SELECT stored_bytes FROM users"))).scalar() == 14
    await engine.dispose()
