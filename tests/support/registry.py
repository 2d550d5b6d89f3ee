"""A registry in a folder, with a database, a storage and a data plane of its own, and one live version in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from serval.auth.caller import SCOPES, Caller
from serval.auth.credentials import Credential
from serval.changes import Changes
from serval.conversion.signature import Signature
from serval.data_plane.plane import DataPlane
from serval.db.engine import Database, database_url, now, open_engine
from serval.db.migrate import migrate
from serval.deployments.publishing import RoutePublisher
from serval.log import open_log
from serval.metrics import Metrics
from serval.models.files import Probe, VersionFiles
from serval.models.load_attempts import LoadAttempts
from serval.models.loading import ModelLoader
from serval.models.tables import Model, Version
from serval.storage.disk import DiskStorage
from serval.storage.space import DiskSpace
from serval.users.tables import User
from support import graphs
from support.planes import new_plane, regressor

PRESENTED = Credential("key", "a key")
KEY = PRESENTED.digest
CALLER = Caller(
    user_id="usr_1",
    username="ada",
    role="user",
    scopes=frozenset(SCOPES),
    models=None,
    key_id="key_1",
    session_id=None,
    digest=KEY,
    expires_at=None,
    api_rate=None,
    predict_limits=(),
    quota=None,
)
CONTRACT = regressor(2, targets=2, is_multi_target=True, has_names=False)
PROBE = Probe(np.ones((4, 2)).tobytes(), [])


class Registry(NamedTuple):
    database: Database
    files: VersionFiles
    attempts: LoadAttempts
    plane: DataPlane
    loader: ModelLoader
    routes: RoutePublisher
    changes: Changes

    async def start(self) -> None:
        """Load what is live, publish it, and watch it."""
        await self.routes.start()
        await self.loader.start()

    async def stop(self) -> None:
        await self.loader.stop()
        await self.routes.stop()

    async def version(self) -> Version:
        async with self.database.read() as session:
            return await session.get_one(Version, "ver_1")


def echo() -> bytes:
    """Two columns in, the same two values out."""
    return graphs.echo(2, "float32").SerializeToString()


def heavy(width: int = 1500, layers: int = 24) -> bytes:
    """The same contract at a hundred thousand times the cost."""
    return graphs.products(width, layers).SerializeToString()


@asynccontextmanager
async def registry(folder: Path, content: bytes | None = None, **plane: Any) -> AsyncIterator[Registry]:
    url = database_url(None, folder)
    await migrate(url)
    database, files, data_plane = Database(open_engine(url)), files_in(folder), new_plane(**plane)
    log = open_log(level="error", form="json")
    changes, attempts = Changes(database, Metrics().changes, log), LoadAttempts(folder / "loading")
    loader = ModelLoader(database, files, attempts, data_plane.models, changes, log)
    routes = RoutePublisher(database, loader, data_plane.models, changes, log)
    parts = Registry(database, files, attempts, data_plane, loader, routes, changes)
    await add_version(parts, content or echo())
    try:
        yield parts
    finally:
        await parts.stop()
        await database.close()


def files_in(folder: Path) -> VersionFiles:
    return VersionFiles(DiskStorage(folder / "models", DiskSpace(folder, 0)))


async def add_version(parts: Registry, content: bytes, number: int = 1) -> None:
    """Store a version and make it live; the first one with its user and model."""
    version_id = f"ver_{number}"
    sha256 = parts.files.store(version_id, content, PROBE)
    signature = msgspec.convert(CONTRACT, Signature)
    async with parts.database.write() as session:
        if number == 1:
            session.add(User(id="usr_1", username="ada", role="user", created_at=now()))
            await session.flush()
            session.add(Model(id="mdl_1", owner_id="usr_1", name="echo", description="", live=1, created_at=now()))
            await session.flush()
        (await session.get_one(Model, "mdl_1")).live = number
        session.add(
            Version(
                id=version_id,
                model_id="mdl_1",
                number=number,
                status="ready",
                lifecycle="active",
                filename="echo.pkl",
                source_bytes=1,
                source_sha256="",
                request={},
                attempts=0,
                signature=msgspec.to_builtins(signature),
                onnx_bytes=len(content),
                onnx_sha256=sha256,
                created_at=now(),
                ready_at=now(),
            )
        )
