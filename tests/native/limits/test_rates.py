"""Known callers, their rates, and keys that are remembered as unknown."""

from typing import Any

import numpy as np
import pytest

from serval._native import Answer, DataPlane, NeedsPython, RateState, Refusal
from support import graphs
from support.planes import KEY, ask, load, new_plane, predict, put_caller, rates_of, regressor, route

ONCE_AN_HOUR = [("user:usr_1", 1, 3600)]


@pytest.fixture
def plane() -> DataPlane:
    plane = new_plane()
    plane.models.set_routes([route()])
    columns = [{"name": "x0", "kind": "number", "dtype": "float64"}]
    load(plane, graphs.echo(1, "float32"), regressor(1, targets=1, columns=columns), np.ones((3, 1)))
    return plane


def predict_decoded(plane: DataPlane, place: NeedsPython) -> Any:
    return predict(plane, np.ones(1).tobytes(), model=place.model, version=place.version, no_cache=True)


def test_a_caller_without_limits_is_never_refused(plane: DataPlane) -> None:
    put_caller(plane)
    assert {type(ask(plane, '{"input": [1.0]}')) for _ in range(100)} == {Answer}


def test_a_prediction_beyond_the_rate_is_refused_with_rate_and_wait(plane: DataPlane) -> None:
    put_caller(plane, limits=ONCE_AN_HOUR)
    assert isinstance(ask(plane, '{"input": [1.0]}'), Answer)
    refused = ask(plane, '{"input": [1.0]}')
    assert refused.code == "rate_limited"
    assert refused.arguments == {
        "policy": "user",
        "limit": "1",
        "window_seconds": "3600",
        "retry_after_seconds": "3600",
    }


def test_a_body_decoded_by_python_is_charged_once(plane: DataPlane) -> None:
    put_caller(plane, limits=ONCE_AN_HOUR)
    place = ask(plane, '{"input": {"x0": "1"}}')
    assert isinstance(place, NeedsPython)
    assert isinstance(predict_decoded(plane, place), Answer)
    assert isinstance(predict_decoded(plane, place), Refusal)


def test_a_request_for_a_model_the_caller_cannot_see_is_not_charged(plane: DataPlane) -> None:
    put_caller(plane, limits=ONCE_AN_HOUR)
    assert ask(plane, '{"input": [1.0]}', model="other").code == "unknown_model"
    assert isinstance(ask(plane, '{"input": [1.0]}'), Answer)


def test_all_keys_of_a_user_share_one_bucket_also_after_another_check(plane: DataPlane) -> None:
    put_caller(plane, limits=ONCE_AN_HOUR)
    assert isinstance(ask(plane, '{"input": [1.0]}'), Answer)
    for key in (KEY, b"\7" * 32):
        put_caller(plane, key, limits=ONCE_AN_HOUR)
        assert ask(plane, '{"input": [1.0]}', caller=key).code == "rate_limited"


def test_a_rate_of_zero_is_refused(plane: DataPlane) -> None:
    with pytest.raises(ValueError, match="the count and the seconds of a rate are above 0"):
        put_caller(plane, limits=[("user:usr_1", 0, 1)])


def test_tokens_of_a_granted_lease_are_spent(plane: DataPlane) -> None:
    plane.rates.share()
    put_caller(plane, limits=ONCE_AN_HOUR)
    assert isinstance(ask(plane, '{"input": [1.0]}'), Answer)
    assert ask(plane, '{"input": [1.0]}').code == "rate_limited"
    assert plane.rates.pending_leases() == [("user:usr_1/3600", 3_600_000_000_000, 1, 2)]
    plane.rates.grant_lease("user:usr_1/3600", 2, 0)
    assert [type(ask(plane, '{"input": [1.0]}')) for _ in range(3)] == [Answer, Answer, Refusal]


def state(rate: RateState | Refusal | None) -> Any:
    assert isinstance(rate, RateState)
    return rate.policy, rate.limit, rate.window_seconds, rate.remaining, rate.reset_seconds


def test_an_answer_reports_what_remains_of_the_tightest_limit(plane: DataPlane) -> None:
    put_caller(plane, limits=[("user:usr_1", 100, 60), ("key:key_1", 3, 3600)])
    assert state(ask(plane, '{"input": [1.0]}').rate) == ("key", 3, 3600, 2, 1200)
    put_caller(plane, limits=[("user:usr_1", 100, 60)])
    assert state(ask(plane, '{"input": [1.0]}').rate)[:4] == ("user", 100, 60, 98)
    put_caller(plane)
    assert ask(plane, '{"input": [1.0]}').rate is None


def test_a_slow_answer_reports_what_remained_when_it_was_charged(plane: DataPlane) -> None:
    expensive = new_plane(inline_below_seconds=0.0)
    expensive.models.set_routes([route()])
    load(expensive, graphs.echo(1, "float32"), regressor(1, targets=1), np.ones((3, 1)))
    put_caller(expensive, limits=ONCE_AN_HOUR)
    assert state(ask(expensive, '{"input": [1.0]}').rate) == ("user", 1, 3600, 0, 3600)


def test_a_limit_per_minute_can_be_used_up_in_one_burst(plane: DataPlane) -> None:
    put_caller(plane, limits=[("user:usr_1", 60, 60)])
    replies = [ask(plane, '{"input": [1.0]}') for _ in range(62)]
    assert [type(reply) for reply in replies] == [Answer] * 60 + [Refusal] * 2


def test_predictions_and_requests_are_charged_to_the_same_buckets(plane: DataPlane) -> None:
    limits = [("user:usr_1", 3, 3600)]
    put_caller(plane, limits=limits)
    assert state(plane.rates.charge(rates_of(limits))) == ("user", 3, 3600, 2, 1200)
    assert ask(plane, '{"input": [1.0]}').rate.remaining == 1
    assert plane.rates.peek(rates_of(limits)) is None
    assert state(plane.rates.charge(rates_of(limits)))[3] == 0
    for refused in (
        plane.rates.charge(rates_of(limits)),
        plane.rates.peek(rates_of(limits)),
        ask(plane, '{"input": [1.0]}'),
    ):
        assert isinstance(refused, Refusal)
        assert refused.arguments == {
            "policy": "user",
            "limit": "3",
            "window_seconds": "3600",
            "retry_after_seconds": "1200",
        }
    plane.rates.refund(rates_of(limits))
    assert isinstance(ask(plane, '{"input": [1.0]}'), Answer)


def test_charging_without_limits_returns_nothing(plane: DataPlane) -> None:
    assert (plane.rates.charge([]), plane.rates.peek([])) == (None, None)
    with pytest.raises(ValueError, match="the count and the seconds of a rate are above 0"):
        plane.rates.charge(rates_of([("user:usr_1", 1, 0)]))


def test_a_subject_can_have_limits_over_several_windows(plane: DataPlane) -> None:
    limits = [("user:usr_1", 2, 60), ("user:usr_1", 3, 3600)]
    for _ in range(2):
        put_caller(plane, limits=limits)  # checked again: nothing begins anew
        assert isinstance(ask(plane, '{"input": [1.0]}'), Answer)
    assert ask(plane, '{"input": [1.0]}').arguments["window_seconds"] == "60"
    assert state(plane.rates.charge(rates_of(limits[1:])))[3] == 0
    assert isinstance(plane.rates.charge(rates_of(limits[1:])), Refusal)


def test_revoking_a_user_removes_only_the_callers_of_that_user(plane: DataPlane) -> None:
    other, epoch = b"\7" * 32, plane.callers.epoch(KEY)
    put_caller(plane)
    put_caller(plane, other, "usr_2")
    plane.callers.revoke_user("usr_1")
    assert (plane.callers.user_of(KEY), plane.callers.user_of(other)) == (None, "usr_2")
    assert not put_caller(plane, epoch=epoch)
    assert put_caller(plane)


def test_a_caller_checked_before_a_revocation_is_not_installed() -> None:
    plane = new_plane()
    epoch = plane.callers.epoch(KEY)
    plane.callers.revoke(KEY)
    assert not put_caller(plane, epoch=epoch)
    assert plane.callers.user_of(KEY) is None
    assert put_caller(plane)
    assert plane.callers.user_of(KEY) == "usr_1"
    plane.callers.revoke_all()
    assert plane.callers.user_of(KEY) is None


def test_an_unknown_key_is_remembered_as_unknown_until_it_is_created() -> None:
    plane = new_plane()
    assert not plane.callers.is_unknown(KEY)
    plane.callers.put_unknown(KEY)
    assert plane.callers.is_unknown(KEY)
    plane.callers.forget_unknown(KEY)
    assert not plane.callers.is_unknown(KEY)
    plane.callers.put_unknown(KEY)
    put_caller(plane)
    assert not plane.callers.is_unknown(KEY)
