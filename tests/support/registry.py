"""A registry in a folder, with a database, a storage and a data plane of its own, and one live version in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from serval.auth.caller import SCOPES, Caller
from serval.auth.credentials import Credential
from serval.changes import Changes
from serval.conversion.signature import Signature
from serval.data_plane.plane import DataPlane
from serval.db.base import now
from serval.db.engine import Database, database_url, open_engine
from serval.db.migrate import migrate
from serval.log import open_log
from serval.metrics import Metrics
from serval.models.live import LiveModels, Probe
from serval.models.load_attempts import LoadAttempts
from serval.models.tables import Model, Version
from serval.storage.disk import DiskStorage
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
    storage: DiskStorage
    attempts: LoadAttempts
    plane: DataPlane
    live: LiveModels

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
    database, storage, data_plane = Database(open_engine(url)), DiskStorage(folder / "models", 0), new_plane(**plane)
    log = open_log(level="error", form="json")
    changes, attempts = Changes(database, Metrics().changes, log), LoadAttempts(folder / "loading")
    live = LiveModels(database, storage, attempts, data_plane.models, changes, log)
    await add_version(database, storage, content or echo())
    try:
        yield Registry(database, storage, attempts, data_plane, live)
    finally:
        await live.stop()
        await database.close()


async def add_version(database: Database, storage: DiskStorage, content: bytes, number: int = 1) -> None:
    """Store a version and make it live; the first one with its user and model."""
    version_id = f"ver_{number}"
    storage.write(f"{version_id}/model.onnx", content)
    storage.write(f"{version_id}/probe", msgspec.msgpack.encode(PROBE))
    signature = msgspec.convert(CONTRACT, Signature)
    async with database.write() as session:
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
                onnx_sha256=sha256(content).hexdigest(),
                created_at=now(),
                ready_at=now(),
            )
        )
