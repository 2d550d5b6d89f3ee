"""Files are there whole, or not at all."""

from pathlib import Path

import pytest

from serval.errors import DiskFull, TooLarge
from serval.storage.disk import DiskStorage, of_uploads
from serval.storage.space import DiskSpace
from support.http_client import files_arriving


@pytest.fixture
def storage(tmp_path: Path) -> DiskStorage:
    return DiskStorage(tmp_path / "models", DiskSpace(tmp_path, 0))


def incoming(tmp_path: Path) -> list[Path]:
    return files_arriving(tmp_path)


def test_what_is_written_can_be_read_and_leaves_nothing_behind(storage: DiskStorage, tmp_path: Path) -> None:
    storage.write("ver_1/model.onnx", b"graph")
    assert storage.read("ver_1/model.onnx") == b"graph"
    assert incoming(tmp_path) == []


def test_an_upload_is_under_no_key_until_it_is_kept(storage: DiskStorage, tmp_path: Path) -> None:
    upload = storage.receive(of_uploads(10))
    upload.write(b"half")
    assert storage.folders() == []
    storage.keep(upload, "ver_1/source")
    assert (storage.folders(), incoming(tmp_path)) == (["ver_1"], [])
    upload.drop()
    assert storage.read("ver_1/source") == b"half"


def test_an_upload_that_is_dropped_leaves_nothing(storage: DiskStorage, tmp_path: Path) -> None:
    upload = storage.receive(of_uploads(10))
    upload.write(b"half")
    upload.drop()
    assert (storage.folders(), incoming(tmp_path)) == ([], [])


def test_a_chunk_past_the_limit_is_not_written(storage: DiskStorage, tmp_path: Path) -> None:
    upload = storage.receive(of_uploads(4))
    upload.write(b"1234")
    with pytest.raises(TooLarge):
        upload.write(b"5")
    (path,) = incoming(tmp_path)
    upload.drop()
    assert not path.exists()


def test_a_disk_that_is_nearly_full_takes_no_upload(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="min_free_disk_bytes"):
        DiskStorage(tmp_path, DiskSpace(tmp_path, 1 << 60)).receive(of_uploads(10))


def test_an_upload_that_would_take_what_has_to_stay_free_is_refused_by_the_disk(tmp_path: Path) -> None:
    space = DiskSpace(tmp_path, 0)
    space.min_free_bytes = space.free_bytes() - (64 << 20)  # others may write or delete meanwhile
    with (
        DiskStorage(tmp_path / "models", space).receive(of_uploads(1 << 30)) as upload,
        pytest.raises(DiskFull, match="min_free_disk_bytes"),
    ):
        upload.write(bytes(128 << 20))


def test_a_start_sweeps_what_was_on_its_way_in_to_a_process_that_has_ended(tmp_path: Path) -> None:
    alive = DiskStorage(tmp_path / "models", DiskSpace(tmp_path, 0))
    rest = alive.receive(of_uploads(10))
    rest.write(b"rest")
    dead = tmp_path / "models" / "incoming" / "dead"
    dead.mkdir()
    (dead / "half").write_bytes(b"half")
    DiskStorage(tmp_path / "models", DiskSpace(tmp_path, 0))
    assert (len(incoming(tmp_path)), dead.exists()) == (1, False)
    alive.keep(rest, "ver_1/source")
    assert alive.read("ver_1/source") == b"rest"


def test_deleting_a_version_deletes_its_folder_and_no_other(storage: DiskStorage) -> None:
    for version in ("ver_1", "ver_2"):
        storage.write(f"{version}/source", b"x")
    storage.delete("ver_1")
    storage.delete("ver_9")
    assert storage.folders() == ["ver_2"]


def test_a_folder_is_set_aside_and_put_back(storage: DiskStorage) -> None:
    storage.write("ver_1/source", b"x")
    storage.set_aside("ver_1")
    assert (storage.folders(), storage.folders_set_aside()) == ([], ["ver_1"])
    assert not storage.delete_set_aside("ver_1", min_age_seconds=60)
    storage.put_back("ver_1")
    assert (storage.read("ver_1/source"), storage.folders_set_aside()) == (b"x", [])
    storage.set_aside("ver_1")
    assert storage.delete_set_aside("ver_1", min_age_seconds=0)
    assert storage.folders_set_aside() == []


def test_the_owner_of_the_files_is_remembered(storage: DiskStorage, tmp_path: Path) -> None:
    assert storage.owner() is None
    storage.set_owner("one")
    assert DiskStorage(tmp_path / "models", DiskSpace(tmp_path, 0)).owner() == "one"
    assert storage.folders() == []
