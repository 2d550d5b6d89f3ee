"""Fixtures that every test may ask for: a running Serval and what it stands on."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.backends import Postgres, postgres, valkey
from support.http_client import Client, serving

# How long an example takes says more of the machine than of the code.
settings.register_profile("serval", deadline=None)
settings.load_profile("serval")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of tests marked `anyio`, and of their async fixtures."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server for databases of which each module has its own."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module", params=["embedded", "postgres"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a server that stands on SQLite and Valkey of its own, and of one on PostgreSQL and Redis elsewhere,
    without the front."""
    if request.param == "embedded":
        yield {}
        return
    server: Postgres = request.getfixturevalue("shared_postgres")
    name = f"serval_{next(_numbers)}"
    server.ask(f"CREATE DATABASE {name};")
    with valkey(tmp_path_factory.mktemp("redis")) as redis:
        yield {"SERVAL_DATABASE_URL": server.url(name), "SERVAL_REDIS_URL": redis.url, "SERVAL_FRONT": "false"}


@pytest.fixture(scope="module")
def server(backend: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A running Serval on each backend, shared by the tests of a module; they use model names of their own."""
    with serving(tmp_path_factory.mktemp("serval") / "data", backend) as client:
        yield client


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A running Serval with everything embedded."""
    with serving(tmp_path_factory.mktemp("serval") / "data", {}) as client:
        yield client


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server of a module's own, for it to stop and start."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server
