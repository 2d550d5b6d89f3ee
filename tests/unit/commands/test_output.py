"""What commands print of an answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serval.commands.output import tables_of
from serval.commands.remote import as_cell


@pytest.mark.parametrize(
    ("answer", "tables"),
    [
        ({"prediction": 1}, []),
        ({"prediction": 1, "probabilities": {"0": 0.25, "1": 0.75}}, [[("0", 0.25), ("1", 0.75)]]),
        (
            {"prediction": "1", "classes": [1, "1"], "probabilities": [0.25, None]},
            [[("1", 0.25), ("1", None)]],
        ),
        (
            {"prediction": [1, "a"], "probabilities": [{"0": 0.25, "1": 0.75}, {"a": 1.0}]},
            [[("0", 0.25), ("1", 0.75)], [("a", 1.0)]],
        ),
        (
            {"prediction": [1, "1"], "classes": [[0, 1], [1, "1"]], "probabilities": [[0.25, 0.75], [0.5, 0.5]]},
            [[("0", 0.25), ("1", 0.75)], [("1", 0.5), ("1", 0.5)]],
        ),
    ],
    ids=["none", "a map", "a list", "maps of two targets", "lists of two targets"],
)
def test_each_target_has_a_table(answer: dict[str, Any], tables: list[list[tuple[str, float | None]]]) -> None:
    assert tables_of(answer) == tables


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "just now"),
        (-1, "now"),
        (59, "59 seconds ago"),
        (119, "119 seconds ago"),
        (120, "2 minutes ago"),
        (3 * 86_400, "3 days ago"),
        (-90 * 86_400 - 60, "in 2 months"),
        (3 * 365 * 86_400, "2 years ago"),
    ],
)
def test_times_are_short_on_a_terminal(seconds: int, shown: str) -> None:
    moment = NOW - timedelta(seconds=seconds)
    assert as_cell(moment.isoformat().replace("+00:00", "Z"), NOW) == shown


def test_times_are_whole_elsewhere() -> None:
    assert as_cell("2026-11-28T12:54:23.374127Z") == "2026-11-28 12:54:23"
