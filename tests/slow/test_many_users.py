"""With 10,000 users and 100,000 keys, start, look-up and lists stay fast and read little."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import insert

from serval.auth import key_format as keys
from serval.auth.caller import SCOPES
from serval.db.engine import Database, database_url, open_engine
from serval.ids import new_id
from serval.users.tables import ApiKey, User
from support import plain_http
from support.http_client import Client, serving

pytestmark = pytest.mark.slow

USERS = 10_000
KEYS = 100_000
BATCH = 5_000
ASKED = 300
MOST_SECONDS = 0.05


@pytest.fixture(scope="module")
def crowd(own_backend: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A data folder whose database holds them, and some of the keys."""
    folder = tmp_path_factory.mktemp("serval") / "data"
    with serving(folder, own_backend, is_migrated=True):
        pass
    return folder, asyncio.run(fill(database_url(own_backend.get("SERVAL_DATABASE_URL"), folder)))


async def fill(url: object) -> list[str]:
    at = datetime.now(UTC)
    users = [
        {
            "id": new_id("usr"),
            "username": f"crowd-{number}",
            "email": f"crowd-{number}@example.com",
            "role": "user",
            "created_at": at,
        }
        for number in range(USERS)
    ]
    secrets = [keys.new_key() for _ in range(KEYS)]
    rows = [
        {
            "id": new_id("key"),
            "user_id": users[number % USERS]["id"],
            "name": f"key {number}",
            "digest": keys.digest(secret),
            "prefix": secret[:12],
            "scopes": list(SCOPES),
            "created_at": at,
        }
        for number, secret in enumerate(secrets)
    ]
    database = Database(open_engine(url))  # type: ignore[arg-type]
    async with database.write() as session:
        for table, things in ((User, users), (ApiKey, rows)):
            for start in range(0, len(things), BATCH):
                await session.execute(insert(table), things[start : start + BATCH])
    await database.close()
    return secrets[:: KEYS // (3 * ASKED)]


@pytest.fixture(scope="module")
def server(own_backend: dict[str, str], crowd: tuple[Path, list[str]]) -> Iterator[Client]:
    began = time.monotonic()
    with serving(crowd[0], own_backend, is_migrated=True) as client:
        assert time.monotonic() - began < 10
        yield client


def p95(asks: Iterator[Callable[[], httpx2.Response]]) -> float:
    """Seconds that nineteen of twenty answers take at most."""
    seconds = []
    for ask in asks:
        began = time.perf_counter()
        assert ask().status_code == 200
        seconds.append(time.perf_counter() - began)
    return statistics.quantiles(seconds, n=20)[-1]


def test_an_uncached_key_is_found_fast_among_a_hundred_thousand(server: Client, crowd: tuple[Path, list[str]]) -> None:
    secrets = crowd[1][:ASKED]
    with plain_http.client(base_url=server.url) as http:
        assert (
            p95(lambda secret=secret: http.get("/api/v1/auth/me", headers={"X-API-Key": secret}) for secret in secrets)
            < MOST_SECONDS
        )


def test_lists_are_read_page_by_page(server: Client, crowd: tuple[Path, list[str]]) -> None:
    def users() -> Iterator[Callable[[], httpx2.Response]]:
        cursor: str | None = None
        for _ in range(80):
            page = server.http.get(
                "/api/v1/users", params={"limit": 100, **({"cursor": cursor} if cursor else {})}
            ).json()
            cursor = page["next"]
            yield partial(server.http.get, "/api/v1/users", params={"limit": 100, "cursor": cursor})

    assert p95(users()) < MOST_SECONDS
    secrets = crowd[1][ASKED : 2 * ASKED]
    with plain_http.client(base_url=server.url) as http:
        own = (lambda secret=secret: http.get("/api/v1/api-keys", headers={"X-API-Key": secret}) for secret in secrets)
        assert p95(own) < MOST_SECONDS
