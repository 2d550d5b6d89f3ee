"""What a new key may be for, by whoever makes it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from serval.auth.caller import SCOPES, Caller
from serval.errors import BadRequest, NotPermitted
from serval.users.grants import MAX_LIFETIME, check_models, expiry_of, scopes_of, successor_expiry

AT = datetime(2026, 11, 21, tzinfo=UTC)
LOGIN = Caller(
    user_id="usr_1",
    username="ada",
    role="user",
    scopes=frozenset(SCOPES),
    models=None,
    key_id=None,
    session_id="ses_1",
    digest=b"d" * 32,
    expires_at=AT + timedelta(minutes=30),
    api_rate=None,
    predict_limits=(),
    quota=None,
)


def key(**values: Any) -> Caller:
    """A caller with a key that does not expire."""
    return msgspec.structs.replace(LOGIN, **({"key_id": "key_1", "session_id": None, "expires_at": None} | values))


def test_scopes_are_sorted_and_unique() -> None:
    assert scopes_of(LOGIN, ["admin", "predict", "admin"]) == ["predict", "admin"]


def test_default_scopes_are_limited_to_those_of_the_creating_key() -> None:
    assert scopes_of(LOGIN, None) == ["predict", "models:read", "models:write"]
    assert scopes_of(key(scopes=frozenset({"models:read", "admin"})), None) == ["models:read"]


def test_a_key_cannot_grant_scopes_that_its_creator_lacks() -> None:
    with pytest.raises(NotPermitted, match="`models:write`"):
        scopes_of(key(scopes=frozenset({"predict", "admin"})), ["predict", "models:write"])


@pytest.mark.parametrize("asked", [None, ["mdl_2"], ["mdl_1", "mdl_2"]])
def test_a_key_restricted_to_models_cannot_create_keys_for_others(asked: list[str] | None) -> None:
    check_models(LOGIN, asked)
    with pytest.raises(NotPermitted):
        check_models(key(models=frozenset({"mdl_1"})), asked)
    check_models(key(models=frozenset({"mdl_1"})), ["mdl_1"])


def test_a_key_may_outlive_the_login_but_not_the_key_that_creates_it() -> None:
    wanted = AT + timedelta(days=5)
    assert expiry_of(LOGIN, AT, 5, None) == expiry_of(LOGIN, AT, None, wanted) == wanted
    assert expiry_of(LOGIN, AT, None, None) is None
    maker = key(expires_at=wanted)
    assert expiry_of(maker, AT, 5, None) == expiry_of(maker, AT, None, None) == wanted
    with pytest.raises(NotPermitted):
        expiry_of(maker, AT, None, wanted + timedelta(microseconds=1))


@pytest.mark.parametrize("moment", [AT, AT - timedelta(days=1), AT + MAX_LIFETIME + timedelta(microseconds=1)])
def test_an_expiry_must_be_in_the_future_and_within_the_maximum_lifetime(moment: datetime) -> None:
    with pytest.raises(BadRequest):
        expiry_of(LOGIN, AT, None, moment)
    assert expiry_of(LOGIN, AT, MAX_LIFETIME.days, None) == AT + MAX_LIFETIME


def test_the_successor_of_a_key_lives_as_long_as_its_predecessor() -> None:
    made, expires = AT - timedelta(days=20), AT + timedelta(days=10)
    assert successor_expiry(LOGIN, AT, made, expires) == AT + timedelta(days=30)
    assert successor_expiry(LOGIN, AT, made, None) is None
    maker = key(expires_at=AT + timedelta(days=10))
    assert successor_expiry(maker, AT, made, expires) == successor_expiry(maker, AT, made, None) == maker.expires_at
