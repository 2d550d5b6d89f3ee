"""Ids: a prefix that says what a thing is, and a ULID."""

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(prefix: str) -> str:
    """Return `prefix_` and a fresh ULID: 48 bits of Unix milliseconds and 80 random bits (https://github.com/ulid/spec)."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
