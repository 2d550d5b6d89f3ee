"""The form of API keys and refresh tokens: their prefix, checksum and digest."""

import hashlib
import hmac
import secrets
import zlib
from base64 import urlsafe_b64encode

PREFIX = "srv_"
"""Of API keys."""
REFRESH_PREFIX = "srt_"
"""Of refresh tokens."""
_SECRET_LENGTH = 43  # 32 random bytes in base64url
_LENGTH = len(PREFIX) + _SECRET_LENGTH + 8


def new_key(prefix: str = PREFIX) -> str:
    """Return a fresh secret: prefix, 32 random bytes in base64url, and the CRC-32 of both in 8 hexadecimal digits."""
    return _formatted(prefix, secrets.token_bytes(32))


def successor(refresh_token: str, secret: bytes) -> str:
    """Return the refresh token that replaces another: the same at each call, so that it need not be stored.

    It takes both to know it, the token, which no database has, and the server's secret, which no client has.
    """
    return _formatted(REFRESH_PREFIX, hmac.digest(secret, refresh_token.encode(), hashlib.sha256))


def is_key(text: str, prefix: str = PREFIX) -> bool:
    """Whether a text has the form of a secret and its checksum is right, so that a typo needs no look-up."""
    return len(text) == _LENGTH and text.startswith(prefix) and text.isascii() and _checksum(text[:-8]) == text[-8:]


def visible_prefix(key: str) -> str:
    """Return the part of a key that may be shown, for people to recognise it by."""
    return key[:12]


def digest(key: str) -> bytes:
    """Return the SHA-256 of a credential (32 bytes), which is stored. A key has 256 random bits and needs no slow
    hash."""
    return hashlib.sha256(key.encode()).digest()


def _formatted(prefix: str, content: bytes) -> str:
    body = prefix + urlsafe_b64encode(content).rstrip(b"=").decode()
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
