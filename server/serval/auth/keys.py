"""API keys: how they look, how they are told from noise, how they are kept."""

import hashlib
import secrets
import zlib
from collections.abc import Iterable

from serval.errors import BadRequest, NotAuthenticated

PREFIX = "srv_"
_SECRET_LENGTH = 43  # 32 random bytes in base64url
_CREDENTIALS = (b"x-api-key", b"authorization")
_LENGTH = len(PREFIX) + _SECRET_LENGTH + 8


def new_key() -> str:
    """Return a fresh key: `srv_`, 32 random bytes in base64url, and 8 hexadecimal digits of CRC-32 over what is before them."""
    body = PREFIX + secrets.token_urlsafe(32)
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def visible_prefix(key: str) -> str:
    """Return what may be shown of a key, for people to recognise it by."""
    return key[:12]


def digest(key: str) -> bytes:
    """Return the SHA-256 of a key (32 bytes): what is stored. A key has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).digest()


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the key that a request presents in `X-API-Key` or `Authorization: Bearer`; names of headers are in lower case.

    Raises BadRequest when there is more than one, NotAuthenticated when there is none or it can not be a key.
    """
    given = [(name, value.decode("latin-1")) for name, value in headers if name in _CREDENTIALS]
    if len(given) > 1:
        raise BadRequest("There is more than one of `X-API-Key` and `Authorization`: send one of them, once.")
    if not given:
        raise NotAuthenticated("An API key is needed: send it as `X-API-Key: <key>` or `Authorization: Bearer <key>`.")
    name, header = given[0]
    if name == b"authorization":
        scheme, _, header = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("`Authorization` must be `Bearer <key>`.")
    key = header.strip()
    if len(key) != _LENGTH or not key.startswith(PREFIX) or not key.isascii() or _checksum(key[:-8]) != key[-8:]:
        raise NotAuthenticated("This is not an API key of Serval, or it was cut: copy it again.")
    return key
