"""The states of a version and the moves between them."""

import pytest

from serval.errors import Conflict
from serval.models.lifecycle import advance, retire


@pytest.mark.parametrize(
    ("before", "after"),
    [("pending", "converting"), ("converting", "verifying"), ("verifying", "ready"), ("ready", "failed")],
)
def test_a_version_goes_forward(before: str, after: str) -> None:
    assert advance(before, after) == after


@pytest.mark.parametrize(
    ("before", "after"), [("failed", "ready"), ("ready", "converting"), ("pending", "ready"), ("failed", "pending")]
)
def test_a_version_neither_goes_back_nor_skips_its_verification(before: str, after: str) -> None:
    with pytest.raises(Conflict, match=f"`{before}` cannot become `{after}`"):
        advance(before, after)


def test_a_deprecated_version_may_become_active_again_and_an_archived_one_may_not() -> None:
    assert retire("deprecated", "active", is_live=False) == "active"
    with pytest.raises(Conflict):
        retire("archived", "active", is_live=False)


def test_the_live_version_cannot_be_archived() -> None:
    with pytest.raises(Conflict, match="promote another version first"):
        retire("active", "archived", is_live=True)


def test_a_move_to_the_same_lifecycle_changes_nothing() -> None:
    assert retire("archived", "archived", is_live=False) == "archived"
