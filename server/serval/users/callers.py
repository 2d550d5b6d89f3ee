"""The caller behind a credential that was looked up."""

from datetime import datetime

from serval.auth.caller import SCOPES, Caller, ClientInfo, Quota
from serval.auth.credentials import Credential
from serval.users.limits import UserLimits
from serval.users.tables import ApiKey, User


def caller_of(
    user: User,
    limits: UserLimits,
    presented: Credential,
    origin: ClientInfo,
    *,
    expires_at: datetime | None,
    key: ApiKey | None = None,
    quota: Quota | None = None,
    session_id: str | None = None,
) -> Caller:
    """Return what `presented` lets its user do: as much as `key` is for, or everything in a login."""
    tier = user.subscription_tier
    return Caller(
        user_id=user.id,
        username=user.username,
        role=user.role,
        scopes=frozenset(SCOPES if key is None else key.scopes),
        models=None if key is None or key.models is None else frozenset(key.models),
        key_id=None if key is None else key.id,
        session_id=session_id,
        digest=presented.digest,
        expires_at=expires_at,
        api_rate=limits.api_rate(tier),
        predict_limits=(
            limits.predict_limits(user.id, tier)
            if key is None
            else limits.predict_limits(user.id, tier, key.id, key.predict_rate)
        ),
        quota=quota,
        is_metered=key is not None and (key.predict_rate is not None or key.monthly_quota is not None),
        origin=origin,
    )
