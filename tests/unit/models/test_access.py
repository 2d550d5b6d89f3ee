"""Who may do what with a model, decided by values alone."""

import msgspec
import pytest

from serval.auth.caller import Caller
from serval.errors import NotPermitted
from serval.models.access import (
    DELETE,
    PROMOTE,
    SEE,
    SHARE,
    Access,
    Act,
    Permission,
    access_of,
    check_access,
    check_key,
)
from support.registry import CALLER

ADMIN = msgspec.structs.replace(CALLER, user_id="usr_9", role="admin")
NARROW_ADMIN = msgspec.structs.replace(ADMIN, scopes=frozenset({"models:write"}))
"""An administrator's key without the scope for what is not theirs."""


@pytest.mark.parametrize(
    ("caller", "owner", "shared", "access"),
    [
        (CALLER, "usr_1", [], "own"),
        (CALLER, "usr_1", ["predict"], "own"),
        (CALLER, "usr_2", [], None),
        (CALLER, "usr_2", ["predict"], "predict"),
        (CALLER, "usr_2", ["predict", "manage"], "manage"),
        (CALLER, "usr_2", ["manage", "predict"], "manage"),
        (ADMIN, "usr_2", [], "own"),
        (NARROW_ADMIN, "usr_2", [], None),
        (NARROW_ADMIN, "usr_2", ["predict"], "predict"),
    ],
)
def test_access_is_the_most_that_anything_gives(
    caller: Caller, owner: str, shared: list[Permission], access: Access | None
) -> None:
    assert access_of(caller, owner, shared) == access


@pytest.mark.parametrize(
    ("access", "act", "missing"),
    [
        ("predict", SEE, None),
        ("predict", PROMOTE, "takes `manage`, which its owner can give"),
        ("predict", SHARE, "only its owner and administrators may share it"),
        ("manage", PROMOTE, None),
        ("manage", DELETE, "only its owner and administrators may delete it"),
        ("own", DELETE, None),
    ],
)
def test_what_is_missing_is_named(access: Access, act: Act, missing: str | None) -> None:
    if missing is None:
        check_access("ada/iris", access, act)
    else:
        with pytest.raises(NotPermitted, match=f"`ada/iris` is shared with you for `{access}`: .*{missing}"):
            check_access("ada/iris", access, act)


def test_a_key_for_some_models_is_for_no_other() -> None:
    limited = msgspec.structs.replace(CALLER, models=frozenset({"mdl_1"}))
    check_key(limited, "mdl_1", "ada/iris")
    with pytest.raises(NotPermitted, match="not for the model `ada/wine`"):
        check_key(limited, "mdl_2", "ada/wine")
