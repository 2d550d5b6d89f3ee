"""Runs versions that answer nobody yet: apart from the serving process, which would have to trust what they cost."""

import asyncio
from collections import Counter

from serval.conversion.freeze import Sandbox, ask
from serval.conversion.messages import MAX_ROWS, PackedRows
from serval.conversion.rows import Answers
from serval.data_plane.plane import LoadError
from serval.errors import TooLarge, Unavailable
from serval.models.files import VersionFiles
from serval.models.tables import Version

MAX_WAITING = 4
"""Runs for models of one owner that wait for a confined process or have one; more are refused."""
MAX_WAITING_IN_ALL = 16
MAX_NUMBERS = 500_000
"""Probabilities or values in one answer."""


class ConfinedRuns:
    """Asks the graphs of versions in confined processes, with the engine and the limits of conversions."""

    def __init__(self, files: VersionFiles, sandbox: Sandbox) -> None:
        self._files = files
        self._sandbox = sandbox
        self._waiting: Counter[str] = Counter()
        """By owner: runs that have not ended."""

    async def answers(self, version: Version, rows: int, numbers: bytes, strings: list[str]) -> Answers:
        """Return the answers of a ready version for rows: `numbers` float64 `[rows, n]`, `strings` `rows * m`.

        Raises TooLarge, NotConvertible, SandboxViolation, and Unavailable where its files cannot be read or too many
        wait.
        """
        signature = version.parsed_signature
        limit = min(MAX_ROWS, MAX_NUMBERS // signature.score_width)
        if rows > limit:
            raise TooLarge(f"A version that is held takes at most {limit} rows in one test: send them in parts.")
        owner = version.model.owner_id
        if self._waiting[owner] >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} tests of held versions of this owner are waiting: try again in a second.")
        if self._waiting.total() >= MAX_WAITING_IN_ALL:
            raise Unavailable(f"{MAX_WAITING_IN_ALL} tests of held versions are waiting: try again in a second.")
        packed = PackedRows(rows, numbers, strings)
        self._waiting[owner] += 1
        try:
            onnx, _ = await asyncio.to_thread(self._files.read, version.id, version.onnx_sha256)
            return await ask(self._sandbox, onnx, signature, packed)
        except (OSError, LoadError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Unavailable(f"Version {version.number} cannot be loaded: {reason}") from error
        finally:
            self._waiting -= Counter({owner: 1})
