"""A sandbox with small limits, pickles that run given source, and functions to check what is left afterwards."""

import asyncio
import os
import pickle
import select
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serval.conversion.sandbox.limits import Limits
from serval.conversion.sandbox.sandbox import Sandbox
from serval.errors import ServalError

TASKS = Path(__file__).parent / "attack_tasks.py"
LIMITS = Limits(memory_bytes=256 << 20, cpu_seconds=10, wall_seconds=30.0, output_bytes=1 << 20, threads=16)


class Payload:
    """Unpickles to the value of `result` after its source has run."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"(lambda space: (exec({self.source!r}, space), space.get('result'))[1])({{}})",)


class Laboratory:
    """Runs attacks one after the other, from one event loop."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "scratch"
        self.root.mkdir()
        self.upload = folder / "upload"
        self.runner = asyncio.Runner()
        self.sandbox = self.make(LIMITS)
        # A sandbox adopts orphans, also those of servers that other tests have killed.
        self._others = set(children_of(os.getpid()))

    def make(self, limits: Limits, **options: object) -> Sandbox:
        defaults = {
            "python": sys.executable,
            "root": self.root,
            "allow_unconfined": False,
            "max_children": 2,
            "tasks": TASKS,
        }
        return Sandbox(limits=limits, **{**defaults, **options})  # type: ignore[arg-type]

    def children(self) -> list[int]:
        """The children of its sandboxes, and their descendants."""
        return [pid for pid in children_of(os.getpid()) if pid not in self._others]

    def run(self, task: str, upload: bytes = b"", request: bytes = b"") -> bytes:
        self.upload.write_bytes(upload)
        return self.runner.run(self.sandbox.run(task, self.upload, request))

    def attack(self, source: str) -> str:
        """The answer of the task to a pickle that runs `source`."""
        return self.run("load", pickle.dumps(Payload(source))).decode()

    def refusal(self, source: str) -> ServalError:
        """The error of a run on a pickle that runs `source`."""
        with pytest.raises(ServalError) as caught:
            self.attack(source)
        assert 400 <= caught.value.status < 500
        assert "No module named" not in caught.value.message
        return caught.value

    def reach(self, source: str) -> str:
        """The answer or the error of a run on a pickle that runs `source`."""
        try:
            reached = self.attack(source)
        except ServalError as error:
            reached = error.message
        assert "No module named" not in reached
        return reached


def children_of(parent: int) -> list[int]:
    """The confined processes below `parent`; not the template."""
    return [pid for pid in confined() if parent in ancestors(pid)]


def confined() -> Iterator[int]:
    """Every process that was forked from a template, found by its name."""
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
