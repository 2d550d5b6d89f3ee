"""Runs versions that answer nobody yet: apart from the serving process, which would have to trust what they cost."""

import asyncio

from serval.conversion.freeze import Sandbox, ask
from serval.conversion.messages import MAX_ROWS, PackedRows
from serval.conversion.rows import Answers
from serval.data_plane.plane import LoadError
from serval.errors import TooLarge, Unavailable
from serval.models.files import VersionFiles
from serval.models.tables import Version

MAX_WAITING = 8
"""Runs that wait for a confined process or have one; more are refused."""


class ConfinedRuns:
    """Asks the graphs of versions in confined processes, with the engine and the limits of conversions."""

    def __init__(self, files: VersionFiles, sandbox: Sandbox) -> None:
        self._files = files
        self._sandbox = sandbox
        self._waiting = 0

    async def answers(self, version: Version, rows: int, numbers: bytes, strings: list[str]) -> Answers:
        """Return the answers of a ready version for rows: `numbers` float64 `[rows, n]`, `strings` `rows * m`.

        Raises TooLarge, NotConvertible, SandboxViolation, and Unavailable where its files cannot be read or too many
        wait.
        """
        if rows > MAX_ROWS:
            raise TooLarge(f"A version that is held takes at most {MAX_ROWS} rows in one test: send them in parts.")
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many tests of held versions are waiting: try again in a second.")
        packed = PackedRows(rows, numbers, strings)
        self._waiting += 1
        try:
            onnx, _ = await asyncio.to_thread(self._files.read, version.id, version.onnx_sha256)
            return await ask(self._sandbox, onnx, version.parsed_signature, packed)
        except (OSError, LoadError) as error:
            raise Unavailable(f"Version {version.number} cannot be loaded: {error}") from error
        finally:
            self._waiting -= 1
