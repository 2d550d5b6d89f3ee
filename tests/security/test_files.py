"""An upload reads no file but code, and changes none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory

SECRET = "the administrator's key"

READING = {
    "open": "loot = open('{secret}').read()",
    "descriptor": "import os; loot = os.read(os.open('{secret}', os.O_RDONLY), 100)",
    "relative": "import os; loot = open(os.path.relpath('{secret}')).read()",
    "by its folder": "import os; d = os.open('{folder}', 0); loot = os.read(os.open('admin.key', 0, dir_fd=d), 100)",
    "by its parent's root": "import os; loot = open(f'/proc/{{os.getppid()}}/root{secret}').read()",
    "by the own root": "loot = open('/proc/self/root{secret}').read()",
    "mapped": "import mmap; f = open('{secret}'); loot = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:]",
    "sent": "import os; r, w = os.pipe(); os.sendfile(w, os.open('{secret}', os.O_RDONLY), 0, 100); loot = os.read(r, 100)",
}
LISTING = {
    "list": "import os; loot = os.listdir('{folder}')",
    "scan": "import os; loot = [entry.name for entry in os.scandir('{folder}')]",
    "glob": "import glob; loot = glob.glob('{folder}/*')",
    "walk": "import os; loot = list(os.walk('{folder}'))",
}


@pytest.fixture
def folder(meadow: Path) -> Path:
    """A data folder with a key that everybody may read."""
    (meadow / "admin.key").write_text(SECRET)
    (meadow / "admin.key").chmod(0o666)
    return meadow


@pytest.mark.parametrize("source", READING.values(), ids=READING)
def test_an_upload_can_not_read_a_file(laboratory: Laboratory, folder: Path, source: str) -> None:
    error = laboratory.refusal(source.format(secret=folder / "admin.key", folder=folder))
    assert SECRET not in error.message


@pytest.mark.parametrize("source", READING.values(), ids=READING)
def test_the_same_code_reads_it_where_it_is_free(free: Callable[[str], str], folder: Path, source: str) -> None:
    assert SECRET in free(source.format(secret=folder / "admin.key", folder=folder))


def test_reading_a_system_file_is_told_with_its_name(laboratory: Laboratory) -> None:
    error = laboratory.refusal("loot = open('/etc/passwd').read()")
    assert "reached for what an upload may not touch" in error.message
    assert "/etc/passwd" in error.message


@pytest.mark.parametrize("source", LISTING.values(), ids=LISTING)
def test_an_upload_can_not_list_a_folder(laboratory: Laboratory, folder: Path, source: str) -> None:
    assert "admin.key" not in laboratory.reach(source.format(folder=folder))


@pytest.mark.parametrize("source", LISTING.values(), ids=LISTING)
def test_the_same_code_lists_it_where_it_is_free(free: Callable[[str], str], folder: Path, source: str) -> None:
    assert "admin.key" in free(source.format(folder=folder))


def test_another_upload_can_not_be_read(laboratory: Laboratory, meadow: Path) -> None:
    other = meadow / "other.pkl"
    other.write_text(SECRET)
    source = f"import os\nloot = [open('{other}').read()]"
    assert SECRET not in laboratory.reach(source)


def test_an_upload_can_not_find_or_change_itself(laboratory: Laboratory) -> None:
    laboratory.upload.touch(mode=0o666)
    before = laboratory.upload.stat().st_mtime_ns
    laboratory.reach(f"open('{laboratory.upload}', 'r+b').write(b'changed')")
    assert b"open(" in laboratory.upload.read_bytes()
    assert laboratory.upload.stat().st_mtime_ns >= before


CHANGING = {
    "write": "open('{file}', 'w').write('x')",
    "append": "open('{file}', 'a').write('x')",
    "create": "open('{folder}/new', 'x').close()",
    "create here": "open('new', 'x').close()",
    "truncate": "import os; os.truncate('{file}', 0)",
    "temporary": "import os; os.open('{folder}', os.O_TMPFILE | os.O_RDWR)",
    "make a folder": "import os; os.mkdir('{folder}/new')",
    "make a node": "import os; os.mknod('{folder}/new')",
    "make a fifo": "import os; os.mkfifo('{folder}/new')",
    "remove": "import os; os.unlink('{file}')",
    "remove a folder": "import os; os.rmdir('{folder}/empty')",
    "rename": "import os; os.rename('{file}', '{folder}/new')",
    "link": "import os; os.link('{file}', '{folder}/new')",
    "symbolic link": "import os; os.symlink('{file}', '{folder}/new')",
    "mode": "import os; os.chmod('{file}', 0o600)",
    "owner": "import os; os.chown('{file}', os.getuid(), os.getgid())",
    "times": "import os; os.utime('{file}', (1, 1))",
    "attribute": "import os; os.setxattr('{file}', 'user.x', b'x')",
    "lock": "import fcntl; fcntl.flock(0, fcntl.LOCK_EX)",
    "mode of what is open": "import os; os.fchmod(0, 0o600)",
}


@pytest.mark.parametrize("source", CHANGING.values(), ids=CHANGING)
def test_an_upload_can_not_change_a_file(laboratory: Laboratory, meadow: Path, source: str) -> None:
    file = meadow / "file"
    file.write_text("content")
    file.chmod(0o666)
    (meadow / "empty").mkdir(mode=0o777)
    before = traits(file)
    error = laboratory.refusal(source.format(file=file, folder=meadow))
    assert error.message == "The file tried to change a file"
    assert file.read_text() == "content"
    assert traits(file) == before
    assert {path.name for path in meadow.iterdir()} == {"empty", "file"}


def traits(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_mode, status.st_uid, status.st_mtime_ns, status.st_nlink


def test_a_mapping_that_others_would_see_is_refused(laboratory: Laboratory) -> None:
    source = "import mmap\ntry: mmap.mmap(-1, 4096)\nexcept OSError as error: loot = error.errno"
    assert laboratory.attack(source) == "1"


def test_the_working_folder_is_empty_and_gone_afterwards(laboratory: Laboratory) -> None:
    folder = Path(eval(laboratory.attack("import os; loot = os.getcwd()")))
    assert folder.parent == laboratory.root
    assert not folder.exists()
