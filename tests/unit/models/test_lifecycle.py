"""The states of a version and the moves between them."""

import pytest

from serval.errors import Conflict
from serval.models.lifecycle import advance, check_promotable, retire


@pytest.mark.parametrize(
    ("before", "after"),
    [("pending", "converting"), ("converting", "verifying"), ("verifying", "ready"), ("ready", "failed")],
)
def test_a_version_goes_forward(before: str, after: str) -> None:
    assert advance(before, after) == after


@pytest.mark.parametrize(
    ("before", "after"), [("failed", "ready"), ("ready", "converting"), ("pending", "ready"), ("failed", "pending")]
)
def test_a_version_neither_goes_back_nor_skips_the_proof(before: str, after: str) -> None:
    with pytest.raises(Conflict, match=f"`{before}` can not become `{after}`"):
        advance(before, after)


def test_a_deprecated_version_may_become_active_again_and_an_archived_one_may_not() -> None:
    assert retire("deprecated", "active", is_live=False) == "active"
    with pytest.raises(Conflict):
        retire("archived", "active", is_live=False)


def test_the_live_version_can_not_be_archived() -> None:
    with pytest.raises(Conflict, match="promote another version first"):
        retire("active", "archived", is_live=True)


def test_asking_for_what_is_already_so_changes_nothing() -> None:
    assert retire("archived", "archived", is_live=False) == "archived"


@pytest.mark.parametrize(
    ("status", "lifecycle", "why"), [("failed", "active", "`failed`"), ("ready", "archived", "archived")]
)
def test_only_a_ready_version_in_service_can_be_promoted(status: str, lifecycle: str, why: str) -> None:
    with pytest.raises(Conflict, match=why):
        check_promotable(3, status, lifecycle)
