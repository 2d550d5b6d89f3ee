"""What a terminal shows of a push."""

import io
import sys

import pytest

from serval_client.progress import Progress, ProgressLine, shown, text_of
from support.waiting import wait_until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("progress", "seconds", "text"),
    [
        (Progress("converting"), 0.0, "converting  0:00"),
        (Progress("converting"), 83.9, "converting  1:23"),
        (Progress("uploading", 2_000_000, 4_000_000), 2.0, f"uploading  {'█' * 15}{'░' * 15}  2.0 of 4.0 MB  0:02"),
        (Progress("uploading", 0, 0), 0.0, "uploading  0:00"),
    ],
    ids=["stage", "minutes", "bytes", "nothing-to-send"],
)
def test_a_line_has_the_stage_what_is_sent_and_the_time(progress: Progress, seconds: float, text: str) -> None:
    assert text_of(progress, seconds) == text


def test_the_line_of_a_terminal_is_written_anew_and_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown(None) as show:
        show(Progress("converting"))
        wait_until(lambda: "converting" in terminal.getvalue(), within_seconds=60)
    assert terminal.getvalue().startswith("\r\x1b[2K")
    assert terminal.getvalue().endswith("\r\x1b[2K")
    assert "\n" not in terminal.getvalue()


def test_what_is_no_terminal_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    with shown(None) as show:
        show(Progress("converting"))
    assert output.getvalue() == ""


def test_whoever_asks_gets_each_moment_and_the_terminal_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    moments: list[Progress] = []
    with shown(moments.append) as show:
        show(Progress("converting"))
    assert moments == [Progress("converting")]
    assert terminal.getvalue() == ""


def test_a_line_ends_with_the_block_whatever_ends_that() -> None:
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), ProgressLine(terminal):
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith("\r\x1b[2K")
