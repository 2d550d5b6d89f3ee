"""Secrets that people and programs present: how they look, how they are told from noise, how they are kept."""

import hashlib
import secrets
import zlib

PREFIX = "srv_"
"""Of API keys."""
REFRESH_PREFIX = "srt_"
"""Of refresh tokens."""
_SECRET_LENGTH = 43  # 32 random bytes in base64url
_LENGTH = len(PREFIX) + _SECRET_LENGTH + 8


def new_key(prefix: str = PREFIX) -> str:
    """Return a fresh secret: a prefix, 32 random bytes in base64url, and 8 hexadecimal digits of CRC-32 over what is
    before them."""
    body = prefix + secrets.token_urlsafe(32)
    return body + _checksum(body)


def is_key(text: str, prefix: str = PREFIX) -> bool:
    """Whether a text has the form of a secret and its checksum is right; a wrong one is told without a look-up."""
    return len(text) == _LENGTH and text.startswith(prefix) and text.isascii() and _checksum(text[:-8]) == text[-8:]


def visible_prefix(key: str) -> str:
    """Return what may be shown of a key, for people to recognise it by."""
    return key[:12]


def digest(key: str) -> bytes:
    """Return the SHA-256 of what is presented (32 bytes): what is stored of a key. It has 256 random bits, so no slow
    hash is needed."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
