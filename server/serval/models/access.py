"""Who may do what with a model: the one place that says it."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from serval.auth.caller import Caller
from serval.errors import NotPermitted

Permission = Literal["predict", "manage"]
"""What a share gives. `predict`: ask the model and see what it is; `manage`: also its versions and settings, but not
its ownership."""
Access = Literal["predict", "manage", "own"]
"""What a caller may do with a model that they can see. Each includes those before it."""

_RANKS: dict[Access, int] = {"predict": 0, "manage": 1, "own": 2}


class Act(NamedTuple):
    """An operation on a model, and the access that it needs."""

    phrase: str
    """As in "`manage`, which is needed to …"."""
    needs: Access


SEE = Act("see it", "predict")
SEE_PREDICTIONS = Act("see what others asked it", "manage")
SEE_SHARES = Act("see with whom it is shared", "manage")
DOWNLOAD = Act("download it", "manage")
UPLOAD = Act("upload versions of it", "manage")
CHANGE = Act("change it", "manage")
SEE_GOLDEN = Act("see its golden requests", "manage")
TEST = Act("test its versions", "manage")
PROMOTE = Act("promote its versions", "manage")
RETIRE = Act("deprecate or archive its versions", "manage")
SHARE = Act("share it", "own")
DELETE = Act("delete it", "own")
RESTORE = Act("restore it", "own")


def access_of(caller: Caller, owner_id: str, shared: Iterable[Permission]) -> Access | None:
    """Return what a caller may do with a model of `owner_id` that is `shared` with them; None: it does not exist for
    them."""
    if caller.may_see(owner_id):
        return "own"
    return max(shared, key=_RANKS.__getitem__, default=None)


def allows(access: Access, act: Act) -> bool:
    return _RANKS[access] >= _RANKS[act.needs]


def check_permitted(caller: Caller, model_id: str, name: str, access: Access, act: Act) -> None:
    """Raises NotPermitted, which names what is missing: in the caller's key, or in their access to the model.

    `name`: `owner/name` of the model, which the caller can see.
    """
    check_key(caller, model_id, name)
    check_access(name, access, act)


def check_key(caller: Caller, model_id: str, name: str) -> None:
    """Raises NotPermitted where the caller's key is for other models than this one, which they can see."""
    if not caller.may_use(model_id):
        raise NotPermitted(f"This API key is not for the model `{name}`: use one that is, or one for all models.")


def check_access(name: str, access: Access, act: Act) -> None:
    """Raises NotPermitted where an access to a model is not enough."""
    if allows(access, act):
        return
    if act.needs == "own":
        raise NotPermitted(
            f"`{name}` is shared with you for `{access}`: only its owner and administrators may {act.phrase}."
        )
    raise NotPermitted(
        f"`{name}` is shared with you for `{access}`: to {act.phrase} takes `{act.needs}`, which its owner can give."
    )


def check_makes_models(caller: Caller) -> None:
    """Raises NotPermitted where the caller's key is for some models only, so that a new model is none of them."""
    if caller.models is not None:
        raise NotPermitted("This API key is for some models only and cannot make new ones: use one that is for all.")
