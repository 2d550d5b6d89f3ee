"""Files of versions that the database does not know, and files of another database."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serval.errors import CannotStart
from serval.log import open_log
from serval.models.stray_files import FEW, StrayFiles, check_owner
from serval.models.tables import Version
from serval.storage.disk import DiskStorage
from serval.storage.space import DiskSpace
from support.registry import Registry, registry

pytestmark = pytest.mark.anyio

DAY_SECONDS = 24 * 3600


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Registry]:
    """With the version `ver_1`."""
    async with registry(tmp_path) as opened:
        yield opened


@pytest.fixture
def storage(tmp_path: Path) -> DiskStorage:
    return DiskStorage(tmp_path / "models", DiskSpace(tmp_path, 0))


def strays_of(parts: Registry, storage: DiskStorage) -> StrayFiles:
    return StrayFiles(parts.database, storage, open_log(level="error", form="json"))


def add_folders(tmp_path: Path, *names: str, age_seconds: float = 2 * 3600) -> None:
    for name in names:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "source").write_bytes(b"x")
        os.utime(folder, (time.time() - age_seconds,) * 2)


async def test_files_without_a_row_are_set_aside_and_deleted_a_day_later(
    parts: Registry, storage: DiskStorage, tmp_path: Path
) -> None:
    add_folders(tmp_path, "ver_old")
    add_folders(tmp_path, "ver_new", age_seconds=0)
    strays = strays_of(parts, storage)
    await strays.sweep()
    await strays.sweep()
    assert (storage.folders(), storage.folders_set_aside()) == (["ver_1", "ver_new"], ["ver_old"])
    os.utime(tmp_path / "models" / "set-aside" / "ver_old", (time.time() - DAY_SECONDS,) * 2)
    await strays.sweep()
    assert storage.folders_set_aside() == []


async def test_files_are_put_back_when_their_row_is_there_again(parts: Registry, storage: DiskStorage) -> None:
    storage.set_aside("ver_1")
    await strays_of(parts, storage).sweep()
    assert (storage.folders(), storage.folders_set_aside()) == (["ver_1"], [])


async def test_where_much_would_go_nothing_does(parts: Registry, storage: DiskStorage, tmp_path: Path) -> None:
    names = [f"ver_{number:02}" for number in range(10, 11 + FEW)]
    add_folders(tmp_path, *names)
    await strays_of(parts, storage).sweep()
    assert (len(storage.folders()), storage.folders_set_aside()) == (2 + FEW, [])


async def test_files_belong_to_the_database_that_knows_them_first(parts: Registry, storage: DiskStorage) -> None:
    await check_owner(parts.database, storage, "one")
    await check_owner(parts.database, storage, "one")
    with pytest.raises(CannotStart, match=r"/models` holds the files of 1 versions of another database") as refused:
        await check_owner(parts.database, storage, "two")
    assert str(refused.value).startswith(f"`{storage.root}` holds")
    assert "serval.sqlite`" in str(refused.value)


async def test_files_of_nobody_are_not_taken_by_a_database_that_knows_none(
    parts: Registry, storage: DiskStorage, tmp_path: Path
) -> None:
    async with parts.database.write() as session:
        await session.delete(await session.get_one(Version, "ver_1"))
    with pytest.raises(CannotStart, match="another database"):
        await check_owner(parts.database, storage, "one")
    (tmp_path / "models" / "ver_1").rename(tmp_path / "elsewhere")
    await check_owner(parts.database, storage, "one")
    assert storage.owner() == "one"
