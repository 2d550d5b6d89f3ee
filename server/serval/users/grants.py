"""What a new key is for: what was asked for it, held against what its maker may give away."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from serval.auth.caller import SCOPES, Caller, Scope
from serval.errors import BadRequest, NotPermitted

DEFAULT_SCOPES: frozenset[Scope] = frozenset({"predict", "models:read", "models:write"})
"""`admin`, which is for the account itself, has to be asked for."""
LONGEST = timedelta(days=36_500)
"""How far away the end of a key may lie."""

_ALL_SCOPES = ", ".join(f"`{scope}`" for scope in SCOPES)


def name_of(asked: str) -> str:
    """Return the name without the space around it. Raises BadRequest where nothing is left."""
    if not asked.strip():
        raise BadRequest("`name`: give the key a name to recognise it by.")
    return asked.strip()


def scopes_of(caller: Caller, asked: Sequence[str] | None) -> list[Scope]:
    """Return the scopes of a new key; None: the usual ones, as far as its maker has them. Raises BadRequest,
    NotPermitted."""
    wanted = DEFAULT_SCOPES & caller.scopes if asked is None else set(asked)
    for place, scope in enumerate(asked or ()):
        if scope not in SCOPES:
            raise BadRequest(
                f"`scopes[{place}]`: `{scope[:40]}` is no scope; there are {_ALL_SCOPES}.",
                errors=[(f"scopes[{place}]", "unknown")],
            )
    if not wanted:
        raise BadRequest(
            f"`scopes`: a key for nothing opens nothing; name some of {_ALL_SCOPES}.", errors=[("scopes", "none")]
        )
    check_scopes(caller, cast("set[Scope]", wanted))
    return [scope for scope in SCOPES if scope in wanted]


def check_scopes(caller: Caller, wanted: frozenset[Scope] | set[Scope]) -> None:
    """Raises NotPermitted where a key is to be for more than the key that makes it."""
    if beyond := wanted - caller.scopes:
        raise NotPermitted(
            f"The key that you make it with is not for `{min(beyond)}`, so what it makes can not be either: log in to make such a key."
        )


def check_models(caller: Caller, wanted: Sequence[str] | None) -> None:
    """Hold ids of models (None: all) against those of the key that makes another. Raises NotPermitted."""
    if caller.models is not None and (wanted is None or not caller.models.issuperset(wanted)):
        raise NotPermitted(
            "The key that you make it with is for some models alone, so what it makes can not be for others: log in to make such a key."
        )


def expiry_of(caller: Caller, at: datetime, days: int | None, moment: datetime | None) -> datetime | None:
    """Return when a key that is made now is to expire; None: never. Without either it outlasts its maker as little as
    with.

    Raises BadRequest, NotPermitted.
    """
    if days is not None and moment is not None:
        raise BadRequest(
            "`expires_in_days` and `expires_at` are both there; give one of them, or none for a key that does not expire."
        )
    wanted = moment if days is None else at + timedelta(days=days)
    if wanted is None:
        return own_expiry(caller)
    if wanted <= at:
        raise BadRequest("`expires_at`: that moment has passed.", errors=[("expires_at", "has passed")])
    if wanted > at + LONGEST:
        raise BadRequest(
            f"`expires_at`: a key may last {LONGEST.days} days at most.", errors=[("expires_at", "too late")]
        )
    limit = own_expiry(caller)
    if limit is not None and wanted > limit:
        raise NotPermitted(
            f"The key that you make it with expires at {limit.isoformat()}: what it makes can not last longer."
        )
    return wanted


def expiry_of_next(caller: Caller, at: datetime, created_at: datetime, expires_at: datetime | None) -> datetime | None:
    """Return when the key expires that takes over from another: it lasts as long as that one was to, but not longer
    than its maker."""
    wanted = None if expires_at is None else at + (expires_at - created_at)
    return min((moment for moment in (wanted, own_expiry(caller)) if moment is not None), default=None)


def own_expiry(caller: Caller) -> datetime | None:
    """Return when the key expires that a caller presents; None: never, or it is a login."""
    return caller.expires_at if caller.key_id is not None else None
