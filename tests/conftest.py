"""Fixtures that every test may ask for: a running Serval and what it stands on."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from support.backends import Postgres, postgres, valkey
from support.http_client import Client, migrate, serving

# Every core has a test of its own: where BLAS and OpenMP took all of them for each, they would mostly spin.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# `make test` measures the lines that the tests run, and the processes that they start: see `support/measured`.
if "SLIPCOVER_ENABLED" in os.environ and "PYTEST_XDIST_WORKER" in os.environ:
    root = Path(__file__).resolve().parent.parent
    measured = [root / "server" / "serval", root / "client" / "serval_client"]
    path = [str(root / "tests" / "support" / "measured"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ |= {
        "MEASURED_BY_TESTS": os.pathsep.join(map(str, measured)),
        "PYTHONPATH": os.pathsep.join(path),
        "COVERAGE_FILE": str(root / ".coverage"),
    }

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
    """A PostgreSQL server for databases that are copied from one with the tables."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        migrate(tmp_path_factory.mktemp("migrated"), server.url())
        yield server


@contextmanager
def postgres_settings(server: Postgres, folders: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a server on a PostgreSQL database of its own, with the tables, and Redis elsewhere; no front."""
    name = f"serval_{next(_numbers)}"
    server.ask(f"CREATE DATABASE {name} TEMPLATE serval;")
    with valkey(folders.mktemp("redis")) as redis:
        yield {"SERVAL_DATABASE_URL": server.url(name), "SERVAL_REDIS_URL": redis.url, "SERVAL_FRONT": "false"}


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A running Serval with everything embedded, as it is by default."""
    settings = {"SERVAL_CONVERT_PRELOAD": "true"}
    with serving(tmp_path_factory.mktemp("serval") / "data", settings, is_measured=True) as client:
        yield client


@pytest.fixture(scope="session")
def folder_with_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that has stopped, with the models `iris` and `limited` live. A server on a copy of it
    converts nothing, which would cost more than its start."""
    from support.replicas import constant  # scikit-learn, for those that need it
    from support.sample_models import iris_classifier

    folder = tmp_path_factory.mktemp("serval") / "data"
    with serving(folder, {}) as client:
        for name, content in (("iris", iris_classifier()), ("limited", constant(1))):
            assert client.upload(name, content).status_code == 201
    return folder


@pytest.fixture(scope="session")
def postgres_server(
    shared_postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], Client]]:
    """A running Serval on PostgreSQL and Redis, and its settings."""
    with (
        postgres_settings(shared_postgres, tmp_path_factory) as settings,
        serving(tmp_path_factory.mktemp("serval") / "data", settings, is_migrated=True) as client,
    ):
        yield settings, client


@pytest.fixture(scope="module", params=["embedded", "postgres"])
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of `server` that name its database and its Redis, if these are not embedded."""
    return {} if request.param == "embedded" else dict(request.getfixturevalue("postgres_server")[0])


@pytest.fixture(scope="module")
def server(backend: dict[str, str], request: pytest.FixtureRequest) -> Client:
    """A running Serval on each backend. A start takes seconds, so all modules share it: they use models and users of
    their own."""
    if backend:
        client: Client = request.getfixturevalue("postgres_server")[1]
        return client
    embedded: Client = request.getfixturevalue("embedded_server")
    return embedded


@pytest.fixture(scope="module", params=["embedded", "postgres"])
def own_backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a server of a module's own: on SQLite and Valkey, and on a fresh PostgreSQL database and Redis."""
    if request.param == "embedded":
        yield {}
        return
    with postgres_settings(request.getfixturevalue("shared_postgres"), tmp_path_factory) as settings:
        yield settings


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server of a module's own, for it to stop and start."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server
