"""The scopes, models and expiry of a new key, which may not exceed those of the key that creates it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from serval.auth.caller import SCOPES, Caller, Role, Scope
from serval.errors import BadRequest, NotPermitted

DEFAULT_SCOPES: frozenset[Scope] = frozenset({"predict", "models:read", "models:write"})
"""Without `admin`, which is for the account itself and must be requested."""
MAX_LIFETIME = timedelta(days=36_500)

_ALL_SCOPES = ", ".join(f"`{scope}`" for scope in SCOPES)


def name_of(name: str) -> str:
    """Return the name without surrounding space. Raises BadRequest where it is empty."""
    if not name.strip():
        raise BadRequest("`name`: give the key a name to recognise it by.")
    return name.strip()


def scopes_of(caller: Caller, requested: Sequence[str] | None) -> list[Scope]:
    """Return the scopes of a new key; None: those default ones that the caller has. Raises BadRequest, NotPermitted."""
    scopes = DEFAULT_SCOPES & caller.scopes if requested is None else set(requested)
    for index, scope in enumerate(requested or ()):
        if scope not in SCOPES:
            raise BadRequest(
                f"`scopes[{index}]`: `{scope[:40]}` is no scope; the scopes are {_ALL_SCOPES}.",
                errors=[(f"scopes[{index}]", "unknown")],
            )
    if not scopes:
        raise BadRequest(
            f"`scopes`: a key needs at least one scope; the scopes are {_ALL_SCOPES}.", errors=[("scopes", "none")]
        )
    check_scopes(caller, cast("set[Scope]", scopes))
    return [scope for scope in SCOPES if scope in scopes]


def check_scopes(caller: Caller, scopes: frozenset[Scope] | set[Scope]) -> None:
    """Raises NotPermitted where a key would have scopes that the creating key lacks."""
    if missing := scopes - caller.scopes:
        raise NotPermitted(
            f"The creating key lacks the scope `{min(missing)}`, so the new key cannot have it: "
            "log in to create such a key."
        )


def check_models(caller: Caller, models: Sequence[str] | None) -> None:
    """Raises NotPermitted where a key would be for models (None: all) that the creating key is not for."""
    if not caller.covers(models):
        raise NotPermitted(
            "The creating key is restricted to some models, so the new key cannot be for others: "
            "log in to create such a key."
        )


def check_lasts_no_longer(caller: Caller, role: Role) -> None:
    """Raises NotPermitted where a key that expires would give an administrator's power, which does not."""
    if role == "admin" and own_expiry(caller) is not None:
        raise NotPermitted(
            "This API key expires, and what it does to an administrator's account would outlast it: "
            "use a key that does not expire, or log in."
        )


def expiry_of(caller: Caller, at: datetime, days: int | None, moment: datetime | None) -> datetime | None:
    """Return when a new key expires; None: never. It never expires later than the key that creates it.

    Raises BadRequest, NotPermitted.
    """
    if days is not None and moment is not None:
        raise BadRequest(
            "`expires_in_days` and `expires_at`: give one of them, or neither for a key that does not expire."
        )
    expires_at = moment if days is None else at + timedelta(days=days)
    if expires_at is None:
        return own_expiry(caller)
    if expires_at <= at:
        raise BadRequest("`expires_at`: this time is in the past.", errors=[("expires_at", "in the past")])
    if expires_at > at + MAX_LIFETIME:
        raise BadRequest(
            f"`expires_at`: a key may be valid for at most {MAX_LIFETIME.days} days.",
            errors=[("expires_at", "too late")],
        )
    limit = own_expiry(caller)
    if limit is not None and expires_at > limit:
        raise NotPermitted(f"The creating key expires at {limit.isoformat()}: the new key cannot be valid for longer.")
    return expires_at


def successor_expiry(
    caller: Caller, at: datetime, created_at: datetime, expires_at: datetime | None
) -> datetime | None:
    """Return when the successor of a key expires: it lives as long as that one, but not longer than its creator."""
    same_lifetime = None if expires_at is None else at + (expires_at - created_at)
    return min((moment for moment in (same_lifetime, own_expiry(caller)) if moment is not None), default=None)


def own_expiry(caller: Caller) -> datetime | None:
    """Return when the key of a caller expires; None: never, or the caller has a login."""
    return caller.expires_at if caller.key_id is not None else None
