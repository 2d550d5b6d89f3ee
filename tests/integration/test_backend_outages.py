"""Outages of PostgreSQL and Redis; warm predictions are answered throughout."""

import os
import pickle
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support.backends import Postgres, Redis, valkey, without
from support.http_client import SERVAL, Client, serving

IRIS = load_iris()
ROW = {"input": [5.1, 3.5, 1.4, 0.2]}
MODEL = pickle.dumps(LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with valkey(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def service(database: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server whose PostgreSQL and Redis may be stopped, with a live model `iris`."""
    settings = {"SERVAL_DATABASE_URL": f"{database.url()}&sslmode=prefer", "SERVAL_REDIS_URL": redis.url}
    with serving(tmp_path_factory.mktemp("serval") / "data", settings) as client:
        assert client.upload("iris", MODEL).status_code == 201
        yield client


@pytest.fixture
def warm(service: Client) -> Client:
    """The same, with a caller that the data plane knows."""
    assert service.predict("iris", ROW).status_code == 200
    return service


def serval(
    *arguments: str, database_url: str, folder: Path, redis_url: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `serval` until it ends by itself."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SERVAL_")}
    environ |= {
        "SERVAL_DATA_DIR": str(folder),
        "SERVAL_DATABASE_URL": database_url,
        "SERVAL_PORT": "0",
        "SERVAL_METRICS_PORT": "0",
    }
    if redis_url is not None:
        environ["SERVAL_REDIS_URL"] = redis_url
    return subprocess.run([SERVAL, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_migrate_fills_an_empty_database_and_leaves_a_current_one_alone(database: Postgres, tmp_path: Path) -> None:
    database.ask("CREATE DATABASE empty;")
    first, second = (serval("migrate", database_url=database.url("empty"), folder=tmp_path) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("the tables went from nothing to ")
    assert second.stdout.startswith("the tables are up to date (")


def test_migrate_reports_an_unreachable_database_in_one_line(tmp_path: Path) -> None:
    ended = serval("migrate", database_url="postgresql://serval:hunter2@127.0.0.1:1/serval", folder=tmp_path)
    assert ended.returncode == 1
    assert "cannot be used" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "hunter2" not in ended.stderr


@pytest.mark.parametrize("revision", [None, "0000"])
def test_a_server_on_an_old_database_refuses_with_one_line(
    database: Postgres, tmp_path: Path, revision: str | None
) -> None:
    name = f"old{revision or ''}"
    database.ask(f"CREATE DATABASE {name};")
    if revision is not None:
        database.ask(
            "CREATE TABLE alembic_version (version_num varchar(32));"
            f"INSERT INTO alembic_version VALUES ('{revision}');",
            name,
        )
    ended = serval("serve", database_url=database.url(name), folder=tmp_path / "data")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"the database is at revision {revision or 'none'} " in line
    assert "run `serval migrate`" in line


@pytest.mark.parametrize(
    "url", ["postgresql://u@127.0.0.1:1/x", "postgresql://u@/x?host=/nowhere", "postgresql://u@127.0.0.1/x?sslmode=odd"]
)
def test_a_server_without_its_database_refuses_with_one_line(tmp_path: Path, url: str) -> None:
    ended = serval("serve", database_url=url, folder=tmp_path / "data")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "The database postgresql" in line


def test_a_server_without_its_redis_refuses_with_one_line(database: Postgres, service: Client, tmp_path: Path) -> None:
    ended = serval("serve", database_url=database.url(), redis_url="redis://127.0.0.1:1/0", folder=tmp_path / "data")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "SERVAL_REDIS_URL" in line


def test_a_warm_prediction_touches_neither_database_nor_redis_nor_file(
    warm: Client, database: Postgres, redis: Redis
) -> None:
    models, away = warm.folder / "models", warm.folder / "away"
    with without(database), without(redis):
        models.rename(away)
        try:
            answers = [warm.predict("iris", ROW, headers={"Cache-Control": "no-cache"}) for _ in range(50)]
            many = warm.predict("iris", {"inputs": IRIS.data.tolist()})
            csv = warm.predict("iris", b"5.1,3.5,1.4,0.2\n", headers={"Content-Type": "text/csv; header=absent"})
        finally:
            away.rename(models)
    assert {answer.status_code for answer in answers} == {200}
    assert (many.status_code, csv.status_code) == (200, 200)


def test_the_api_is_a_503_while_the_database_is_stopped(warm: Client, database: Postgres) -> None:
    with without(database):
        answers = [
            warm.http.get("/api/v1/models"),
            warm.http.post("/api/v1/api-keys", json={"name": "new"}),
            warm.upload("other", MODEL),
            warm.predict("iris", ROW, headers={"X-API-Key": "srv_" + "a" * 43 + "00000000"}),
        ]
        health = warm.http.get("/health").json()
    assert [answer.status_code for answer in answers] == [503, 503, 503, 401]
    assert {answer.json()["code"] for answer in answers[:3]} == {"database_unavailable"}
    assert all(answer.headers["retry-after"] for answer in answers[:3])
    assert (health["status"], health["checks"]["redis"]) == ("degraded", "ok")
    assert health["checks"]["database"].startswith("failed")
    assert warm.http.get("/api/v1/models").status_code == 200
    assert warm.http.get("/health").json()["status"] == "ok"


def test_without_redis_health_is_degraded_and_no_request_fails(warm: Client, redis: Redis) -> None:
    with without(redis):
        assert warm.predict("iris", ROW).status_code == 200
        assert warm.http.get("/api/v1/models").status_code == 200
        health = warm.http.get("/health").json()
        assert (health["status"], health["checks"]["database"]) == ("degraded", "ok")
        assert warm.http.get("/health/ready").status_code == 200
    assert warm.http.get("/health").json()["status"] == "ok"


def test_an_accepted_upload_survives_an_outage_of_the_database(service: Client, database: Postgres) -> None:
    assert service.upload("patient", MODEL, wait_seconds=0).status_code == 202
    with without(database):
        service.process.until("conversion_waiting_for_database")
    service.await_version("patient", 1, "ready")
    assert service.predict("patient", ROW).status_code == 200


def test_simultaneous_first_uploads_of_a_name_are_versions_of_one_model(service: Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: service.upload("crowd", MODEL, wait_seconds=0), range(4)))
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4]
    assert len({answer.json()["model_id"] for answer in answers}) == 1
    for number in range(1, 5):
        service.await_version("crowd", number, "ready")
    assert service.http.get("/api/v1/models/crowd").json()["live_version"] == 4


def test_values_that_a_database_cannot_store_cause_no_500(server: Client) -> None:
    server.upload("odd-values", MODEL)
    answers = [
        server.http.patch("/api/v1/models/odd-values", json={"description": "a\0b"}),
        server.http.get("/api/v1/models/a%00b"),
        server.http.get(f"/api/v1/models/odd-values/versions/{10**20}"),
        server.http.post("/api/v1/api-keys", json={"name": "a\0b"}),
        server.upload("odd-values", MODEL, filename="a\0b.pkl", wait_seconds=0),
        server.upload("odd-values", MODEL, description="a\0b", wait_seconds=0),
        server.predict("odd-values", ROW, version=str(10**20)),
        server.predict("a%00b", ROW),
    ]
    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []


def test_an_embedded_database_locked_by_another_program_makes_a_request_wait(embedded_server: Client) -> None:
    with (
        closing(sqlite3.connect(embedded_server.folder / "serval.sqlite", isolation_level=None)) as other,
        ThreadPoolExecutor() as pool,
    ):
        other.execute("BEGIN IMMEDIATE")
        created = pool.submit(embedded_server.http.post, "/api/v1/api-keys", json={"name": "late"})
        assert embedded_server.http.get("/api/v1/models").status_code == 200
        time.sleep(2)  # the lock is held for some time on purpose
        assert not created.done()
        other.execute("COMMIT")
        assert created.result().status_code == 201
