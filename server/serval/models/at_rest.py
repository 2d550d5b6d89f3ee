"""Compares the stored files of versions with their rows in the database; no server has to run for it."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import select

from serval.conversion.golden import Golden
from serval.db.engine import Database, database_url, open_engine
from serval.db.integrity import find_problem
from serval.errors import CannotStart
from serval.models.files import Probe
from serval.models.tables import Version
from serval.settings.settings import Settings


class Problem(NamedTuple):
    """Something at rest that is not as it should be."""

    path: str
    """File or folder."""
    message: str


async def find_problems(database: Database, root: Path) -> list[Problem]:
    """Return what is missing, damaged, or without a row among the files of versions below `root`, by their names;
    nothing is written. Raises DatabaseUnavailable."""
    async with database.read() as session:
        versions = list(await session.scalars(select(Version).order_by(Version.id)))
    return await asyncio.to_thread(_find_problems, versions, root)


def _find_problems(versions: Sequence[Version], root: Path) -> list[Problem]:
    known = {version.id for version in versions}
    strays = sorted(path for path in root.glob("ver_*") if path.name not in known)
    problems = [problem for version in versions for problem in _problems_of(version, root / version.id)]
    return problems + [Problem(str(path), "no version in the database has it") for path in strays]


def _problems_of(version: Version, folder: Path) -> Iterator[Problem]:
    if version.status != "failed":
        yield from _problems_with_digest(folder / "source", version.source_sha256)
    if version.status != "ready":
        return
    yield from _problems_with_digest(folder / "model.onnx", version.onnx_sha256)
    yield from _problems_with_decoding(folder / "probe", msgspec.msgpack.Decoder(Probe))
    if (version.report or {}).get("golden_requests"):
        yield from _problems_with_decoding(folder / "golden.json", msgspec.json.Decoder(Golden))


def _problems_with_digest(path: Path, sha256: str | None) -> Iterator[Problem]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        yield Problem(str(path), f"cannot be read: {error.strerror}")
        return
    if digest.hexdigest() != sha256:
        yield Problem(str(path), "is not the file that was stored: its SHA-256 is another")


def _problems_with_decoding(
    path: Path, decoder: msgspec.msgpack.Decoder[Probe] | msgspec.json.Decoder[Golden]
) -> Iterator[Problem]:
    try:
        decoder.decode(path.read_bytes())
    except OSError as error:
        yield Problem(str(path), f"cannot be read: {error.strerror}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        yield Problem(str(path), f"is damaged: {error}")


async def problems_at_rest(settings: Settings) -> list[Problem]:
    """Raises CannotStart where there is no data folder, DatabaseUnavailable."""
    url = database_url(settings.database_url, settings.data_dir)
    models = settings.data_dir / "models"
    if not await asyncio.to_thread(models.is_dir):
        raise CannotStart(f"`{settings.data_dir}` is no data folder of Serval: choose it with `--data-dir`")
    problems = await asyncio.to_thread(problems_with_access, settings.data_dir)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        if not await asyncio.to_thread(lambda: file.is_file() and file.stat().st_size > 0):
            return [*problems, Problem(str(file), "is missing or empty")]
        if (damage := await asyncio.to_thread(find_problem, file, "integrity_check")) is not None:
            return [*problems, Problem(str(file), f"is damaged: {damage}")]
    database = Database(open_engine(url))
    try:
        return problems + await find_problems(database, models)
    finally:
        await database.close()


def problems_with_access(folder: Path) -> list[Problem]:
    """What others than its owner may read or write of a data folder and its keys."""

    looked_at = [folder, folder / "admin.key"]
    return [
        Problem(str(path), f"others may use it (mode {path.stat().st_mode & 0o777:04o}): `chmod go= {path}`")
        for path in looked_at
        if path.exists() and path.stat().st_mode & 0o077
    ]
