"""After each attack: the server is up, an honest file is served, and nothing is left behind."""

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
    """After the attack: the server is up, an honest file is served, no process and no folder is left."""
    laboratory = Laboratory(tmp_path)
    with laboratory.runner:
        yield laboratory
        assert laboratory.run("echo", b" world", b"hello") == b"hello world"
        laboratory.runner.run(laboratory.sandbox.close())
    assert laboratory.children() == []
    assert list(laboratory.root.iterdir()) == []


@pytest.fixture
def meadow() -> Iterator[Path]:
    """A folder that everybody may enter, read and write: only the confinement keeps the upload out."""
    with tempfile.TemporaryDirectory(prefix="serval-") as folder:
        meadow = Path(folder)
        meadow.chmod(0o777)
        yield meadow


@pytest.fixture
def free() -> Callable[[str], str]:
    """Runs an attack's source with nothing around it: the proof that it would work."""

    def run(source: str) -> str:
        command = [sys.executable, "-I", "-c", f"{source}\nprint(globals().get('loot'))"]
        return subprocess.run(command, capture_output=True, check=True, timeout=20, text=True).stdout

    return run


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user as the server that does nothing but live."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]) as process:
        yield process
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
