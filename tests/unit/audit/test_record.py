"""Audit entries are counted when they are committed, and only then."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from serval.audit.record import ACTIONS, AuditSubject, count_entries
from serval.db.engine import Database, database_url, open_engine
from serval.db.migrate import migrate
from support.audit_trail import Act, caller

ADA = caller("usr_1", "ada")


class Counted(NamedTuple):
    """A database whose entries are counted, and the lines of the counter."""

    database: Database
    lines: Callable[[], list[str]]


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    url = database_url(None, tmp_path)
    await migrate(url)
    database, registry = Database(open_engine(url)), CollectorRegistry()
    count_entries(database.writers, Counter("entries", "Entries", ("action", "outcome"), registry=registry))

    def lines() -> list[str]:
        return [line for line in generate_latest(registry).decode().splitlines() if line.startswith("entries_total{")]

    yield Counted(database, lines)
    await database.close()


async def write(database: Database, acts: list[Act], error: Exception | None = None) -> None:
    async with database.write() as session:
        for act in acts:
            act.record(session)
            await session.flush()
        if error is not None:
            raise error


@pytest.mark.anyio
async def test_committed_entries_are_counted_by_action_and_outcome(counted: Counted) -> None:
    key, nobody = AuditSubject("key_1", "laptop", "usr_1"), AuditSubject(None, "bob", None)
    acts = [Act(ADA, "key.create", key), Act(ADA, "key.create", key), Act("bob", "login", nobody, "failure")]
    await write(counted.database, acts)
    assert counted.lines() == [
        'entries_total{action="key.create",outcome="success"} 2.0',
        'entries_total{action="login",outcome="failure"} 1.0',
    ]


@pytest.mark.anyio
async def test_rolled_back_entries_are_not_counted(counted: Counted) -> None:
    with pytest.raises(ValueError, match="no"):
        await write(counted.database, [Act(ADA, "logout", AuditSubject("ses_1", "", "usr_1"))], ValueError("no"))
    await write(counted.database, [Act(ADA, "key.create", AuditSubject("key_1", "laptop", "usr_1"))])
    assert counted.lines() == ['entries_total{action="key.create",outcome="success"} 1.0']


def test_an_action_fits_its_column() -> None:
    assert max(map(len, ACTIONS)) <= 40
