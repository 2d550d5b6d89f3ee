"""Fixtures that every test may ask for: a running Serval and what it stands on."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from backends import Postgres, postgres, valkey
from client import Client, serving

# How long an example takes says more of the machine than of the code.
settings.register_profile("serval", deadline=None)
settings.load_profile("serval")


@pytest.fixture(scope="session", params=["embedded", "postgres"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a server that stands on SQLite and Valkey of its own, and of one on PostgreSQL and Redis elsewhere, without the front."""
    with ExitStack() as stack:
        if request.param == "embedded":
            yield {}
        else:
            database_url = stack.enter_context(postgres(tmp_path_factory.mktemp("postgres"))).url()
            redis_url = stack.enter_context(valkey(tmp_path_factory.mktemp("redis"))).url
            yield {"SERVAL_DATABASE_URL": database_url, "SERVAL_REDIS_URL": redis_url, "SERVAL_FRONT": "false"}


@pytest.fixture(scope="session")
def server(backend: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A running Serval, shared by the tests of a session on each backend; tests use model names of their own."""
    folder = tmp_path_factory.mktemp("serval") / "data"
    with serving(folder, backend) as client:
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
