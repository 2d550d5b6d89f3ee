"""Passwords: which are accepted, how they are hashed and verified (NIST SP 800-63B, 3.1.1; RFC 9106)."""

import asyncio
import math
import secrets
import time
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

from serval.errors import BadRequest, Unavailable

T = TypeVar("T")

MAX_LENGTH = 256
THREADS = 2
"""By default a hash takes 64 MiB for 50 ms or more, so only a few run at a time."""
MAX_WAITING = 32
FAILURE_SECONDS = 0.5
"""A failed login is answered at the next multiple, so that its time does not show what was verified."""
_BCRYPT_BYTES = 72


class Passwords:
    """Hashes and verifies on its own threads; a call is refused at once when too many wait."""

    def __init__(self, min_length: int, hash_bytes: int) -> None:
        """`hash_bytes`: memory of a hash; with 64 MiB it is the second recommended option of RFC 9106, 4."""
        self._min_length = min_length
        argon2 = Argon2Hasher(time_cost=3, memory_cost=hash_bytes // 1024, parallelism=4)
        self._hasher = PasswordHash((argon2, BcryptHasher()))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._in_progress = 0

    @cached_property
    def _dummy_hash(self) -> str:
        """A hash that no password has; made on one of the threads when it is first needed."""
        return self._hasher.hash(secrets.token_urlsafe(16))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check(self, password: str, about: Iterable[str]) -> str:
        """Return a password that may be set, normalized. `about`: what others know of its owner. Raises BadRequest."""
        text = _normalize(password)
        reason = self._weakness(text, {word.casefold() for word in about if word})
        if reason is not None:
            raise BadRequest(f"`password`: {reason}.", errors=[("password", reason)])
        return text

    def _weakness(self, text: str, known_words: set[str]) -> str | None:
        folded = text.casefold()
        if len(text) < self._min_length:
            return f"use at least {self._min_length} characters; a few words in a row are easy to remember"
        if len(text) > MAX_LENGTH:
            return f"use at most {MAX_LENGTH} characters"
        if folded in _common_passwords() or len(set(folded)) < 3:
            return "it is one of the most common passwords; choose another"
        if (
            folded in known_words
            or folded.removesuffix("serval") in known_words
            or (folded.startswith("serval") and folded[6:].isdigit())
        ):
            return "it can be guessed from the account; choose another"
        return None

    async def hash(self, password: str) -> str:
        """Return the Argon2id hash of a password that `check` has let through. Raises Unavailable."""
        return await self._on_a_thread(lambda: self._hasher.hash(password))

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Return whether a password matches its stored hash, and the hash to store instead where that is outdated.

        `stored` None: the user does not exist, which takes as long. Raises Unavailable.
        """
        return await self._on_a_thread(lambda: self._verify(_normalize(password[: MAX_LENGTH + 1]), stored))

    def _verify(self, password: str, stored_hash: str | None) -> tuple[bool, str | None]:
        stored = stored_hash or self._dummy_hash
        # bcrypt ignores the rest, and the library refuses a longer password.
        presented: str | bytes = password.encode()[:_BCRYPT_BYTES] if stored.startswith("$2") else password
        try:
            is_right, newer = self._hasher.verify_and_update(presented, stored)
        except UnknownHashError:
            return False, None
        if newer is not None and presented is not password:  # it would be the hash of a truncated password
            newer = self._hasher.hash(password)
        return is_right and stored_hash is not None, newer

    def is_supported_hash(self, text: str) -> bool:
        """Whether a text is a hash that `verify` supports: Argon2 or bcrypt."""
        return any(hasher.identify(text) for hasher in (Argon2Hasher, BcryptHasher))

    async def _on_a_thread(self, work: Callable[[], T]) -> T:
        if self._in_progress >= THREADS + MAX_WAITING:
            raise Unavailable("Too many passwords are being verified: try again in a second.")
        self._in_progress += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._in_progress -= 1


async def delay_failure(started: float) -> None:
    """Wait until a failed login that began at `started` (`time.monotonic()`) may be answered."""
    spent = time.monotonic() - started
    await asyncio.sleep(math.ceil(spent / FAILURE_SECONDS) * FAILURE_SECONDS - spent)


def generate_password() -> str:
    """Return a password of 120 random bits."""
    return secrets.token_urlsafe(15)


def _normalize(password: str) -> str:
    """Return one form of texts that look the same, as SP 800-63B asks."""
    return unicodedata.normalize("NFKC", password)


@cache
def _common_passwords() -> frozenset[str]:
    """Return the thirty thousand passwords that leaks contain most often."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(word.casefold() for word in FREQUENCY_LISTS["passwords"])
