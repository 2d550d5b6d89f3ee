"""What is said of invalid parts of a request."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from serval.http.wording import did_you_mean, listed, sentence

Colour = Literal["red", "green"]


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Box(msgspec.Struct, forbid_unknown_fields=True):
    colour: Colour
    size: Size = Size.SMALL
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Order(msgspec.Struct, forbid_unknown_fields=True):
    box: Box | None = None
    boxes: list[Box] = []
    by_name: dict[str, Box] = {}
    at: datetime | None = None
    shade: Colour | msgspec.UnsetType = msgspec.UNSET


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"shade": "blue"}, "Expected one of `green`, `red`, got 'blue'"),
        ({"box": {"colour": "blue"}}, "Expected one of `green`, `red`, got 'blue'"),
        ({"boxes": [{"colour": "red"}, {"colour": "blue"}]}, "Expected one of `green`, `red`, got 'blue'"),
        ({"by_name": {"first one": {"colour": "blue"}}}, "Expected one of `green`, `red`, got 'blue'"),
        ({"box": {"colour": "red", "size": "huge"}}, "Expected one of `small`, `large`, got 'huge'"),
        ({"at": "yesterday"}, "Expected a date and time as `2026-11-20T12:00:00Z`"),
        (
            {"boxs": []},
            (
                "Object contains unknown field `boxs` (did you mean `boxes`?); known are `box`, `boxes`, `by_name`, "
                "`at` and `shade`"
            ),
        ),
        (
            {"boxes": [{"colour": "red", "weight": 1}]},
            "Object contains unknown field `weight`; known are `colour`, `size` and `count`",
        ),
        ({"boxes": [{"colour": "red", "count": 0}]}, "Expected `int` >= 1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_message_says_what_would_be_right(value: dict[str, Any], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, Order)
    message, _, where = str(raised.value).partition(" - at ")
    assert sentence(message, Order, where.strip("`")) == expected


def test_a_long_value_is_cut() -> None:
    assert len(sentence(f"Invalid enum value '{'x' * 1000}'", Colour)) < 100
    assert len(sentence(f"Object contains unknown field `{'x' * 1000}`", Box)) < 140


def test_only_a_name_that_is_near_is_suggested() -> None:
    assert did_you_mean("Verzion", ["version", "outputs"]) == " (did you mean `version`?)"
    assert did_you_mean("colour", ["version", "outputs"]) == ""
    assert did_you_mean("x" * 10_000, ["x" * 9_999]) == ""


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "`a`",
        "`a` and `b`",
        "`a`, `b` and `c`",
    ]
