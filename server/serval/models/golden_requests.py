"""The golden requests of versions: read, and asked again of the engine that serves.

A held version has answered nobody yet, so that nothing is known of what it costs: it is asked in a confined process.
"""

import asyncio
from collections import defaultdict

import msgspec

from serval.conversion.golden import Golden, GoldenResult, compare_golden
from serval.conversion.verify.data_plane_engine import answers_of, numbers_of, strings_of
from serval.errors import GoldenMismatch, Unavailable
from serval.models.confined_runs import ConfinedRuns
from serval.models.files import VersionFiles
from serval.models.loading import ModelLoader
from serval.models.tables import Version


class GoldenRequests:
    """Reads golden requests, and asks them in one batch: for each owner one version at a time."""

    def __init__(self, files: VersionFiles, loader: ModelLoader, runs: ConfinedRuns) -> None:
        self._files = files
        self._loader = loader
        self._runs = runs
        self._running: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By owner."""

    async def read(self, version: Version) -> Golden | None:
        """Return the golden requests of a version, None where it has none. Raises Unavailable where they are lost."""
        if not has_golden(version):
            return None
        try:
            return await asyncio.to_thread(self._files.read_golden, version.id)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Unavailable(
                f"The golden requests of version {version.number} cannot be read: {reason}. Restore its `golden.json` "
                "from a backup, or upload its file again."
            ) from error

    async def ask(self, version: Version) -> GoldenResult | None:
        """Ask the golden requests of a ready version, where it has any. Raises Quarantined, Unavailable, and what a
        confined run raises where it is held."""
        golden = await self.read(version)
        if golden is None:
            return None
        signature = version.parsed_signature
        rows = await asyncio.to_thread(golden.rows, signature)
        numbers, strings = numbers_of(rows), strings_of(rows)
        if version.is_held:
            answers = await self._runs.answers(version, len(rows), numbers, strings)
        else:
            async with self._running[version.model.owner_id]:
                outputs = await self._loader.run(version.id, numbers, strings)
            answers = answers_of(signature, outputs, len(rows))
        return await asyncio.to_thread(compare_golden, signature, golden, answers)

    async def check(self, version: Version) -> None:
        """Raises GoldenMismatch where a golden request gets another answer than the one expected, and what `ask`
        raises."""
        result = await self.ask(version)
        if result is None or result.worst is None:
            return
        shown = msgspec.json.encode(result.worst.input).decode()
        raise GoldenMismatch(
            f"Version {version.number} does not go live: {result.rows - result.agreeing} of its {result.rows} golden "
            f"requests get another answer than the one they were kept with, worst `{shown[:300]}`: {result.problem}. "
            "Upload its file again, which converts and verifies it with this server.",
            extra={"golden": msgspec.to_builtins(result)},
        )


def has_golden(version: Version) -> bool:
    """Whether a version was stored with golden requests."""
    return bool((version.report or {}).get("golden_requests"))
