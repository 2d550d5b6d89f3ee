"""Runs a task on an upload in a confined process, a few at a time."""

import asyncio
import contextlib
import logging
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Awaitable
from pathlib import Path

from serval import _native
from serval.conversion.sandbox.confined_process import ConfinedProcess
from serval.conversion.sandbox.limits import Limits
from serval.conversion.sandbox.outcomes import answer_of
from serval.conversion.sandbox.template import Template
from serval.errors import Unavailable

log = logging.getLogger(__name__)


class Sandbox:
    """Confined processes, at most `max_children` at a time.

    Each is forked for one run from a template, which has imported what tasks need.
    """

    def __init__(
        self,
        *,
        python: str,
        root: Path,
        limits: Limits,
        allow_unconfined: bool,
        max_children: int,
        tasks: Path | None = None,
    ) -> None:
        """`root`: folder for the children's empty folders, used by this sandbox alone.

        `tasks`: a file in place of `serval.conversion.tasks`. If the kernel cannot confine, `run` raises Unavailable
        unless `allow_unconfined`.
        """
        self._python = python
        self._root = root
        self._limits = limits
        self._tasks = tasks
        self._slots = asyncio.Semaphore(max_children)
        self._template: asyncio.Task[Template] | None = None
        self._cleanups: set[asyncio.Task[None]] = set()
        self._gap = kernel_gap()
        self._is_required = not (allow_unconfined and self._gap)
        if closed := closed_folders():
            log.info("uploads can import only what is preloaded: other users cannot enter %s", ", ".join(closed))
        if not self._is_required:
            log.warning("uploads run unconfined: %s, and allow_unconfined_conversion is set", self._gap)

    async def start(self, *, preload: bool = True) -> None:
        """Remove what a killed server left. `preload`: start the template now, in the background, not at the first
        run."""
        for leftover in self._root.iterdir():
            shutil.rmtree(leftover)
        if preload:
            self._template = asyncio.create_task(self._started_template())

    async def run(self, task: str, upload: Path | None, request: bytes) -> bytes:
        """Run `task` on the file `upload` and return its answer: hostile bytes, to be read with a strict schema.

        Raises SandboxViolation (with the violation or limit), what the task reports (NotAModel, NotAPredictor,
        NotConvertible, ...), and Unavailable.
        """
        if self._gap and self._is_required:
            raise Unavailable(
                f"Conversion is refused: {self._gap}. `allow_unconfined_conversion` would run uploads unconfined"
            )
        async with self._slots:
            process = await self._confined(task)
            try:
                process.assign(upload, request)
                end = await process.ended()
            finally:
                await self._clean_up(process)
        return answer_of(end, self._limits)

    async def close(self) -> None:
        """Return when no child and no template is left. Runs under way are their callers' to cancel."""
        await asyncio.gather(*self._cleanups)
        template, self._template = self._template, None
        if template is not None:
            template.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unavailable):
                (await template).close()

    async def _confined(self, task: str) -> ConfinedProcess:
        """A process that waits for its work. A template that dies at the fork is replaced, once: no upload has been
        touched yet."""
        template = await self._living_template()
        try:
            return await self._forked(template, task)
        except Unavailable:
            if template.is_alive:
                raise
            return await self._forked(await self._living_template(), task)

    async def _forked(self, template: Template, task: str) -> ConfinedProcess:
        process = ConfinedProcess(
            template=template, root=self._root, task=task, limits=self._limits, is_required=self._is_required
        )
        try:
            await process.ready()
        except BaseException:
            await self._clean_up(process)
            raise
        return process

    async def _living_template(self) -> Template:
        """The template, or a new one if it could not start or has ended. Raises Unavailable."""
        if self._template is not None and self._template.done():
            if self._template.exception() is not None:
                self._template = None
            elif not self._template.result().is_alive:
                self._template.result().close()
                self._template = None
        if self._template is None:
            self._template = asyncio.create_task(self._started_template())
        return await asyncio.shield(self._template)

    async def _started_template(self) -> Template:
        template = Template(self._python, self._root, self._tasks)
        try:
            await template.ready()
        except BaseException:
            template.close()
            raise
        return template

    def _clean_up(self, process: ConfinedProcess) -> Awaitable[None]:
        """In a task of its own: a cancelled run leaves no process either."""
        cleanup = asyncio.create_task(process.clean_up())
        self._cleanups.add(cleanup)
        cleanup.add_done_callback(self._cleanups.discard)
        return asyncio.shield(cleanup)


def open_sandbox(
    root: Path,
    *,
    memory_bytes: int,
    cpu_seconds: int,
    wall_seconds: float,
    allow_unconfined: bool,
    max_children: int,
) -> Sandbox:
    """A sandbox that runs conversions with this interpreter, in folders below `root`."""
    return Sandbox(
        python=sys.executable,
        root=root,
        limits=Limits(memory_bytes=memory_bytes, cpu_seconds=cpu_seconds, wall_seconds=wall_seconds),
        allow_unconfined=allow_unconfined,
        max_children=max_children,
    )


def kernel_gap() -> str | None:
    """What the running kernel lacks to confine a process; None if it lacks nothing."""
    support = _native.confinement_support()
    if not support["landlock_abi"]:
        return "this kernel has no Landlock"
    return None if support["seccomp"] else "this kernel has no seccomp filters"


def closed_folders() -> list[str]:
    """Folders of imports that the child of a root server cannot enter, because it runs as another user.

    What is imported before the upload is read works all the same; a library that only an upload imports does not.
    """
    if os.geteuid() != 0:
        return []
    paths = sysconfig.get_paths()
    folders = sorted({Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    return [str(folder) for folder in folders if not all(map(is_open_to_others, (folder, *folder.parents)))]


def is_open_to_others(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)
