"""Which version a route leads to, decided by values alone."""

import pytest

from serval.deployments.routing import Audience, RoutedVersion, Versions, answering_version, live_version, route_of


def versions(*numbers: int, live: int | None) -> Versions:
    return {
        number: RoutedVersion(
            f"ver_{number}", number, "ready", None, "mdl_1", "echo", "usr_1", "ada", live, "auto", None, None
        )
        for number in numbers
    }


@pytest.mark.parametrize(("live", "version"), [(2, "ver_2"), (3, None), (None, None)])
def test_the_live_version_is_the_one_that_the_model_names(live: int | None, version: str | None) -> None:
    found = live_version(versions(1, 2, live=live))
    assert (found and found.id) == version


@pytest.mark.parametrize(
    ("before", "loaded", "answering"),
    [
        ("ver_1", {"ver_1"}, "ver_1"),
        ("ver_1", set(), "ver_2"),
        ("ver_9", {"ver_9"}, "ver_2"),
        (None, {"ver_1"}, "ver_2"),
    ],
)
def test_until_the_live_version_is_loaded_the_previous_one_answers_where_it_is_loaded_and_routed(
    before: str | None, loaded: set[str], answering: str
) -> None:
    found = answering_version(versions(1, 2, live=2), before, loaded.__contains__)
    assert found is not None
    assert found.id == answering


def test_no_route_leads_to_a_held_version_unless_it_is_live() -> None:
    found = versions(1, 2, 3, live=1)
    held = {
        number: version._replace(held={"code": "unproven", "message": "Unproven."}) for number, version in found.items()
    }
    route = route_of({**held, 2: found[2]}, found[1], Audience())
    assert route.versions == {1: "ver_1", 2: "ver_2"}


@pytest.mark.parametrize(
    ("reference", "user", "is_meant"),
    [("mdl_1", "usr_2", True), ("ada/echo", None, True), ("echo", "usr_1", True), ("echo", "usr_2", False)],
)
def test_a_model_is_called_by_id_full_name_or_a_name_of_the_callers_own(
    reference: str, user: str | None, is_meant: bool
) -> None:
    assert versions(1, live=1)[1].is_called(reference, user) is is_meant


def test_a_quarantined_version_says_why() -> None:
    version = versions(1, live=1)[1]
    assert version.reason == "Version ver_1 is in quarantine."
    assert version._replace(failure={"message": "It ran away."}).reason == "It ran away."
