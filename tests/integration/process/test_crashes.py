"""Nothing is lost or half done after `kill -9` at four moments; `tests/slow` has fifty."""

from pathlib import Path

from support.crashes import survives


def test_nothing_is_lost_or_half_done_after_four_kills(tmp_path: Path) -> None:
    survives(
        tmp_path / "data",
        7,
        [("child", "upload"), ("parent", "verification"), ("child", "load"), ("parent", "conversion")],
    )
