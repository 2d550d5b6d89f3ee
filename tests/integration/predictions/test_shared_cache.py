"""Two servers share predictions in one cache, whatever becomes of that cache."""

import pickle
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import httpx2
import pytest
import redis
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serval.auth import key_format as keys
from support.backends import Postgres, Redis, valkey
from support.http_client import Client, serving
from support.tls import tls_before
from support.waiting import wait_until

IRIS = load_iris()
MODEL = pickle.dumps(LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target))
ROW = {"input": [5.1, 3.5, 1.4, 0.2]}
FRESH = count()
BOB = keys.new_key()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with valkey(tmp_path_factory.mktemp("cache")) as server:
        yield server


@pytest.fixture(scope="module")
def replicas(
    database: Postgres, cache: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, Client]]:
    """Two servers that share all but their process, and a model `iris` of each of two users that always asks the
    cache."""
    with ExitStack() as stack:
        redis_url = stack.enter_context(valkey(tmp_path_factory.mktemp("redis"))).url
        settings = {"SERVAL_DATABASE_URL": database.url(), "SERVAL_REDIS_URL": redis_url, "SERVAL_CACHE_URL": cache.url}
        first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
        one = stack.enter_context(serving(first, settings))
        for headers in ({}, key_of_bob(database)):
            upload = one.http.post(
                "/api/v1/models/upload",
                files={"file": ("m.pkl", MODEL)},
                data={"name": "iris"},
                headers={**headers, "Prefer": "wait=120"},
            )
            assert upload.status_code == 201, upload.text
            assert (
                one.http.patch(
                    "/api/v1/models/iris", json={"cache": "l2", "cache_ttl_seconds": 600}, headers=headers
                ).status_code
                == 200
            )
        shutil.copy(first / "admin.key", second)
        (second / "models").symlink_to(first / "models")
        two = stack.enter_context(serving(second, settings, is_migrated=True))
        for replica in (one, two):
            await_state(replica, "up")
        yield one, two


def await_state(client: Client, state: str) -> None:
    """Wait for the first state of the cache, which may have been told before the server was ready."""
    if not any(line["event"] == "cache_level_two" and line["state"] == state for line in client.process.events):
        client.process.until_line("cache_level_two", state=state)


def key_of_bob(database: Postgres) -> dict[str, str]:
    """A user and a key, written where the service finds them: there is no route that makes users yet."""
    digest, prefix = keys.digest(BOB).hex(), keys.visible_prefix(BOB)
    database.ask(
        "INSERT INTO users (id, username, role, created_at) VALUES ('usr_bob', 'bob', 'user', now());"
        "INSERT INTO api_keys (id, user_id, name, digest, prefix, created_at) "
        f"VALUES ('key_bob', 'usr_bob', 'test', decode('{digest}', 'hex'), '{prefix}', now());",
        "serval",
    )
    return {"X-API-Key": BOB}


def fresh() -> dict[str, list[float]]:
    """A row that nobody has asked yet."""
    return {"input": [5.1, 3.5, 1.4, 1 + next(FRESH) / 1000]}


def entries(cache: Redis) -> int:
    return int(redis.Redis.from_url(cache.url).dbsize())


def test_a_row_run_by_one_server_is_a_hit_with_equal_values_on_the_other(
    replicas: tuple[Client, Client], cache: Redis
) -> None:
    one, two = replicas

    def asked_of_both() -> tuple[httpx2.Response, httpx2.Response]:
        before = entries(cache)
        first = one.predict("iris", row := fresh())
        wait_until(lambda: entries(cache) > before)
        return first, two.predict("iris", row)

    # A machine that is busy may miss the few milliseconds that an answer of the cache is waited for.
    pairs = (asked_of_both() for _ in range(20))
    first, second = next(pair for pair in pairs if pair[1].headers["x-cache"] == "l2")
    assert first.headers["x-cache"] == "miss"
    told = [{name: answer.json()[name] for name in ("prediction", "probabilities")} for answer in (first, second)]
    assert told[0] == told[1]
    assert second.json()["cache_hit"] is True


def test_tenants_with_the_same_model_file_share_no_entries(replicas: tuple[Client, Client], cache: Redis) -> None:
    one, two = replicas
    row, before = fresh(), entries(cache)
    one.predict("iris", row)
    wait_until(lambda: entries(cache) == before + 1)
    answer = two.predict("iris", row, headers={"X-API-Key": BOB})
    assert (answer.status_code, answer.headers["x-cache"]) == (200, "miss")
    wait_until(lambda: entries(cache) == before + 2)


@contextmanager
def asked_all_the_while(client: Client) -> Iterator[None]:
    """Ask warm rows and new ones until the block ends; each is answered, the warm ones from the process."""
    client.predict("iris", ROW)
    done, odd = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            for row, expected in ((ROW, {"l1"}), (fresh(), {"l2", "miss"})):
                answer = client.predict("iris", row)
                if answer.status_code != 200 or answer.headers["x-cache"] not in expected:
                    odd.append((answer.status_code, answer.text))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        done.set()
        asking.join()
    assert odd == []


def test_predictions_succeed_while_the_cache_is_stopped_and_started(
    replicas: tuple[Client, Client], cache: Redis
) -> None:
    with asked_all_the_while(replicas[0]):
        cache.stop()
        replicas[0].process.until_line("cache_level_two", state="down")
        cache.start()
        replicas[0].process.until_line("cache_level_two", state="up")


def test_predictions_succeed_while_the_cache_is_paused(replicas: tuple[Client, Client], cache: Redis) -> None:
    with asked_all_the_while(replicas[0]):
        cache.pause()
        replicas[0].process.until_line("cache_level_two", state="down")
        cache.resume()
        replicas[0].process.until_line("cache_level_two", state="up")


def test_predictions_succeed_while_the_cache_is_full(replicas: tuple[Client, Client], cache: Redis) -> None:
    keeper = redis.Redis.from_url(cache.url)
    with asked_all_the_while(replicas[0]):
        keeper.config_set("maxmemory", "1")
        replicas[0].process.until_line("cache_level_two", state="read_only")
        keeper.config_set("maxmemory", "0")
        replicas[0].process.until_line("cache_level_two", state="up")


def test_a_cache_behind_tls_is_used_if_its_certificate_is_trusted(cache: Redis, tmp_path: Path) -> None:
    with tls_before(int(cache.url.rpartition(":")[2].partition("/")[0]), tmp_path) as (port, authority):
        settings = {
            "SERVAL_CACHE_URL": f"rediss://localhost:{port}/0",
            "SSL_CERT_FILE": str(authority),
        }
        with serving(tmp_path / "data", settings) as client:
            await_state(client, "up")
            assert client.upload("iris", MODEL).status_code == 201
            assert (
                client.http.patch("/api/v1/models/iris", json={"cache": "l2", "cache_ttl_seconds": 0}).status_code
                == 200
            )
            before, row = entries(cache), fresh()
            assert client.predict("iris", row).headers["x-cache"] == "miss"
            wait_until(lambda: entries(cache) > before)
            wait_until(lambda: client.predict("iris", row).headers["x-cache"] == "l2")


def test_predictions_succeed_without_a_cache_whose_certificate_is_not_trusted(cache: Redis, tmp_path: Path) -> None:
    with tls_before(int(cache.url.rpartition(":")[2].partition("/")[0]), tmp_path) as (port, _):
        settings = {"SERVAL_CACHE_URL": f"rediss://localhost:{port}/0"}
        with serving(tmp_path / "data", settings) as client:
            await_state(client, "down")
            assert client.upload("iris", MODEL).status_code == 201
            assert client.predict("iris", fresh()).headers["x-cache"] == "miss"
