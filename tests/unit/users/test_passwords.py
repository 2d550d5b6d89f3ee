"""Hashes of passwords: how they are computed, and what becomes of older ones."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from serval.auth.passwords import Passwords

MIB = 1 << 20
PASSWORD = "five words nobody says often"


@contextmanager
def hashing(hash_bytes: int) -> Iterator[Passwords]:
    with closing(Passwords(8, hash_bytes)) as passwords:
        yield passwords


@pytest.mark.anyio
async def test_a_hash_takes_the_memory_that_is_set_in_three_passes() -> None:
    with hashing(16 * MIB) as passwords:
        assert (await passwords.hash(PASSWORD)).startswith("$argon2id$v=19$m=16384,t=3,p=4$")


@pytest.mark.anyio
async def test_a_hash_of_another_setting_is_right_and_is_replaced() -> None:
    with hashing(12 * MIB) as earlier:
        stored = await earlier.hash(PASSWORD)
    with hashing(16 * MIB) as passwords:
        is_right, newer = await passwords.verify(PASSWORD, stored)
        assert is_right
        assert newer is not None
        assert newer.startswith("$argon2id$v=19$m=16384,")
        assert await passwords.verify(PASSWORD, newer) == (True, None)
        assert await passwords.verify("another password", stored) == (False, None)


@pytest.mark.anyio
async def test_nobodys_password_is_never_right() -> None:
    with hashing(12 * MIB) as passwords:
        assert (await passwords.verify(PASSWORD, None))[0] is False
