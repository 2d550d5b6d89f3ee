"""Nothing is lost or half done after `kill -9` at fifty random moments."""

import random
import time
from pathlib import Path

import pytest

from support.crashes import STAGES, survives


@pytest.mark.slow
def test_nothing_is_lost_or_half_done_after_fifty_kills(tmp_path: Path) -> None:
    seed = time.time_ns() % 1_000_000
    of_children, of_parents = (random.Random(seed + shift).sample(STAGES, k=25, counts=[5] * 5) for shift in (0, 1))
    # By turns, because a parent waits longer before each of its children that follows a crash.
    moments = [
        (victim, stage)
        for pair in zip(of_children, of_parents, strict=True)
        for victim, stage in zip(("child", "parent"), pair, strict=True)
    ]
    survives(tmp_path / "data", seed, moments)


@pytest.mark.slow
def test_idle_conversion_children_die_with_their_server(tmp_path: Path) -> None:
    survives(
        tmp_path / "data",
        7,
        [("child", "load"), ("parent", "verification"), ("child", "upload")],
        convert_preload="true",
    )
