"""An upload reads no file but code, and changes no file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory

SECRET = "the administrator's key"

READING = {
    "open": "result = open('{secret}').read()",
    "descriptor": "import os; result = os.read(os.open('{secret}', os.O_RDONLY), 100)",
    "relative": "import os; result = open(os.path.relpath('{secret}')).read()",
    "by its folder": "import os; d = os.open('{folder}', 0); result = os.read(os.open('admin.key', 0, dir_fd=d), 100)",
    "by its parent's root": "import os; result = open(f'/proc/{{os.getppid()}}/root{secret}').read()",
    "by the own root": "result = open('/proc/self/root{secret}').read()",
    "mapped": "import mmap; f = open('{secret}'); result = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:]",
    "sent": (
        "import os; r, w = os.pipe(); os.sendfile(w, os.open('{secret}', os.O_RDONLY), 0, 100); "
        "result = os.read(r, 100)"
    ),
}
LISTING = {
    "list": "import os; result = os.listdir('{folder}')",
    "scan": "import os; result = [entry.name for entry in os.scandir('{folder}')]",
    "glob": "import glob; result = glob.glob('{folder}/*')",
    "walk": "import os; result = list(os.walk('{folder}'))",
}


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """A data folder with a key that every user may read."""
    (open_folder / "admin.key").write_text(SECRET)
    (open_folder / "admin.key").chmod(0o666)
    return open_folder


@pytest.mark.parametrize("source", READING.values(), ids=READING)
def test_an_upload_cannot_read_a_file(laboratory: Laboratory, folder: Path, source: str) -> None:
    error = laboratory.refusal(source.format(secret=folder / "admin.key", folder=folder))
    assert SECRET not in error.message


@pytest.mark.parametrize("source", READING.values(), ids=READING)
def test_the_same_code_reads_a_file_if_unconfined(unconfined: Callable[[str], str], folder: Path, source: str) -> None:
    assert SECRET in unconfined(source.format(secret=folder / "admin.key", folder=folder))


def test_reading_a_system_file_is_reported_with_its_name(laboratory: Laboratory) -> None:
    error = laboratory.refusal("result = open('/etc/passwd').read()")
    assert "tried to access what an upload may not access" in error.message
    assert "/etc/passwd" in error.message


@pytest.mark.parametrize("source", LISTING.values(), ids=LISTING)
def test_an_upload_cannot_list_a_folder(laboratory: Laboratory, folder: Path, source: str) -> None:
    assert "admin.key" not in laboratory.reach(source.format(folder=folder))


@pytest.mark.parametrize("source", LISTING.values(), ids=LISTING)
def test_the_same_code_lists_a_folder_if_unconfined(
    unconfined: Callable[[str], str], folder: Path, source: str
) -> None:
    assert "admin.key" in unconfined(source.format(folder=folder))


def test_an_upload_cannot_read_another_upload(laboratory: Laboratory, open_folder: Path) -> None:
    other = open_folder / "other.pkl"
    other.write_text(SECRET)
    source = f"import os\nresult = [open('{other}').read()]"
    assert SECRET not in laboratory.reach(source)


def test_an_upload_cannot_find_or_change_itself(laboratory: Laboratory) -> None:
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
def test_an_upload_cannot_change_a_file(laboratory: Laboratory, open_folder: Path, source: str) -> None:
    file = open_folder / "file"
    file.write_text("content")
    file.chmod(0o666)
    (open_folder / "empty").mkdir(mode=0o777)
    before = traits(file)
    error = laboratory.refusal(source.format(file=file, folder=open_folder))
    assert error.message.startswith("The file tried to change a file")
    assert file.read_text() == "content"
    assert traits(file) == before
    assert {path.name for path in open_folder.iterdir()} == {"empty", "file"}


def traits(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_mode, status.st_uid, status.st_mtime_ns, status.st_nlink


def test_a_shared_memory_mapping_is_refused(laboratory: Laboratory) -> None:
    source = "import mmap\ntry: mmap.mmap(-1, 4096)\nexcept OSError as error: result = error.errno"
    assert laboratory.attack(source) == "1"


def test_the_working_folder_is_removed_afterwards(laboratory: Laboratory) -> None:
    folder = Path(eval(laboratory.attack("import os; result = os.getcwd()")))
    assert folder.parent == laboratory.root
    assert not folder.exists()
