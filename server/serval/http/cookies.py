"""The cookies of a login, protected from scripts, other sites and plain HTTP."""

from litestar.datastructures import Cookie
from litestar.types import Scope

from serval.auth.credentials import ACCESS_COOKIE, REFRESH_COOKIE, SECURE_PREFIX
from serval.auth.csrf import CSRF_COOKIE


def login_cookies(
    scope: Scope, *, access: str, access_seconds: int, refresh: str, refresh_seconds: int, csrf: str
) -> list[Cookie]:
    """Return the cookies of a login. Scripts of this origin may read the CSRF token."""
    return [
        _cookie(scope, ACCESS_COOKIE, access, access_seconds),
        _cookie(scope, REFRESH_COOKIE, refresh, refresh_seconds),
        _cookie(scope, CSRF_COOKIE, csrf, refresh_seconds, is_for_scripts=True),
    ]


def expired_cookies(scope: Scope) -> list[Cookie]:
    """Return the cookies that make a browser delete a login."""
    names = ((ACCESS_COOKIE, False), (REFRESH_COOKIE, False), (CSRF_COOKIE, True))
    return [_cookie(scope, name, "", 0, is_for_scripts=is_for_scripts) for name, is_for_scripts in names]


def _cookie(scope: Scope, name: str, value: str, max_age: int, *, is_for_scripts: bool = False) -> Cookie:
    is_secure = scope["scheme"] == "https"
    return Cookie(
        key=(SECURE_PREFIX if is_secure else "") + name,
        value=value,
        path="/",
        max_age=max_age,
        secure=is_secure,
        httponly=not is_for_scripts,
        samesite="strict",
    )
