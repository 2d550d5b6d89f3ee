"""A sandbox with small limits, pickles that run what they are told, and ways to look around afterwards."""

import asyncio
import os
import pickle
import select
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serval.conversion.sandbox.sandbox import Limits, Sandbox
from serval.errors import ServalError

TASKS = Path(__file__).parent / "attack_tasks.py"
LIMITS = Limits(memory_bytes=256 << 20, cpu_seconds=10, wall_seconds=30.0, output_bytes=1 << 20, threads=16)


class Payload:
    """Unpickles to the value of `loot` after its source has run."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"(lambda space: (exec({self.source!r}, space), space.get('loot'))[1])({{}})",)


class Laboratory:
    """Runs attacks one after the other, from one event loop."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "scratch"
        self.root.mkdir()
        self.upload = folder / "upload"
        self.runner = asyncio.Runner()
        self.sandbox = self.make(LIMITS)
        self._others = set(
            children_of(os.getpid())
        )  # a sandbox adopts orphans, those of servers that other tests have killed too

    def make(self, limits: Limits, **options: object) -> Sandbox:
        given = {
            "python": sys.executable,
            "root": self.root,
            "allow_unconfined": False,
            "max_children": 2,
            "tasks": TASKS,
        }
        return Sandbox(limits=limits, **{**given, **options})  # type: ignore[arg-type]

    def children(self) -> list[int]:
        """SandboxViolation children of its sandboxes, and what forked from them."""
        return [pid for pid in children_of(os.getpid()) if pid not in self._others]

    def run(self, task: str, upload: bytes = b"", request: bytes = b"") -> bytes:
        self.upload.write_bytes(upload)
        return self.runner.run(self.sandbox.run(task, self.upload, request))

    def attack(self, source: str) -> str:
        """What the task answered to a pickle that runs `source`."""
        return self.run("load", pickle.dumps(Payload(source))).decode()

    def refusal(self, source: str) -> ServalError:
        """The error that a pickle that runs `source` ended in."""
        with pytest.raises(ServalError) as caught:
            self.attack(source)
        assert 400 <= caught.value.status < 500
        assert "No module named" not in caught.value.message
        return caught.value

    def reach(self, source: str) -> str:
        """Everything that got out of a pickle that runs `source`: its answer or its error."""
        try:
            reached = self.attack(source)
        except ServalError as error:
            reached = error.message
        assert "No module named" not in reached
        return reached


def children_of(parent: int) -> list[int]:
    """SandboxViolation children below `parent`, and what forked from them; not the template."""
    return [pid for pid in confined() if parent in ancestors(pid)]


def confined() -> Iterator[int]:
    """Every process that was forked from a template, by the name it has taken."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # it ended meanwhile
            name = (folder / "comm").read_text() if folder.name.isdigit() else ""
            if name.startswith("serval-") and name != "serval-template\n":
                yield int(folder.name)


def ancestors(pid: int) -> Iterator[int]:
    with suppress(OSError):
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            yield pid


def wait_for_end(pid: int, seconds: float) -> bool:
    """Whether the process has ended within `seconds`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = bool(poll.poll(seconds * 1000))
    os.close(descriptor)
    return ended
