"""Access tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256 by one of several keys, which `kid` names."""

import time
from typing import Any, NamedTuple

import jwt

from serval.errors import NotAuthenticated

ISSUER = "serval"
ALGORITHM = "HS256"
_REQUIRED = ["exp", "iat", "iss", "sub", "sid"]
_LEEWAY_SECONDS = 5
"""Between the clocks of replicas."""


class Claims(NamedTuple):
    """The claims of a valid token."""

    user_id: str
    session_id: str
    expires_at: int
    """Unix seconds."""


def sign(secret: bytes, key_id: str, user_id: str, session_id: str, lifetime_seconds: int) -> str:
    """Return an access token."""
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": user_id, "sid": session_id, "iat": now, "exp": now + lifetime_seconds}
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id})


def key_id_of(token: str) -> str:
    """Return the `kid` of a token that is not verified yet. Raises NotAuthenticated."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError as error:
        raise not_valid() from error
    if not isinstance(kid, str):
        raise not_valid()
    return kid


def read(token: str, secret: bytes) -> Claims:
    """Return the claims of a token. Raises NotAuthenticated unless `sign` made it with this secret."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token, secret, algorithms=[ALGORITHM], issuer=ISSUER, leeway=_LEEWAY_SECONDS, options={"require": _REQUIRED}
        )
    except jwt.ExpiredSignatureError as error:
        raise NotAuthenticated("The access token has expired: refresh it, or log in again.") from error
    except jwt.InvalidTokenError as error:
        raise not_valid() from error
    if not isinstance(claims["sub"], str) or not isinstance(claims["sid"], str):
        raise not_valid()
    return Claims(claims["sub"], claims["sid"], int(claims["exp"]))


def not_valid() -> NotAuthenticated:
    """Return the error of a token that was not made here, or whose login has ended."""
    return NotAuthenticated("The access token is not valid, or its login has ended: log in again.")
