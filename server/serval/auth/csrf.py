"""Protection of cookie logins against cross-site request forgery.

A token bound to the session, which only pages of this origin can read and send in a header (OWASP's signed
double-submit cookie).
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping

from serval.errors import NotPermitted

CSRF_COOKIE = "serval_csrf"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Csrf:
    """Creates and verifies the tokens."""

    def __init__(self, secret: bytes, trusted_origins: Iterable[str]) -> None:
        """`trusted_origins`: of other sites whose pages may log in with cookies."""
        self._secret = secret
        self._trusted_origins = frozenset(trusted_origins)

    def token(self, session_id: str) -> str:
        """Return the token of a session."""
        return urlsafe_b64encode(hmac.digest(self._secret, session_id.encode(), hashlib.sha256)).rstrip(b"=").decode()

    def check(self, session_id: str, own_origin: str, headers: Mapping[str, str]) -> None:
        """Raises NotPermitted where a request with a cookie was not made by a page that can read the token."""
        self.check_origin(own_origin, headers)
        token = headers.get(CSRF_HEADER.lower(), "")
        if not hmac.compare_digest(token.encode(), self.token(session_id).encode()):
            raise NotPermitted(
                f"Requests with a cookie login that change something need the header `{CSRF_HEADER}`, "
                f"with the value of the cookie `{CSRF_COOKIE}`."
            )

    def check_origin(self, own_origin: str, headers: Mapping[str, str]) -> None:
        """Raises NotPermitted for a page of another site. `own_origin`: `https://host`. Programs send no `Origin`."""
        origin = headers.get("origin")
        if origin is not None and origin != own_origin and origin not in self._trusted_origins:
            raise NotPermitted(
                "This page is of another origin: logins in cookies are for pages that Serval serves (`cors_origins`)."
            )
