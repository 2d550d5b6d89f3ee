"""What a request presents to say who is calling: an API key, an access token, or the cookie of a login."""

import re
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Literal

import msgspec

from serval.auth.key_format import digest, is_key
from serval.errors import BadRequest, NotAuthenticated

SECURE_PREFIX = "__Host-"
"""Of cookies that a browser takes only over HTTPS, from this host, for all of it (RFC 6265bis, 4.1.3.2)."""
ACCESS_COOKIE = "serval_access"
REFRESH_COOKIE = "serval_refresh"

_CREDENTIALS = (b"x-api-key", b"authorization")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST_TOKEN = 4096


class Credential(msgspec.Struct, frozen=True):
    """A credential that has the right form; whether it opens anything is to be looked up."""

    kind: Literal["key", "token"]
    text: str
    is_cookie: bool = False

    @property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes), by which the data plane knows it."""
        return digest(self.text)


def presented(headers: Iterable[tuple[bytes, bytes]]) -> Credential:
    """Return what a request presents in `X-API-Key`, `Authorization: Bearer` or else in a cookie; names of headers are
    in lower case.

    Raises BadRequest when there is more than one, NotAuthenticated when there is none or it can be neither key nor
    token.
    """
    headers = list(headers)
    given = [(name, value.decode("latin-1")) for name, value in headers if name in _CREDENTIALS]
    if len(given) > 1:
        raise BadRequest("There is more than one of `X-API-Key` and `Authorization`: send one of them, once.")
    if not given:
        return _in_cookie(headers)
    name, header = given[0]
    if name == b"authorization":
        scheme, _, header = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("`Authorization` must be `Bearer <key or token>`.")
    text = header.strip()
    if is_key(text):
        return Credential("key", text)
    if name == b"authorization" and _is_token(text):
        return Credential("token", text)
    raise NotAuthenticated("This is not an API key of Serval, or it was cut: copy it again.")


def _cookies(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the cookies of a request by name; names of headers are in lower case. What can not be read is none."""
    found: SimpleCookie = SimpleCookie()
    for name, value in headers:
        if name == b"cookie":
            try:
                found.load(value.decode("latin-1"))
            except CookieError:
                continue
    return {name: morsel.value for name, morsel in found.items()}


def cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """Return a cookie of ours: the one that only HTTPS can have set, where there is one."""
    found = _cookies(headers)
    return found.get(SECURE_PREFIX + name, found.get(name))


def _in_cookie(headers: list[tuple[bytes, bytes]]) -> Credential:
    token = cookie(headers, ACCESS_COOKIE)
    if token is None:
        raise NotAuthenticated(
            "An API key or a login is needed: send `X-API-Key: <key>` or `Authorization: Bearer <key or access token>`."
        )
    if not _is_token(token):
        raise NotAuthenticated("The cookie of the login is damaged: log in again.")
    return Credential("token", token, is_cookie=True)


def _is_token(text: str) -> bool:
    return len(text) <= _LONGEST_TOKEN and _TOKEN.fullmatch(text) is not None
