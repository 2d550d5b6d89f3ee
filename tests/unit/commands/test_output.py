"""What commands print of an answer."""

from typing import Any

import pytest

from serval.commands.output import tables_of


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
