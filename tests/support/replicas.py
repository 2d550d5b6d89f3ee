"""Two servers on one PostgreSQL and one Redis, with one folder of model files."""

import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from sklearn.dummy import DummyClassifier

from support.backends import Postgres, Redis, postgres, valkey
from support.http_client import Client, serving


class Replicas(NamedTuple):
    """Servers that share everything, and what they stand on."""

    first: Client
    second: Client
    database: Postgres
    redis: Redis


@contextmanager
def replicas(folders: pytest.TempPathFactory, **settings: str) -> Iterator[Replicas]:
    """Run two servers until the block ends."""
    with postgres(folders.mktemp("postgres")) as database, valkey(folders.mktemp("redis")) as redis:
        shared = {"SERVAL_DATABASE_URL": database.url(), "SERVAL_REDIS_URL": redis.url, **settings}
        folder = folders.mktemp("replicas")
        (folder / "models").mkdir()
        with serving(data_folder(folder, "first"), shared) as first:
            other = data_folder(folder, "second")
            shutil.copy(first.folder / "admin.key", other)
            with serving(other, shared, is_migrated=True) as second:
                yield Replicas(first, second, database, redis)


def data_folder(folder: Path, name: str) -> Path:
    """A data folder whose model files lie where those of the others do."""
    made = folder / name
    made.mkdir(mode=0o700)
    (made / "models").symlink_to(folder / "models")
    return made


ROW = {"input": [1.0]}


def constant(answer: int) -> bytes:
    """A classifier that always says the same."""
    return pickle.dumps(
        DummyClassifier(strategy="constant", constant=answer).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 2, 3])
    )
