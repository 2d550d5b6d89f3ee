"""Files that commands write."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from serval.commands.files import write_new


def test_a_new_file_has_every_part_and_the_mode_of_new_files(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    before = os.umask(0o027)
    try:
        assert write_new(file, [b"one", b"", b"two"]) == 6
    finally:
        os.umask(before)
    assert file.read_bytes() == b"onetwo"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"before")
    with pytest.raises(FileExistsError):
        write_new(file, [b"after"])
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one"
        raise ConnectionError("the server has gone")

    with pytest.raises(ConnectionError):
        write_new(tmp_path / "model.onnx", parts())
    assert list(tmp_path.iterdir()) == []
