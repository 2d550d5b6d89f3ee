"""A command that runs beside the server, with the server's address and key in its environment."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from serval.process.parent_death import bound_to_parent
from serval.process.serving_process import environment_without_settings
from serval.process.termination import end

GRACE_SECONDS = 5.0


class Sidecar:
    """Runs the command once."""

    def __init__(self, command: Sequence[str], on_failure: Callable[[], None]) -> None:
        """`on_failure` is called when the command exits with another code than 0."""
        self._command = command
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    def start(self, url: str, key_file: Path) -> None:
        """Start the command, unless it has been started before."""
        if self._task is None:
            key = key_file.read_text(encoding="ascii").strip()
            self._task = asyncio.create_task(self._run({"SERVAL_URL": url, "SERVAL_KEY": key}))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, address: dict[str, str]) -> None:
        process = await asyncio.create_subprocess_exec(
            *bound_to_parent(self._command),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # standard output is the log's
            start_new_session=True,
            env=environment_without_settings() | address,
        )
        try:
            if await process.wait() != 0:
                self._on_failure()
        except asyncio.CancelledError:
            await end(process, GRACE_SECONDS)
            raise
