"""`serval verify-data` finds what is damaged at rest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from support import command_line

Damage = Callable[[Path], object]


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def problems(folder: Path, code: int) -> list[dict[str, str]]:
    ran = command_line.run("verify-data", "--data-dir", folder, "--json", folder=folder.parent)
    assert ran.code == code, ran.err
    found: list[dict[str, str]] = json.loads(ran.out)["problems"]
    return found


def test_everything_at_rest_is_examined_and_each_damage_is_named(folder_with_models: Path, tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    shutil.copytree(folder_with_models, sound)
    sound.chmod(0o700)
    assert problems(sound, 0) == []
    (first, _) = sorted(path.name for path in (sound / "models").glob("ver_*"))
    damages: list[tuple[str, Damage, str]] = [
        (f"models/{first}/source", changed, "SHA-256"),
        (f"models/{first}/model.onnx", changed, "SHA-256"),
        (f"models/{first}/model.onnx", Path.unlink, "No such file"),
        (f"models/{first}/probe", lambda path: path.write_bytes(b"\xc1"), "is damaged"),
        ("models/ver_unknown", Path.mkdir, "no version"),
        ("serval.sqlite", lambda path: path.write_bytes(b""), "missing or empty"),
        ("serval.sqlite", lambda path: path.write_bytes(b"no database" * 1000), "is damaged"),
        ("admin.key", lambda path: path.chmod(0o644), "others may use it"),
    ]
    for number, (name, damage, message) in enumerate(damages):
        folder = tmp_path / str(number)
        shutil.copytree(sound, folder)
        damage(folder / name)
        (found,) = problems(folder, 1)
        assert (found["path"], message in found["message"]) == (str(folder / name), True), found


def test_a_folder_without_data_is_one_clear_line(tmp_path: Path) -> None:
    ran = command_line.run("verify-data", "--data-dir", tmp_path, folder=tmp_path)
    assert (ran.code, "is no data folder of Serval" in ran.err) == (1, True)
    assert list(tmp_path.iterdir()) == []
