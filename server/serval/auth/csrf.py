"""Protection of logins in cookies against requests that other sites make a browser send.

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
    """Makes the tokens and asks for them."""

    def __init__(self, secret: bytes, trusted_origins: Iterable[str]) -> None:
        """`trusted_origins`: of other sites whose pages may log in with cookies."""
        self._secret = secret
        self._trusted_origins = frozenset(trusted_origins)

    def token(self, session_id: str) -> str:
        """Return the token of a session."""
        return urlsafe_b64encode(hmac.digest(self._secret, session_id.encode(), hashlib.sha256)).rstrip(b"=").decode()

    def check(self, session_id: str, own_origin: str, headers: Mapping[str, str]) -> None:
        """Raises NotPermitted where a request with a cookie was not made by a page that may read the token."""
        self.check_origin(own_origin, headers)
        given = headers.get(CSRF_HEADER.lower(), "")
        if not hmac.compare_digest(given.encode(), self.token(session_id).encode()):
            raise NotPermitted(
                f"A login in cookies changes things only with the header `{CSRF_HEADER}`: the value of the cookie `{CSRF_COOKIE}`."
            )

    def check_origin(self, own_origin: str, headers: Mapping[str, str]) -> None:
        """Raises NotPermitted where a page of another site asks. `own_origin`: `https://host`. Programs send no
        `Origin`."""
        origin = headers.get("origin")
        if origin is not None and origin != own_origin and origin not in self._trusted_origins:
            raise NotPermitted(
                "This page is of another origin: logins in cookies are for pages that Serval serves (`cors_origins`)."
            )
