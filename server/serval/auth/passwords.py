"""Passwords: which are accepted, how they are hashed and verified (NIST SP 800-63B, 3.1.1; RFC 9106)."""

import asyncio
import math
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, cached_property
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

from serval.auth.password_hashes import hash_problem
from serval.auth.turns import Turns
from serval.errors import BadRequest

T = TypeVar("T")

MAX_LENGTH = 256
PLACES = 2
"""By default a hash takes 64 MiB for 50 ms or more, so only a few run at a time."""
MAX_WAITING_EACH = 16
"""Hashes of one address, or of one user, that may wait for a place."""
MAX_WAITING = 256
FAILURE_SECONDS = 0.5
"""A failed login is answered at the next multiple, so that its time does not show what was verified."""
_BCRYPT_BYTES = 72


class Passwords:
    """Hashes and verifies on threads of its own, a few at a time, which those who ask have in turn.

    The threads are not waited for when the process ends.
    """

    def __init__(self, min_length: int, hash_bytes: int) -> None:
        """`hash_bytes`: memory of a hash; with 64 MiB it is the second recommended option of RFC 9106, 4."""
        self._min_length = min_length
        argon2 = Argon2Hasher(time_cost=3, memory_cost=hash_bytes // 1024, parallelism=4)
        self._hasher = PasswordHash((argon2, BcryptHasher()))
        self._hash_bytes = hash_bytes
        self._turns = Turns(
            PLACES, MAX_WAITING_EACH, MAX_WAITING, "Too many passwords are being verified: try again in a second."
        )

    @cached_property
    def _dummy_hash(self) -> str:
        """A hash that no password has; made on one of the threads when it is first needed."""
        return self._hasher.hash(secrets.token_urlsafe(16))

    def close(self) -> None:
        """Refuse what waits; what runs ends by itself, or with the process."""
        self._turns.close()

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

    async def hash(self, password: str, *, subject: str = "") -> str:
        """Return the Argon2id hash of a password that `check` has let through.

        `subject`: whose turn it takes, an address or a user. Raises Unavailable.
        """
        return await self._on_a_thread(subject, lambda: self._hasher.hash(password))

    async def verify(self, password: str, stored: str | None, *, subject: str = "") -> tuple[bool, str | None]:
        """Return whether a password matches its stored hash, and the hash to store instead where that is outdated.

        `stored` None, or a hash that `problem_of` refuses: no password is right, which takes as long as for others.
        `subject`: as for `hash`. Raises Unavailable.
        """
        if stored is not None and self.problem_of(stored) is not None:
            stored = None
        return await self._on_a_thread(subject, lambda: self._verify(_normalize(password[: MAX_LENGTH + 1]), stored))

    def problem_of(self, stored: str) -> str | None:
        """Return why a hash is not verified, as a clause; None: it is."""
        return hash_problem(stored, self._hash_bytes)

    def _verify(self, password: str, stored_hash: str | None) -> tuple[bool, str | None]:
        stored = stored_hash or self._dummy_hash
        # bcrypt ignores the rest, and the library refuses a longer password.
        presented: str | bytes = password.encode()[:_BCRYPT_BYTES] if stored.startswith("$2") else password
        is_right, newer = self._hasher.verify_and_update(presented, stored)
        if newer is not None and presented is not password:  # it would be the hash of a truncated password
            newer = self._hasher.hash(password)
        return is_right and stored_hash is not None, newer

    async def _on_a_thread(self, subject: str, work: Callable[[], T]) -> T:
        await self._turns.take(subject)
        loop = asyncio.get_running_loop()
        outcome: Future[T] = Future()
        outcome.set_running_or_notify_cancel()  # a hash that runs is not cancelled when its client goes

        def run() -> None:
            try:
                outcome.set_result(work())
            except Exception as error:  # noqa: BLE001 it is raised where the outcome is awaited
                outcome.set_exception(error)
            finally:
                with suppress(RuntimeError):  # the event loop has closed: the server has stopped meanwhile
                    loop.call_soon_threadsafe(self._turns.release)

        threading.Thread(target=run, name="password", daemon=True).start()
        return await asyncio.wrap_future(outcome)


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
