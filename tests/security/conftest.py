"""After each attack the server is up, an honest upload is answered, and nothing is left behind."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.sandbox_lab import Laboratory


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """Checks after the attack: the server is up, an honest upload is answered, no process and no folder is left."""
    laboratory = Laboratory(tmp_path)
    with laboratory.runner:
        yield laboratory
        assert laboratory.run("echo", b" world", b"hello") == b"hello world"
        laboratory.runner.run(laboratory.sandbox.close())
    assert laboratory.children() == []
    assert list(laboratory.root.iterdir()) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, read and write: only the confinement keeps the upload out."""
    with tempfile.TemporaryDirectory(prefix="serval-") as folder:
        open_folder = Path(folder)
        open_folder.chmod(0o777)
        yield open_folder


@pytest.fixture
def unconfined() -> Callable[[str], str]:
    """Runs the source of an attack unconfined, as a control: it must succeed."""

    def run(source: str) -> str:
        command = [sys.executable, "-I", "-c", f"{source}\nprint(globals().get('result'))"]
        return subprocess.run(command, capture_output=True, check=True, timeout=20, text=True).stdout

    return run


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """An idle process of the same user as the server."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]) as process:
        yield process
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
