"""Fixtures that every test may ask for: a running Serval and what it stands on."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from backends import Postgres, postgres, valkey
from client import Client, serving

# How long an example takes says more of the machine than of the code.
settings.register_profile("serval", deadline=None)
settings.load_profile("serval")


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a server that stands on PostgreSQL and Redis elsewhere, without the front."""
    with postgres(tmp_path_factory.mktemp("postgres")) as database, valkey(tmp_path_factory.mktemp("redis")) as redis:
        yield {"SERVAL_DATABASE_URL": database.url(), "SERVAL_REDIS_URL": redis.url, "SERVAL_FRONT": "false"}


@pytest.fixture(scope="session", params=["embedded", "postgres"])
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of a server that stands on SQLite and Valkey of its own, and of one on PostgreSQL and Redis elsewhere."""
    found: dict[str, str] = {} if request.param == "embedded" else request.getfixturevalue("elsewhere")
    return found


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A running Serval with everything embedded."""
    with serving(tmp_path_factory.mktemp("serval") / "data", {}) as client:
        yield client


@pytest.fixture(scope="session")
def postgres_server(elsewhere: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("serval") / "data", elsewhere) as client:
        yield client


@pytest.fixture(scope="session")
def server(backend: dict[str, str], request: pytest.FixtureRequest) -> Client:
    """A running Serval on each backend, shared by the tests of a session; tests use names of their own."""
    found: Client = request.getfixturevalue("postgres_server" if backend else "embedded_server")
    return found


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server of a module's own, for it to stop and start."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server
