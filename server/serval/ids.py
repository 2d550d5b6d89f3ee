"""Ids: a prefix for the kind of resource, and a ULID."""

import secrets
import time
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(prefix: str) -> str:
    """Return `prefix_` and a new ULID: 48 bits of Unix milliseconds, 80 random bits (https://github.com/ulid/spec)."""
    return _id(prefix, (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80))


def first_id(prefix: str, at: datetime) -> str:
    """Return the lowest possible id of a millisecond: earlier ids are lower, later ones are not."""
    return _id(prefix, max(0, int(at.timestamp() * 1000)) << 80)


def _id(prefix: str, number: int) -> str:
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
