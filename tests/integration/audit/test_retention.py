"""Retention of the audit trail, the speed of its queries, and the gauges of users."""

import asyncio
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from serval.audit.service import AuditFilter, actions_of, query_of
from serval.audit.tables import AuditEntry
from serval.auth.caller import Caller
from serval.db.engine import Database, now
from serval.db.migrate import migrate
from serval.ids import first_id, new_id
from serval.users.tables import ApiKey, LoginSession, User
from support import plain_http
from support.audit_trail import Store, add_person, caller
from support.backends import Postgres, without
from support.http_client import Client, serving
from support.waiting import wait_until


def on_sqlite(folder: Path) -> Store:
    """A database with its tables and nothing in them."""
    return with_tables(Store(folder / "data", {}))


def on_postgres(server: Postgres, folder: Path) -> Store:
    """A database with its tables and nothing in them."""
    name = f"serval_{uuid.uuid4().hex}"
    server.ask(f"CREATE DATABASE {name};")
    return with_tables(Store(folder / "data", {"SERVAL_DATABASE_URL": server.url(name)}))


def with_tables(store: Store) -> Store:
    store.folder.mkdir(mode=0o700)
    asyncio.run(migrate(store.url))
    return store


def row(**values: Any) -> dict[str, Any]:
    """An entry as the table takes it."""
    entry = {
        "id": new_id("aud"),
        "at": now(),
        "actor": "ada",
        "action": "login",
        "subject": "ada",
        "outcome": "success",
    }
    return entry | {"address": "", "request_id": ""} | values


START = now()


def aged(days: int, count: int) -> list[dict[str, Any]]:
    moments = [START - timedelta(days=days, milliseconds=number) for number in range(count)]
    return [row(id=first_id("aud", at), at=at, subject=f"{days} days") for at in moments]


async def add_a_population(session: AsyncSession) -> None:
    """Of each, one that is active beside those that are not."""
    later, earlier = now() + timedelta(days=1), now() - timedelta(days=1)
    user, gone = await add_person(session), await add_person(session)
    (await session.get_one(User, gone.id)).disabled_at = now()
    for expires_at, ended_at in ((later, None), (later, earlier), (earlier, None)):
        times = {"created_at": earlier, "expires_at": expires_at, "ended_at": ended_at}
        session.add(LoginSession(id=new_id("ses"), user_id=user.id, address="", **times))
    for expires_at, revoked_at in ((later, None), (None, earlier), (earlier, None)):
        times = {"expires_at": expires_at, "revoked_at": revoked_at}
        session.add(
            ApiKey(
                id=new_id("key"), user_id=user.id, name="x", digest=new_id("x").encode(), prefix="", scopes=[], **times
            )
        )


@contextmanager
def populated(store: Store) -> Iterator[Client]:
    """A server that keeps audit entries for 30 days, with older ones, and users of whom some are active."""

    async def write(session: AsyncSession) -> None:
        await session.execute(insert(AuditEntry), [*aged(400, 1500), *aged(31, 1000), *aged(29, 3)])
        await add_a_population(session)

    store.write(write)
    with serving(store.folder, {**store.settings, "SERVAL_AUDIT_DAYS": "30"}, is_migrated=True) as client:
        yield client


@pytest.fixture(scope="module")
def postgres_store(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return on_postgres(database, tmp_path_factory.mktemp("serval"))


@pytest.fixture(scope="module")
def interruptible(postgres_store: Store) -> Iterator[Client]:
    """A server whose PostgreSQL may be stopped."""
    with populated(postgres_store) as client:
        yield client


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    if request.param == "postgres":
        yield request.getfixturevalue("interruptible")
        return
    with populated(on_sqlite(tmp_path_factory.mktemp("serval"))) as client:
        yield client


def test_audit_entries_older_than_the_setting_are_deleted(started: Client) -> None:
    assert started.process.told("audit_entries_deleted")["entries"] == 2500
    until = (now() - timedelta(days=1)).isoformat()
    entries = started.http.get("/api/v1/audit", params={"until": until}).json()["items"]
    assert [entry["subject"] for entry in entries] == ["29 days"] * 3


def test_a_retention_longer_than_since_1970_keeps_everything(tmp_path: Path) -> None:
    store = on_sqlite(tmp_path)

    async def write(session: AsyncSession) -> None:
        await session.execute(insert(AuditEntry), [row(id=first_id("aud", now() - timedelta(days=10_000)))])

    store.write(write)
    with serving(store.folder, {**store.settings, "SERVAL_AUDIT_DAYS": "1e9"}, is_migrated=True) as client:
        assert len(client.http.get("/api/v1/audit", params={"until": "2026-01-01T00:00:00Z"}).json()["items"]) == 1
    assert not [line for line in client.process.events if line["event"] == "audit_retention_failed"]


def gauges(client: Client) -> dict[str, float]:
    """How many there are, when they were counted for the first time."""

    def counted() -> dict[str, float] | None:
        lines = client.http.get("/metrics").text
        values = dict(re.findall(r"^serval_(users|sessions|api_keys)_active (\S+)$", lines, re.MULTILINE))
        return None if "NaN" in values.values() else {name: float(value) for name, value in values.items()}

    return wait_until(counted)


def test_gauges_count_active_users_sessions_and_keys(started: Client) -> None:
    # Beside the administrator that the server makes, with a key.
    assert gauges(started) == {"users": 2, "sessions": 1, "api_keys": 3}


def test_gauges_keep_the_last_numbers_without_the_database(database: Postgres, interruptible: Client) -> None:
    before = gauges(interruptible)
    assert before["users"] >= 1
    metrics_port = interruptible.process.told("ready")["metrics_port"]
    with without(database):
        interruptible.process.until("user_gauges_failed")
        text = plain_http.get(f"http://127.0.0.1:{metrics_port}/metrics").text
    for name, value in before.items():
        assert f"serval_{name}_active {value}\n" in text


class Filled(NamedTuple):
    """Twenty thousand entries of ninety users, and some who ask for them."""

    store: Store
    callers: dict[str, Caller]


ENTRIES = 20_000
FILL = f"""
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ENTRIES})
INSERT INTO audit (id, at, actor_id, actor, action, subject_id, subject, owner_id, outcome, address, request_id)
SELECT
  'aud_00000000000000000' || (100000000 + i),
  CURRENT_TIMESTAMP,
  'usr_000000000000000000000000' || (10 + i % 7 * 13),
  'u' || (10 + i % 7 * 13),
  CASE i % 9 WHEN 1 THEN 'key.create' WHEN 2 THEN 'key.revoke' WHEN 3 THEN 'model.upload' ELSE 'login' END,
  'mdl_' || (i % 2000),
  'iris',
  'usr_000000000000000000000000' || (10 + i % 89),
  CASE i % 501 WHEN 7 THEN 'failure' ELSE 'success' END,
  '',
  ''
FROM n"""
QUERIES: list[dict[str, Any]] = [
    {},
    {"before": "aud_00000000000000000100009999"},
    {"actor": "u23"},
    {"actor": "usr_00000000000000000000000023"},
    {"actor": "u23", "actions": ("login",), "outcome": "failure"},
    {"actions": ("login",)},
    {"actions": ("model.upload",), "before": "aud_00000000000000000100009999"},
    {"actions": actions_of("key.")},
    {"actions": actions_of("key."), "outcome": "failure"},
    {"outcome": "failure"},
    {"outcome": "success"},
    {"subject": "mdl_77"},
    {"subject": "mdl_77", "actions": ("login",), "outcome": "success"},
    {"subject": "nothing"},
    {"subject": "iris"},
    {"subject": "owner/iris", "outcome": "failure"},
]


@pytest.fixture(params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Filled:
    if request.param == "postgres":
        store = on_postgres(request.getfixturevalue("database"), tmp_path)
    else:
        store = on_sqlite(tmp_path)

    async def fill(database: Database) -> None:
        async with database.write() as session:
            await session.execute(text(FILL))
        async with database.write() as session:
            if database.engine.dialect.name == "postgresql":
                await session.execute(text("ANALYZE audit"))

    store.run(fill)
    users = {
        name: caller(f"usr_000000000000000000000000{number}", name)
        for name, number in (("owner", 30), ("both", 23), ("nobody", 99))
    }
    return Filled(store, users | {"administrator": caller("usr_x", "x", "admin")})


def test_every_audit_query_is_correct_and_uses_an_index(filled: Filled) -> None:
    async def ask(database: Database) -> None:
        async with database.read() as session:
            entries = list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())))
            assert len(entries) == ENTRIES
            for asking in filled.callers.values():
                for query in QUERIES:
                    filters = AuditFilter(**dict.fromkeys(AuditFilter._fields) | {"actions": (), "limit": 101} | query)
                    found = list(await session.scalars(query_of(asking, filters)))
                    expected = [entry for entry in entries if matches(entry, asking, filters)]
                    assert found == expected[:101], (asking.username, query)
                    assert reads_in_full(await plan(session, asking, filters)) == [], (asking.username, query)

    filled.store.run(ask)


def matches(entry: AuditEntry, asking: Caller, filters: AuditFilter) -> bool:
    """The same in the plainest words."""
    return (
        (asking.is_admin or asking.user_id in {entry.owner_id, entry.actor_id})
        and (filters.actor is None or filters.actor in {entry.actor, entry.actor_id})
        and (not filters.actions or entry.action in filters.actions)
        and (filters.outcome is None or entry.outcome == filters.outcome)
        and (filters.subject is None or filters.subject in {entry.subject_id, entry.subject})
        and (filters.before is None or entry.id < filters.before)
    )


async def plan(session: AsyncSession, asking: Caller, filters: AuditFilter) -> list[str]:
    """How the database goes about it, line by line."""
    dialect = session.get_bind().dialect
    if dialect.name == "postgresql":
        # So small a table may be read in full to show a page; how the page is found is what is asked.
        await session.execute(
            text("SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")
        )
    query = query_of(asking, filters).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    rows = await (await session.connection()).exec_driver_sql(f"{explain} {query}")
    return [str(row[-1]) for row in rows]


def reads_in_full(lines: list[str]) -> list[str]:
    """The lines that tell of reading all entries, or of sorting more than a page."""
    signs = r"Seq Scan on audit|SCAN audit(?! USING COVERING INDEX sqlite_autoindex_audit_1)|TEMP B-TREE FOR ORDER BY"
    return [line for line in lines if re.search(signs, line)]


def test_an_interrupted_export_is_a_broken_connection(
    database: Postgres, postgres_store: Store, interruptible: Client
) -> None:
    async def write(session: AsyncSession) -> None:
        for _ in range(20):
            await session.execute(insert(AuditEntry), [row(details={"note": "x" * 4000}) for _ in range(1000)])

    postgres_store.write(write)
    export = {"params": {"format": "csv"}, "headers": {"X-Request-Id": "interrupted"}}
    with interruptible.http.stream("GET", "/api/v1/audit", **export) as answer:
        chunks = answer.iter_bytes()
        assert next(chunks).startswith(b"id,at,")
        with without(database), pytest.raises(httpx2.RemoteProtocolError):
            for _ in chunks:
                pass
    assert interruptible.process.until_line("request", request_id="interrupted")["status"] == 200
