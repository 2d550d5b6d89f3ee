"""Whether a version may become the live one, decided by values alone."""

import pytest

from serval.deployments.promotion import Candidate, check_promotable, hold_reason, takes_other_columns
from serval.errors import Conflict

CANDIDATE = Candidate(number=2, takes_other_columns=False, allows_schema_change=False, unproven=None)


@pytest.mark.parametrize(
    ("status", "lifecycle", "why"), [("failed", "active", "`failed`"), ("ready", "archived", "archived")]
)
def test_only_a_ready_version_that_is_not_archived_can_be_promoted(status: str, lifecycle: str, why: str) -> None:
    with pytest.raises(Conflict, match=why):
        check_promotable(3, status, lifecycle)


@pytest.mark.parametrize(
    ("candidate", "live", "code"),
    [
        (CANDIDATE, None, None),
        (CANDIDATE, 1, None),
        (CANDIDATE, 3, "superseded"),
        (CANDIDATE._replace(takes_other_columns=True), 1, "schema_changed"),
        (CANDIDATE._replace(takes_other_columns=True, allows_schema_change=True), 1, None),
        (CANDIDATE._replace(unproven="Nothing shows it."), None, "unproven"),
    ],
)
def test_a_converted_version_is_promoted_unless_there_is_a_reason_to_hold_it(
    candidate: Candidate, live: int | None, code: str | None
) -> None:
    held = hold_reason(candidate, live)
    assert (held and held["code"]) == code


def column(name: str, kind: str = "number") -> dict[str, str]:
    return {"name": name, "kind": kind, "missing": "nan"}


@pytest.mark.parametrize(
    ("columns", "differs"),
    [
        ([column("a"), column("b")], False),
        ([column("a") | {"missing": "none"}, column("b")], False),
        ([column("b"), column("a")], True),
        ([column("a"), column("b", "string")], True),
        ([column("a")], True),
    ],
)
def test_a_schema_changes_with_the_name_kind_or_order_of_a_column(columns: list[dict[str, str]], differs: bool) -> None:
    assert takes_other_columns({"columns": columns}, {"columns": [column("a"), column("b")]}) is differs
