"""Entries are counted when they are committed, and only then."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from serval.audit.record import ACTIONS, AuditSubject, count_entries
from serval.db.engine import Database
from serval.db.migrate import migrate
from support.audit_trail import Act, Store, caller

ADA = caller("usr_1", "ada")


def counted(folder: Path, *acts: Act) -> list[str]:
    """The counter's lines after acts in one transaction, and one more before that is rolled back."""
    registry = CollectorRegistry()
    store = Store(folder, {})
    asyncio.run(migrate(store.url))

    async def work(database: Database) -> None:
        count_entries(database.writers, Counter("entries", "Entries", ("action", "outcome"), registry=registry))
        with pytest.raises(ValueError, match="no"):
            await write(database, [Act(ADA, "logout", AuditSubject("ses_1", "", "usr_1"))], ValueError("no"))
        await write(database, list(acts))

    store.run(work)
    return [line for line in generate_latest(registry).decode().splitlines() if line.startswith("entries_total{")]


async def write(database: Database, acts: list[Act], error: Exception | None = None) -> None:
    async with database.write() as session:
        for act in acts:
            act.record(session)
            await session.flush()
        if error is not None:
            raise error


def test_what_is_committed_is_counted_by_action_and_outcome(tmp_path: Path) -> None:
    key, nobody = AuditSubject("key_1", "laptop", "usr_1"), AuditSubject(None, "bob", None)
    acts = [Act(ADA, "key.create", key), Act(ADA, "key.create", key), Act("bob", "login", nobody, "failure")]
    assert counted(tmp_path, *acts) == [
        'entries_total{action="key.create",outcome="success"} 2.0',
        'entries_total{action="login",outcome="failure"} 1.0',
    ]


def test_what_is_rolled_back_is_not_counted(tmp_path: Path) -> None:
    assert counted(tmp_path) == []


def test_an_action_fits_its_column() -> None:
    assert max(map(len, ACTIONS)) <= 40
