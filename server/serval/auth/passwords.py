"""Passwords: which are taken, how they are hashed and verified (NIST SP 800-63B, 3.1.1; RFC 9106)."""

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
"""A hash takes 64 MiB for a twentieth of a second or more, so that few are made at a time."""
MAX_WAITING = 32
FAILURE_SECONDS = 0.5
"""A login that fails is answered at the next multiple: what was verified, and whether anything was, does not show in
the time."""
_BCRYPT_BYTES = 72


class Passwords:
    """Hashes and verifies on threads of its own; who comes when too many wait is refused at once."""

    def __init__(self, min_length: int) -> None:
        self._min_length = min_length
        # The parameters are the second recommended option of RFC 9106, 4: three passes over 64 MiB.
        self._hasher = PasswordHash((Argon2Hasher(), BcryptHasher()))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._under_way = 0

    @cached_property
    def _nobodys(self) -> str:
        """A hash that no password has; made when it is first needed, on one of the threads."""
        return self._hasher.hash(secrets.token_urlsafe(16))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check(self, password: str, about: Iterable[str]) -> str:
        """Return a password that may be set, as it is hashed. `about`: what others know of its owner. Raises
        BadRequest."""
        text = _normal(password)
        reason = self._weakness(text, {word.casefold() for word in about if word})
        if reason is not None:
            raise BadRequest(f"`password`: {reason}.", errors=[("password", reason)])
        return text

    def _weakness(self, text: str, known: set[str]) -> str | None:
        folded = text.casefold()
        if len(text) < self._min_length:
            return f"use at least {self._min_length} characters; a few words in a row are easy to remember"
        if len(text) > MAX_LENGTH:
            return f"use at most {MAX_LENGTH} characters"
        if folded in _common() or len(set(folded)) < 3:
            return "it is among those that are tried first; choose another"
        if (
            folded in known
            or folded.removesuffix("serval") in known
            or (folded.startswith("serval") and folded[6:].isdigit())
        ):
            return "it can be guessed from the account; choose another"
        return None

    async def hash(self, password: str) -> str:
        """Return the Argon2id hash of a password that `check` has let through. Raises Unavailable."""
        return await self._on_a_thread(lambda: self._hasher.hash(password))

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether a password is the one stored, and the hash to store instead where that is not up to date.

        `stored` None: nobody's, which takes as long. Raises Unavailable.
        """
        return await self._on_a_thread(lambda: self._verify(_normal(password[: MAX_LENGTH + 1]), stored))

    def _verify(self, password: str, of_somebody: str | None) -> tuple[bool, str | None]:
        stored = of_somebody or self._nobodys
        # What bcrypt leaves out was left out when the hash was made; the library refuses a longer one.
        known: str | bytes = password.encode()[:_BCRYPT_BYTES] if stored.startswith("$2") else password
        try:
            is_right, newer = self._hasher.verify_and_update(known, stored)
        except UnknownHashError:
            return False, None
        if newer is not None and known is not password:  # that would be a hash of what bcrypt has seen of it
            newer = self._hasher.hash(password)
        return is_right and of_somebody is not None, newer

    def understands(self, stored: str) -> bool:
        """Whether a text is a hash that `verify` knows: Argon2 or bcrypt."""
        return any(hasher.identify(stored) for hasher in (Argon2Hasher, BcryptHasher))

    async def _on_a_thread(self, work: Callable[[], T]) -> T:
        if self._under_way >= THREADS + MAX_WAITING:
            raise Unavailable("Too many passwords are being verified: try again in a second.")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


async def until_failures_are_told(started: float) -> None:
    """Wait for the moment at which a failed login that began at `started` (`time.monotonic()`) is answered."""
    spent = time.monotonic() - started
    await asyncio.sleep(math.ceil(spent / FAILURE_SECONDS) * FAILURE_SECONDS - spent)


def generated() -> str:
    """Return a password that nobody has thought of: 120 random bits."""
    return secrets.token_urlsafe(15)


def _normal(password: str) -> str:
    """One form for what looks the same, as SP 800-63B asks."""
    return unicodedata.normalize("NFKC", password)


@cache
def _common() -> frozenset[str]:
    """The thirty thousand passwords that leaks have most often."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(word.casefold() for word in FREQUENCY_LISTS["passwords"])
