"""Free disk space: the floor, the reserve, and what the log and `/health` report."""

import os
from pathlib import Path

import pytest

from serval.errors import DiskFull, Unavailable
from serval.log import open_log
from serval.storage.disk import DiskStorage, of_uploads
from serval.storage.space import PART_BYTES, RESERVE_BYTES, DiskSpace
from serval.storage.watch import DiskWatch
from support.small_disk import small_disk

EVERYTHING = 1 << 62
LOG = open_log(level="error", form="json")


@pytest.fixture
def space(tmp_path: Path) -> DiskSpace:
    return DiskSpace(tmp_path, 0)


def test_a_disk_with_less_free_than_has_to_stay_free_takes_nothing(tmp_path: Path, space: DiskSpace) -> None:
    assert 0 < space.check() <= space.free_bytes() + (1 << 30)
    with pytest.raises(DiskFull, match=f"{EVERYTHING} have to stay free"):
        DiskSpace(tmp_path, EVERYTHING).check()


def test_other_failures_than_a_full_disk_are_called_what_they_are(space: DiskSpace) -> None:
    error = space.failure(OSError(30, os.strerror(30)))
    assert type(error) is Unavailable
    assert "Read-only file system" in error.message


def test_the_reserve_is_given_back_on_a_full_disk_only(space: DiskSpace, tmp_path: Path) -> None:
    space.keep_reserve()
    space.make_room()
    assert (tmp_path / "reserve").stat().st_size == RESERVE_BYTES


def test_a_full_disk_has_room_again_with_the_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24 << 20) as disk:
        space = DiskSpace(disk.folder, 0)
        space.keep_reserve()
        disk.fill()
        assert space.is_full()
        with pytest.raises(DiskFull, match="0 bytes left"):
            DiskStorage(disk.folder / "models", space).receive(of_uploads(1))
        for _ in range(RESERVE_BYTES // PART_BYTES):
            space.make_room()
            assert space.free_bytes() >= PART_BYTES
            space.make_room()  # there is room now
            disk.fill()
        space.make_room()
        assert space.is_full()
        disk.clear()
        space.keep_reserve()
        assert (disk.folder / "reserve").stat().st_size == RESERVE_BYTES


def test_a_file_that_the_disk_does_not_take_is_refused_by_the_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        storage = DiskStorage(disk.folder / "models", DiskSpace(disk.folder, 0))
        with storage.receive(of_uploads(1 << 20)) as upload:
            disk.fill()
            with pytest.raises(DiskFull):
                upload.write(bytes(512 << 10))
        assert list((disk.folder / "models" / "incoming").glob("*/tmp*")) == []


@pytest.mark.anyio
async def test_a_watch_tells_low_from_full_from_unwritable(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24 << 20) as disk:
        watches = {floor: DiskWatch(DiskSpace(disk.folder, floor), LOG) for floor in (0, EVERYTHING)}
        assert [(await watch.look(), await watch.check()) for watch in watches.values()] == [
            ("ok", "ok"),
            ("low", "low"),
        ]
        disk.fill()
        assert await watches[0].check() == "failed: the disk is full"
        assert await watches[0].look() == "full"
        disk.clear()
        assert await watches[0].look() == "ok"
        (disk.folder / "probe").mkdir()
        assert (await watches[0].look(), await watches[0].check()) == (
            "unwritable",
            "failed: the disk is unwritable",
        )
