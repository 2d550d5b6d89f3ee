"""What goes on during a push, for people who wait."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, NamedTuple, TextIO

if TYPE_CHECKING:
    from typing_extensions import Self

TICK_SECONDS = 0.2
BAR_CELLS = 30


class Progress(NamedTuple):
    """A moment of a push."""

    stage: str
    """`asking the model`, `saving the model`, `uploading`, and what the server says of the version, such as
    `converting`."""
    done_bytes: int | None = None
    total_bytes: int | None = None


Show = Callable[[Progress], None]


@contextmanager
def shown(show: Show | None) -> Iterator[Show]:
    """Where progress goes: as given, or else to a line of standard error if that is a terminal."""
    if show is not None:
        yield show
    elif sys.stderr.isatty():
        with ProgressLine(sys.stderr) as line:
            yield line.show
    else:
        yield lambda _: None


class ProgressLine:
    """One line of a terminal with the stage, a bar of what is sent, and the seconds since the stage began."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._progress = Progress("")
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._ticker.join()
        self._write("")

    def show(self, progress: Progress) -> None:
        if progress.stage != self._progress.stage:
            self._began = time.monotonic()
        self._progress = progress

    def _tick(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            self._write(text_of(self._progress, time.monotonic() - self._began))

    def _write(self, text: str) -> None:
        self._terminal.write(f"\r\x1b[2K{text}")
        self._terminal.flush()


def text_of(progress: Progress, seconds: float) -> str:
    """`uploading  ████████░░░░  3.1 of 6.2 MB  0:02`."""
    parts = [progress.stage]
    if progress.done_bytes is not None and progress.total_bytes:
        full = BAR_CELLS * progress.done_bytes // progress.total_bytes
        parts.append("█" * full + "░" * (BAR_CELLS - full))
        parts.append(f"{progress.done_bytes / 1e6:.1f} of {progress.total_bytes / 1e6:.1f} MB")
    parts.append(f"{int(seconds) // 60}:{int(seconds) % 60:02}")
    return "  ".join(parts)
