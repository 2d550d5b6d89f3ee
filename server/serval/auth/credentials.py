"""The credential of a request: an API key, an access token, or the cookie of a login."""

import re
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Literal

import msgspec

from serval.auth.key_format import digest, is_key
from serval.errors import BadRequest, NotAuthenticated

SECURE_PREFIX = "__Host-"
"""Of cookies that a browser accepts only over HTTPS, for the whole of one host (RFC 6265bis, 4.1.3.2)."""
ACCESS_COOKIE = "serval_access"
REFRESH_COOKIE = "serval_refresh"

_CREDENTIAL_HEADERS = (b"x-api-key", b"authorization")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MAX_TOKEN_LENGTH = 4096


class Credential(msgspec.Struct, frozen=True):
    """A well-formed credential; whether it is valid must be looked up."""

    kind: Literal["key", "token"]
    text: str
    is_cookie: bool = False

    @property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes), by which the data plane knows it."""
        return digest(self.text)


def no_credentials() -> NotAuthenticated:
    """Return the error of a request without a credential."""
    return NotAuthenticated(
        "An API key or a login is needed: send `X-API-Key: <key>` or `Authorization: Bearer <key or access token>`."
    )


def not_bearer() -> NotAuthenticated:
    """Return the error of a request whose `Authorization` has another scheme."""
    return NotAuthenticated("`Authorization` must be `Bearer <key or token>`.")


def malformed_key() -> NotAuthenticated:
    """Return the error of a request whose credential is neither a key nor a token."""
    return NotAuthenticated("This is not an API key of Serval, or it was truncated: copy it again.")


def read_credential(headers: Iterable[tuple[bytes, bytes]]) -> Credential:
    """Return the credential in `X-API-Key`, `Authorization: Bearer` or else in a cookie.

    Names of headers are in lower case. Raises BadRequest where there is more than one credential, NotAuthenticated
    where there is none or it is malformed.
    """
    headers = list(headers)
    credentials = [(name, value.decode("latin-1")) for name, value in headers if name in _CREDENTIAL_HEADERS]
    if len(credentials) > 1:
        raise BadRequest("There is more than one of `X-API-Key` and `Authorization`: send one of them, once.")
    if not credentials:
        return _in_cookie(headers)
    name, value = credentials[0]
    if name == b"authorization":
        scheme, _, value = value.partition(" ")
        if scheme.lower() != "bearer":
            raise not_bearer()
    text = value.strip()
    if is_key(text):
        return Credential("key", text)
    if name == b"authorization" and _is_token(text):
        return Credential("token", text)
    raise malformed_key()


def cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """Return a cookie of Serval, preferably the one that only HTTPS can have set."""
    cookies = _cookies(headers)
    return cookies.get(SECURE_PREFIX + name, cookies.get(name))


def _cookies(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the cookies of a request by name, without unreadable ones. Names of headers are in lower case."""
    cookies: SimpleCookie = SimpleCookie()
    for name, value in headers:
        if name == b"cookie":
            try:
                cookies.load(value.decode("latin-1"))
            except CookieError:
                continue
    return {name: morsel.value for name, morsel in cookies.items()}


def _in_cookie(headers: list[tuple[bytes, bytes]]) -> Credential:
    token = cookie(headers, ACCESS_COOKIE)
    if token is None:
        raise no_credentials()
    if not _is_token(token):
        raise NotAuthenticated("The cookie of the login is damaged: log in again.")
    return Credential("token", token, is_cookie=True)


def _is_token(text: str) -> bool:
    return len(text) <= _MAX_TOKEN_LENGTH and _TOKEN.fullmatch(text) is not None
